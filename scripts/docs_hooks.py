"""What MkDocs makes of pages and docstrings that are written for GitHub and for reST."""

from __future__ import annotations

import re
from typing import Any

_LINK_OUTSIDE = re.compile(r"\[([^\]]*)\]\(\.\./[^)]*\)")
_ROLE = re.compile(r":[a-z]+:<code>(?:~[\w.]*\.)?([^<]+)</code>")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Leave the text of links to files of the repository, which the site has not."""
    return _LINK_OUTSIDE.sub(r"\1", markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Leave the name of ``:class:`` and the like, and no mark of a literal block: Markdown knows neither."""
    return _ROLE.sub(r"<code>\1</code>", html).replace("<p>::</p>\n", "")
