"""What tests ask of a running Airflow."""

from __future__ import annotations

import base64
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow_processes import PATIENCE, process, run
from listening import assert_listens_on_loopback_only

from airflow_components import component_commands
from airflow_provider_nxcloud.sandbox import NxCloudSandbox

SECRET = "canary-access-s3cret"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def settings(out: Path, sandbox: NxCloudSandbox, port: int) -> dict[str, str]:
    return {
        "AIRFLOW_CONN_NXCLOUD_DEFAULT": sandbox.connection_json,
        "NXCLOUD_DESTINATION": str(out),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",
        "AIRFLOW__WEBSERVER__SECRET_KEY": secrets.token_hex(32),
    }


@contextmanager
def components(
    env: dict[str, str], port: int, folder: Path, *, without: tuple[str, ...] = ()
) -> Iterator[dict[Path, subprocess.Popen]]:
    """Run the components of an Airflow; yields the processes by their logs."""
    airflow = str(shutil.which("airflow", path=env["PATH"]))
    with ExitStack() as running:
        processes = {}
        for name, arguments in component_commands(port).items():
            if name not in without:
                log = folder / f"{name}.log"
                processes[log] = running.enter_context(process([airflow, *arguments], env, log))
        yield processes
        for started in processes.values():
            assert_listens_on_loopback_only(started.pid)


def wait_until(airflow: SimpleNamespace, condition, what: str) -> None:
    """Wait for a condition, as long as all of Airflow runs."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        ended = [log.stem for log, process in airflow.processes.items() if process.poll() is not None]
        if ended or time.monotonic() > deadline:
            logs = "\n".join(f"== {log.stem}\n{log.read_text()[-4000:]}" for log in airflow.processes)
            pytest.fail(f"waited in vain until {what}; ended: {ended}\n{logs}")
        time.sleep(0.1)


def trigger(airflow: SimpleNamespace, dag_id: str) -> None:
    known = "select 1 from serialized_dag where dag_id = ?"
    wait_until(airflow, lambda: airflow.runner.query(known, dag_id), f"{dag_id} is known")
    code, output = run(["-m", "airflow", "dags", "trigger", dag_id], airflow.runner.env)
    assert code == 0, output


def states(airflow: SimpleNamespace, dag_id: str) -> dict[str, str]:
    return dict(airflow.runner.query("select task_id, state from task_instance where dag_id = ?", dag_id))


def run_states(airflow: SimpleNamespace, dag_id: str) -> list[tuple[str]]:
    return airflow.runner.query("select state from dag_run where dag_id = ?", dag_id)
