"""Every link between the pages leads somewhere, and every page can be reached."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import PAGES, ROOT, headings, prose

#: Also what is a page of the site without standing in docs/.
DOCUMENTS = PAGES | {
    name: (ROOT / name).read_text("utf-8") for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
}
LINKS = [
    (page, target)
    for page, text in DOCUMENTS.items()
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(text))
    if not target.startswith("https://")
]


def anchors(page: str) -> set[str]:
    """Return the anchors that GitHub gives a page."""
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-")
        for heading in headings(DOCUMENTS[page])
    }


@pytest.mark.parametrize(("page", "target"), LINKS, ids=lambda part: part)
def test_link_leads_somewhere(page, target):
    path, _, anchor = target.partition("#")
    file = (ROOT / page).parent / path if path else ROOT / page
    assert file.exists()
    if anchor:
        assert anchor in anchors(file.resolve().relative_to(ROOT).as_posix())


def test_index_leads_to_every_page():
    linked = {target for page, target in LINKS if page == "docs/README.md"}
    assert {Path(page).name for page in PAGES if page.startswith("docs/")} - linked == {"README.md"}


def test_site_has_every_page():
    in_site = set(re.findall(r"\w+\.md", (ROOT / "mkdocs.yml").read_text("utf-8")))
    pages = {Path(page).name for page in PAGES if page.startswith("docs/")}
    assert in_site == pages | {"index.md", "changelog.md", "contributing.md"}


def test_readme_leads_to_the_index():
    assert ("README.md", "docs/README.md") in LINKS


@pytest.mark.parametrize("page", PAGES)
def test_headings_of_a_page_differ(page):
    assert len(anchors(page)) == len(headings(PAGES[page]))
