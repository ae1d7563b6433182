"""What the pages of the documentation hold: code blocks, tables, headings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
#: What a fragment may use without importing it.
PRELUDE = """
from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_nxcloud.hooks.nxcloud import NxCloudHook
from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator
from airflow_provider_nxcloud.sensors.nxcloud import NxCloudMediaSensor
"""
_BLOCK = re.compile(r"(?:^<!-- ([^\n]*) -->\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TABLE = re.compile(r"^<!-- ([^\n]*) -->\n((?:\|[^\n]*\n)+)", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block, and the comment in the line before it."""

    page: str
    heading: str
    line: int
    note: str
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(language: str) -> list[Block]:
    """Return all blocks of a language."""
    return [
        Block(page, _heading_before(text, found.start()), _line(text, found.start()), *found.groups(""))
        for page, text in PAGES.items()
        for found in _BLOCK.finditer(text)
        if found[2] == language
    ]


def tables(kind: str) -> dict[str, list[dict[str, str]]]:
    """Return the tables after a comment ``<!-- kind: name -->``, or ``<!-- kind -->``, by their name."""
    return {
        found[1].removeprefix(kind).lstrip(": "): _rows(found[2])
        for text in PAGES.values()
        for found in _TABLE.finditer(text)
        if re.fullmatch(rf"{kind}(: .*)?", found[1])
    }


def headings(text: str) -> list[str]:
    """Return the text of the headings outside code blocks."""
    return re.findall(r"^#+ (.*)$", _BLOCK.sub("", text), re.MULTILINE)


def prose(text: str) -> str:
    """Return a page without its code blocks."""
    return _BLOCK.sub("", text)


def _rows(table: str) -> list[dict[str, str]]:
    head, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines())
    return [dict(zip(head, row, strict=True)) for row in rows]


def _heading_before(text: str, position: int) -> str:
    return (headings(text[:position]) or [""])[-1]


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
