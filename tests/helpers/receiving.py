"""The receiver of the pages and its poster as processes, and what delivers callbacks to it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pages import ROOT
from running_airflow import free_port

SECRET = "canary-webhook-secret"
PATIENCE = 60


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return value


@contextmanager
def python(folder: Path, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python command line in a folder, where it logs too."""
    with (
        (folder / "log").open("ab") as log,
        subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, env={**os.environ, **variables}, stdout=log, stderr=log
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def receiver(folder: Path, source: str = "") -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    (folder / "receiver.py").write_text(source or (ROOT / "docs/receiver.py").read_text())
    port = free_port()
    command = ("-m", "uvicorn", "receiver:app", "--no-access-log", "--port", str(port))
    with python(folder, *command, WEBHOOK_SECRET=SECRET) as process:
        wait_for(lambda: "Uvicorn running" in (folder / "log").read_text(), "the receiver")
        yield port, process
    (folder / "log").write_text((folder / "log").read_text().replace("Uvicorn running", "Uvicorn ran"))


@contextmanager
def poster(folder: Path, airflow_url: str) -> Iterator[subprocess.Popen[bytes]]:
    login = {"AIRFLOW_USER": "receiver", "AIRFLOW_PASSWORD": "canary-password"}
    with python(folder, str(ROOT / "docs/poster.py"), AIRFLOW_URL=airflow_url, **login) as process:
        yield process


def send(port: int, body: object, *, secret: str = SECRET, method: str = "POST") -> int:
    """Deliver a callback; return the status."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        body = body if isinstance(body, bytes | Iterator) else json.dumps(body).encode()
        connection.request(method, f"/{secret}", body, {"Content-Type": "application/json"})
        return connection.getresponse().status
