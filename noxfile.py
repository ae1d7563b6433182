"""
Every supported Airflow with every Python that it supports itself.

``make matrix`` runs something in every cell, as the gate does, and ``make matrix-full`` the tests in every cell;
one cell alone:
``.venv/bin/nox -s "tests(3.1.8-py3.12)"``.
"""

from __future__ import annotations

import os
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
# A Python that this machine lacks is skipped, and nox says so.
nox.options.error_on_missing_interpreters = False
# Of pyenv's Pythons only the active one answers on PATH.
PYENV_ROOT = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
os.environ["PATH"] = os.pathsep.join(
    [os.environ["PATH"], *sorted(str(folder) for folder in PYENV_ROOT.glob("versions/*/bin"))]
)

LINES = [
    line for line in Path("airflow-versions.txt").read_text("utf-8").splitlines() if not line.startswith("#")
]


def _airflows(lines: list[str]) -> dict[str, tuple[str, list[str]]]:
    return {airflow: (day, pythons) for airflow, day, *pythons in map(str.split, lines)}


#: Airflow -> the day as of which its dependencies are installed, and its Pythons.
AIRFLOWS = _airflows([line for line in LINES if not line.startswith("preview ")])
PREVIEWS = _airflows([line.removeprefix("preview ") for line in LINES if line.startswith("preview ")])
#: Airflow 3.0 is older than the ``common-compat`` that this package needs.
COMPAT = "apache-airflow-providers-common-compat=2026-03-20"
OLDEST, MIDDLE, NEWEST = (list(AIRFLOWS)[position] for position in (0, len(AIRFLOWS) // 2, -1))
#: Where all tests run; in the other cells it is a few of them and a DAG.
ENDS = {
    (AIRFLOWS[OLDEST][1][0], OLDEST),
    (AIRFLOWS[MIDDLE][1][-2], MIDDLE),
    (AIRFLOWS[NEWEST][1][-1], NEWEST),
}
SMOKE_TESTS = ("tests/unit/test_get_provider_info.py", "tests/functional/example_dags")
CELLS = [(python, airflow) for airflow, (_, pythons) in AIRFLOWS.items() for python in pythons]


def _cells(tag: str, *, ends: bool) -> list:
    return [
        nox.param(*cell, id=f"{cell[1]}-py{cell[0]}", tags=[tag] * ((cell in ENDS) is ends)) for cell in CELLS
    ]


def _install(session: nox.Session, airflow: str, *requirements: str) -> None:
    day, _ = {**AIRFLOWS, **PREVIEWS}[airflow]
    newest = (
        "--exclude-newer",
        day,
        *(("--exclude-newer-package", COMPAT) if airflow.startswith("3.0.") else ()),
    )
    session.install(*newest, f"apache-airflow=={airflow}", *requirements)


@nox.session
@nox.parametrize("python,airflow", _cells("ends", ends=True))
def tests(session: nox.Session, airflow: str) -> None:
    """Run all fast tests, and see in DAG runs that nothing from outside is rendered."""
    _install(session, airflow, "--editable", ".[s3,openlineage]", "--group", "test")
    session.run("python", "-m", "pytest", "-n", "3", *session.posargs)
    session.run(
        "python", "-m", "pytest", "-m", "slow", "tests/integration/airflow/test_foreign_data_in_airflow.py"
    )


@nox.session(tags=["preview"])
@nox.parametrize(
    "python,airflow",
    [
        nox.param(python, airflow, id=f"{airflow}-py{python}")
        for airflow, (_, pythons) in PREVIEWS.items()
        for python in pythons
    ],
)
def preview(session: nox.Session, airflow: str) -> None:
    """Run all fast tests with an Airflow that is not released yet."""
    tests(session, airflow)


@nox.session
@nox.parametrize("python,airflow", _cells("between", ends=False))
def smoke(session: nox.Session, airflow: str) -> None:
    """See that Airflow finds the built package, and let ``airflow dags test`` fetch the sandbox's media."""
    _install(session, airflow, "--refresh-package", "airflow-provider-nxcloud", ".", "--group", "test")
    session.run("pytest", *SMOKE_TESTS)  # not "python -m pytest", which would find the package in this folder
    session.run("python", "scripts/demo.py", session.create_tmp())


@nox.session(python=AIRFLOWS[OLDEST][1][0], tags=["ends"])
def lowest(session: nox.Session) -> None:
    """Run all fast tests with the lowest versions that ``pyproject.toml`` allows."""
    _install(session, OLDEST, "--editable", ".[s3,openlineage]", "--resolution", "lowest-direct")
    _install(session, OLDEST, "--editable", ".[s3,openlineage]", "--group", "test")
    session.run("python", "-m", "pytest", "-n", "3", *session.posargs)


@nox.session(python=AIRFLOWS[NEWEST][1][-1], tags=["ends"])
def older_http(session: nox.Session) -> None:
    """Run the tests of HTTP with the newest Airflow and the oldest lines of ``requests`` and ``urllib3``."""
    _install(session, NEWEST, "--editable", ".[s3]", "--group", "test", "requests==2.32.*", "urllib3==2.2.*")
    session.run("python", "-m", "pytest", "-n", "3", "tests/unit/http", "tests/functional/faults")
