"""What MkDocs makes of pages and docstrings that are written for GitHub and for reST."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

#: Pages of the site that stand outside docs/.
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s:#]+)(#[^)]*)?\)")
_CONTENTS = re.compile(r"(?:^- \[[^\]]*\]\(#[^)]*\)\n)+", re.MULTILINE)
_ROLE = re.compile(r":[a-z]+:<code>(?:~[\w.]*\.)?([^<]+)</code>")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that stand outside docs/."""
    root = Path(config.config_file_path).parent
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(root / source).read_text("utf-8")))
    overview = files.get_file_from_path("README.md")
    overview.dest_uri = overview.url = "overview.html"  # it would be the index, too
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """
    Let links between files of the repository lead to pages of the site, and leave the text of all others.

    A page's list of its own headings goes: the site has them at the side and would join them to a list before it.
    """
    docs = Path(config.docs_dir)
    folder = docs.parent if page.file.src_uri in PAGES.values() else docs

    def link(found: re.Match[str]) -> str:
        text, target, anchor = found[1], (folder / found[2]).resolve(), found[3] or ""
        if target.is_relative_to(docs):
            return f"[{text}]({target.relative_to(docs).as_posix()}{anchor})"
        name = PAGES.get(target.relative_to(docs.parent).as_posix())
        return f"[{text}]({name}{anchor})" if name else text

    return _LINK.sub(link, _CONTENTS.sub("", markdown))


def on_page_content(html: str, **_: Any) -> str:
    """Leave the name of ``:class:`` and the like, and no mark of a literal block: Markdown knows neither."""
    return _ROLE.sub(r"<code>\1</code>", html).replace("<p>::</p>\n", "")
