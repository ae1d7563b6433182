"""What several files of the project say of the same thing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_provider_nxcloud import __version__

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "airflow_provider_nxcloud"
LINES = {path.relative_to(ROOT): len(path.read_text("utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
AIRFLOWS = {
    line.split()[0]: line.split()[2:]
    for line in (ROOT / "airflow-versions.txt").read_text("utf-8").splitlines()
    if not line.startswith(("#", "preview "))
}
MINORS = [airflow.rpartition(".")[0] for airflow in AIRFLOWS]
PYTHONS = sorted({python for pythons in AIRFLOWS.values() for python in pythons}, key=lambda it: int(it[2:]))


def read(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


def test_top_entry_of_the_changelog_is_the_version():
    top = next(
        entry
        for entry in re.findall(r"^## (\S+)", read("CHANGELOG.md"), re.MULTILINE)
        if entry != "Unreleased"
    )
    assert top == __version__


def test_package_claims_the_pythons_that_are_tested():
    pyproject = read("pyproject.toml")
    assert re.findall(r'"Programming Language :: Python :: (3\.\d+)"', pyproject) == PYTHONS
    assert f'requires-python = ">={PYTHONS[0]}"' in pyproject
    assert f'"apache-airflow>={MINORS[0]}"' in pyproject


@pytest.mark.parametrize("path", ["CONTRIBUTING.md", "CHANGELOG.md"])
def test_documents_name_the_versions_that_are_tested(path):
    text = " ".join(read(path).split())
    assert f"Airflow {MINORS[0]} and {MINORS[1]} to {MINORS[-1]}" in text
    assert f"{PYTHONS[0]} to {PYTHONS[-1]}" in text


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_commands_that_exist(document):
    commands = re.findall(r"(?:^|`)make ([a-z][a-z -]*)", document.read_text("utf-8"), re.MULTILINE)
    assert set(" ".join(commands).split()) <= TARGETS


def test_contributing_selects_tests_that_exist():
    ((file, name),) = re.findall(r"pytest (\S+) -k (\w+)", read("CONTRIBUTING.md"))
    assert re.search(rf"^def test_\w*{name}", read(file), re.MULTILINE)


def test_contributing_names_every_module_and_no_other():
    table = read("CONTRIBUTING.md").split("| folder |")[1].split("## Adding")[0]
    modules = {path.stem for path in PACKAGE.rglob("[a-z]*.py") if "sandbox" not in path.parts}
    folders = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    assert set(re.findall(r"`([a-z0-9_]+/?)`", table)) == modules | folders | {"data"}


def test_no_module_is_too_long_to_read():
    assert {str(path): lines for path, lines in LINES.items() if lines > 300} == {}


def test_package_does_not_grow():
    """What a feature adds, something else gives up; this number is only ever lowered."""
    assert sum(LINES.values()) <= 7_767


def test_listing_of_the_package_is_short():
    """What does not belong to Airflow's kinds or to a concern with a folder stands beside them, and is little."""
    assert len(list(PACKAGE.glob("[a-z]*.py"))) <= 12


def test_every_command_but_hidden_ones_is_in_the_help():
    assert set(re.findall(r"^([a-z][a-z-]*):.* ## ", MAKEFILE, re.MULTILINE)) == TARGETS


def test_ci_runs_what_the_gate_runs():
    gate = set(re.findall(r"^make (\S+)", read(".ci/run"), re.MULTILINE))
    (lists,) = re.findall(r"targets: \[(.*)\]", read(".github/workflows/ci.yml"))
    # The workflow gives each cell of the matrix, and the preview, a job of its own.
    assert gate - {"matrix", "matrix-preview"} <= set(lists.replace(",", " ").split()) <= TARGETS


def test_actions_are_pinned_by_commit():
    uses = [
        line.split("uses:")[1].strip()
        for workflow in (ROOT / ".github/workflows").glob("*.yml")
        for line in workflow.read_text("utf-8").splitlines()
        if "uses:" in line and "uses: ./" not in line
    ]
    assert uses
    assert [each for each in uses if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)] == []
