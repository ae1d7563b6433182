"""Deferred sensors with a real scheduler and triggerer, from the first look to the files on disk."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow_processes import EXAMPLE_DAGS, DagRunner, files_in
from running_airflow import (
    SECRET,
    components,
    free_port,
    run_states,
    settings,
    states,
    trigger,
    wait_until,
)

from airflow_provider_nxcloud.sandbox import NxCloudSandbox

WAITS = Path(__file__).parents[1] / "airflow" / "dags" / "nxcloud_waits.py"
ASSETS = Path(__file__).parents[1] / "airflow" / "dags" / "nxcloud_assets.py"
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
    with NxCloudSandbox(access_secret=SECRET) as sandbox, ExitStack() as running:
        runner = DagRunner(
            home, dags, **settings(out, sandbox, port), **slow_backend(folder / "backend", sandbox)
        )
        # So that only the backend knows the connection.
        del runner.env["AIRFLOW_CONN_NXCLOUD_DEFAULT"]
        processes = running.enter_context(components(runner.env, port, folder, without=("webserver",)))
        yield SimpleNamespace(sandbox=sandbox, out=out, runner=runner, processes=processes)


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
