"""A PostgreSQL of its own for an Airflow whose database has many writers."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

try:
    import psycopg2
except ImportError:  # only the development's environment has it
    psycopg2 = None

_BINARIES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


class PostgreSql:
    """A server that is started already."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"postgresql+psycopg2://postgres@127.0.0.1:{port}/postgres"

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(host="127.0.0.1", port=self.port, user="postgres")) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(sql, values)
            return cursor.fetchall()


def is_installed() -> bool:
    return psycopg2 is not None and _BINARIES is not None


@contextmanager
def postgresql(port: int) -> Iterator[PostgreSql]:
    """Run a server on loopback, in a folder that goes with it."""
    # PostgreSQL refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    data = tempfile.mkdtemp(prefix="nxcloud-postgresql-")
    if user:
        os.chown(data, pwd.getpwnam(user).pw_uid, -1)
    quiet = {"user": user, "cwd": data, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "200"}
    settings = [text for name, value in options.items() for text in ("-c", f"{name}={value}")]
    try:
        initdb = [_BINARIES / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "--locale", "C.UTF-8"]
        subprocess.run(initdb, check=True, **quiet)
        with subprocess.Popen(
            [_BINARIES / "postgres", "-D", data, "-p", str(port), *settings], **quiet
        ) as run:
            try:
                server = PostgreSql(port)
                _wait_until_it_answers(server, run)
                yield server
            finally:
                run.send_signal(signal.SIGINT)  # or it would wait for its clients
    finally:
        shutil.rmtree(data)


def _wait_until_it_answers(server: PostgreSql, run: subprocess.Popen[bytes]) -> None:
    while True:
        try:
            server.query("select 1")
        except psycopg2.OperationalError:
            assert run.poll() is None, "PostgreSQL does not start"
            time.sleep(0.1)
        else:
            return
