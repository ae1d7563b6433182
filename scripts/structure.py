"""
Draw in CONTRIBUTING.md, as a Mermaid diagram, which folder or module of the package imports which.

An arrow that follows from others is left out. With ``--check`` it only says whether the drawing is up to date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import grimp

PACKAGE = "airflow_provider_nxcloud"
PAGE = Path(__file__).parent.parent / "CONTRIBUTING.md"
DRAWING = re.compile(r"(?<=```mermaid\n).*?(?=```)", re.DOTALL)


def draw() -> str:
    """Return the diagram."""
    graph = grimp.build_graph(PACKAGE)
    rooms = graph.find_children(PACKAGE)
    for room in rooms:
        graph.squash_module(room)
    lines = ["flowchart TD"]
    for room in sorted(rooms):
        imported = graph.find_modules_directly_imported_by(room) & rooms - {room}
        indirectly = set().union(*(graph.find_upstream_modules(other) for other in imported))
        lines += [f"    {_node(room)} --> {_node(other)}" for other in sorted(imported - indirectly)]
    return "\n".join(lines) + "\n"


def _node(module: str) -> str:
    name = module.rpartition(".")[2]
    return f'{name}["{name}/"]' if (PAGE.parent / PACKAGE / name).is_dir() else name


def main() -> str | None:
    """Write the drawing, or return what is wrong with it."""
    text = PAGE.read_text("utf-8")
    drawn = DRAWING.sub(lambda _: draw(), text)
    if "--check" not in sys.argv:
        PAGE.write_text(drawn, "utf-8")
    elif drawn != text:
        return "The drawing in CONTRIBUTING.md no longer shows the imports; make structure draws it"
    return None


if __name__ == "__main__":
    sys.exit(main())
