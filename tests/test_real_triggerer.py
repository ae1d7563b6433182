"""Deferred sensors with a real scheduler and triggerer, from the first look to the files on disk."""

from __future__ import annotations

import base64
import json
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow_processes import AIRFLOW_2, EXAMPLE_DAGS, PATIENCE, DagRunner, files_in, process, run

from airflow_provider_nxcloud.sandbox import NxCloudSandbox

pytestmark = pytest.mark.slow

SECRET = "canary-access-s3cret"
WAITS = Path(__file__).parent / "sensors" / "dags" / "nxcloud_waits.py"
ASSETS = Path(__file__).parent / "operators" / "dags" / "nxcloud_assets.py"
#: Where every process of Airflow finds its connections; each look-up takes a second.
SLOW_BACKEND = """
import os, time
from airflow.secrets import BaseSecretsBackend

class SlowBackend(BaseSecretsBackend):
    def get_conn_value(self, conn_id, **_):
        time.sleep(1)
        if conn_id == "nxcloud_default":
            return os.environ["VAULT"]
"""
COMPONENTS = [["scheduler", "--skip-serve-logs"], ["triggerer", "--skip-serve-logs"]]


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


def slow_backend(folder: Path, sandbox: NxCloudSandbox) -> dict[str, str]:
    folder.mkdir()
    (folder / "slow_backend.py").write_text(SLOW_BACKEND)
    return {
        "AIRFLOW__SECRETS__BACKEND": "slow_backend.SlowBackend",
        "AIRFLOW__WORKERS__SECRETS_BACKEND": "slow_backend.SlowBackend",
        "PYTHONASYNCIODEBUG": "1",
        "PYTHONPATH": str(folder),
        "VAULT": sandbox.connection_json,
    }


@pytest.fixture(scope="module")
def airflow(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """A running Airflow, its sandbox, and where its files go."""
    folder = tmp_path_factory.mktemp("airflow")
    dags, out, home = folder / "dags", folder / "media", folder / "home"
    dags.mkdir()
    for source in (EXAMPLE_DAGS / "example_nxcloud_wait_for_media.py", WAITS, ASSETS):
        shutil.copy(source, dags)
    port = free_port()
    components = COMPONENTS
    if not AIRFLOW_2:
        components = [
            ["api-server", "--host", "127.0.0.1", "--port", str(port)],
            ["dag-processor"],
            *components,
        ]
    with NxCloudSandbox(access_secret=SECRET) as sandbox, ExitStack() as running:
        runner = DagRunner(
            home, dags, **settings(out, sandbox, port), **slow_backend(folder / "backend", sandbox)
        )
        # So that only the backend knows the connection.
        del runner.env["AIRFLOW_CONN_NXCLOUD_DEFAULT"]
        processes = {}
        for component in components:
            log = folder / f"{component[0]}.log"
            airflow_command = [str(Path(shutil.which("airflow", path=runner.env["PATH"]))), *component]
            processes[log] = running.enter_context(process(airflow_command, runner.env, log))
        yield SimpleNamespace(sandbox=sandbox, out=out, runner=runner, processes=processes)


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


def test_deferred_example_brings_the_files(airflow):
    sandbox, dag_id = airflow.sandbox, "example_nxcloud_wait_for_media"
    sandbox.media["1000000004"].available_after_calls = 3
    trigger(airflow, dag_id)

    wait_until(airflow, lambda: states(airflow, dag_id).get("wait_for_media") == "deferred", "it defers")
    stored = airflow.runner.query("select * from trigger")
    assert "airflow_provider_nxcloud.triggers.nxcloud.NxCloudMediaTrigger" in str(stored)
    assert SECRET not in str(stored)
    assert not airflow.out.exists()

    wait_until(airflow, lambda: run_states(airflow, dag_id) not in ([("queued",)], [("running",)]), "it ends")
    assert states(airflow, dag_id) == {"wait_for_media": "success", "get_media": "success"}
    assert files_in(airflow.out) == {
        "1000000001.jpg": sandbox.media["1000000001"].content,
        "1000000004.ogg": sandbox.media["1000000004"].content,
    }
    # The first look, three of the triggerer at what was missing, and the operator.
    assert [len(sandbox.calls(media_id)) for media_id in ("1000000001", "1000000004")] == [2, 5]
    assert airflow.runner.query("select * from trigger") == []


def test_deferred_sensors_end_as_they_would_on_a_worker(airflow):
    sandbox, dag_id = airflow.sandbox, "nxcloud_waits"
    for media_id in ("never", "refused"):
        sandbox.add_media(b"", "image/jpeg", media_id=media_id, available_after_calls=1_000_000)

    def refuse_after_the_second_look(_):
        if len(sandbox.calls("refused")) == 2:
            sandbox.observer = None
            sandbox.inject("api.code", code=1003, media_id="refused", times=None)

    sandbox.observer = refuse_after_the_second_look
    trigger(airflow, dag_id)
    wait_until(airflow, lambda: ("failed",) in run_states(airflow, dag_id), "it fails")
    # Not one is "up_for_retry".
    assert states(airflow, dag_id) == {
        "times_out": "failed",
        "times_out_softly": "skipped",
        "is_refused": "failed",
    }
    assert len(sandbox.calls("refused")) == 3
    logs = list(Path(airflow.runner.env["AIRFLOW_HOME"], "logs").rglob("*.log"))
    everything = "\n".join(path.read_text(errors="replace") for path in logs)
    assert "1003" in everything
    # The test before this one waited for the triggerer.
    waits = [path.read_text(errors="replace") for path in logs if dag_id in str(path)]
    assert waits
    assert not any("No triggerer is running" in text for text in waits)
    assert SECRET not in everything


def test_event_loop_of_the_triggerer_never_waited(airflow):
    """After the tests above, with a secrets backend that takes a second each time."""
    (log,) = (log for log in airflow.processes if log.stem == "triggerer")
    blocked = re.findall(r"(?:Executing .*? took|thread was blocked for) (\d+\.\d+) seconds", log.read_text())

    # A busy machine alone can hold a loop for some tenths of a second; a look-up would for a whole one.
    assert [seconds for seconds in blocked if float(seconds) > 0.9] == []


def test_asset_starts_the_next_dag_with_counts_and_bytes(airflow):
    trigger(airflow, "nxcloud_producer")
    read = airflow.out / "event.json"
    wait_until(
        airflow, lambda: run_states(airflow, "nxcloud_consumer") == [("success",)], "the asset's DAG ran"
    )

    extra = json.loads(read.read_text())
    sizes = [len(airflow.sandbox.media[media_id].content) for media_id in ("1000000001", "1000000002")]
    assert extra["stored"] + extra["skipped"] == 2
    assert (extra["failed"], extra["bytes"]) == (0, sum(sizes) if extra["stored"] == 2 else sizes[1])
