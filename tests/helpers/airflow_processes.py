"""Real Airflow processes for tests: an environment and a database of their own, and nothing left running."""

from __future__ import annotations

import functools
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

import airflow

AIRFLOW_2 = airflow.__version__.startswith("2.")
EXAMPLE_DAGS = Path(__file__).resolve().parents[2] / "example_dags"
#: Other work may share the machine; whoever waits, waits for an event and gives up only after this, in seconds.
PATIENCE = 300


def environment(home: Path, dags: Path, **variables: str) -> dict[str, str]:
    """Return the environment of an Airflow with this home, and none of the settings of the tests' own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    return {
        **inherited,
        # Airflow starts parts of itself by name.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_CONFIG_FILE": os.devnull,
        "NO_GCE_CHECK": "true",
        "NO_PROXY": "*",
        **variables,
    }


@contextmanager
def process(command: list[str], env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a process group of its own, and end the whole group in the end."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            command, env=env, cwd=log.parent, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                started.wait(20)
            os.killpg(started.pid, SIGKILL)
        started.wait()


def run(arguments: list[str], env: dict[str, str]) -> tuple[int, str]:
    """Run a Python command line to its end; return its exit status and what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with process([sys.executable, *arguments], env, log) as started:
            code = started.wait(PATIENCE)
        return code, log.read_text(errors="replace")


@functools.cache
def _migrated_database() -> Path:
    home = Path(tempfile.mkdtemp(dir=os.environ["AIRFLOW_HOME"]))
    code, output = run(["-m", "airflow", "db", "migrate"], environment(home, home))
    assert code == 0, output
    return home / "airflow.db"


class DagRunner:
    """An Airflow home in which DAGs run one after the other, with ``airflow dags test``."""

    def __init__(self, home: Path, dags: Path, **variables: str) -> None:
        home.mkdir()
        shutil.copy(_migrated_database(), home)
        self.database = home / "airflow.db"
        self.env = environment(home, dags, **variables)

    def run(self, dag_id: str, conf: Any = None) -> tuple[bool, str]:
        """Run a DAG; return whether it succeeded, and what it logged."""
        configuration = [] if conf is None else ["--conf", json.dumps(conf)]
        code, output = run(["-m", "airflow", "dags", "test", dag_id, *configuration], self.env)
        return code == 0, output

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return query(self.database, sql, *values)


def query(database: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Read Airflow's database, also while Airflow runs."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60)) as connection:
        return connection.execute(sql, values).fetchall()


def everything_airflow_kept(airflow: DagRunner) -> str:
    """Dump all tables, and all log files."""
    tables = [name for (name,) in airflow.query("select name from sqlite_master where type = 'table'")]
    rows = [str(airflow.query(f'select * from "{table}"')) for table in tables]
    logs = [path.read_text(errors="replace") for path in Path(airflow.env["AIRFLOW_HOME"]).rglob("*.log")]
    return "\n".join(rows + logs)


def files_in(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, hidden ones too, by its path there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
