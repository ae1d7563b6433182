"""Hundreds of waits that a real triggerer gets at one moment."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

from airflow_processes import DagRunner, run
from running_airflow import SECRET, components, free_port, settings, wait_until

from airflow_provider_nxcloud.sandbox import NxCloudSandbox

WAITS = 300
LOOKS = 3
#: Seconds an answer takes: looks made in the event loop would hold it for a minute and a half.
LATENCY = 0.1
DAG = f"""
from datetime import datetime
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_nxcloud.sensors.nxcloud import NxCloudMediaSensor

with DAG("many_waits", schedule=None, start_date=datetime(2026, 1, 1), catchup=False):
    NxCloudMediaSensor.partial(task_id="wait", deferrable=True).expand(
        media_ids=[[f"photo-{{number}}"] for number in range({WAITS})]
    )
"""
#: What all sensors do when they defer, in one transaction.
DEFER_ALL = f"""
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.utils.session import create_session
from airflow_provider_nxcloud.triggers.nxcloud import NxCloudMediaTrigger

names = [f"photo-{{number}}" for number in range({WAITS})]
rows = [Trigger.from_object(NxCloudMediaTrigger([name], "nxcloud_default", poke_interval=1)) for name in names]
with create_session() as session:
    session.add_all(rows)
    session.flush()
    for each in session.query(TaskInstance):
        each.state, each.trigger_id, each.next_method = "deferred", rows[each.map_index].id, "execute_complete"
"""
#: A step of one of our tasks, as asyncio reports it.
OUR_STEP = r"Executing <\w+ .*(?:many_waits/|run_trigger|airflow_provider_nxcloud).* took (\d+\.\d+) seconds"


def test_each_of_many_waits_ends_and_none_holds_the_event_loop(tmp_path: Path):
    dags, port = tmp_path / "dags", free_port()
    dags.mkdir()
    (dags / "many_waits.py").write_text(DAG)
    with NxCloudSandbox(access_secret=SECRET, api_latency=LATENCY) as sandbox:
        for number in range(WAITS):
            sandbox.add_media(b"", "image/jpeg", media_id=f"photo-{number}", available_after_calls=LOOKS - 1)
        variables = settings(tmp_path, sandbox, port)
        runner = DagRunner(tmp_path / "home", dags, **variables, PYTHONASYNCIODEBUG="1")
        prepare = ["-m", "airflow", "dags", "reserialize"], ["-m", "airflow", "dags", "trigger", "many_waits"]
        for command in (*prepare, ["-c", DEFER_ALL]):
            code, output = run(command, runner.env)
            assert code == 0, output

        deferred = "select count(*) from task_instance where state = 'deferred'"
        assert runner.query(deferred) == [(WAITS,)]
        others = ("webserver", "api-server", "scheduler", "dag-processor")
        with components(runner.env, port, tmp_path, without=others) as processes:
            airflow = SimpleNamespace(runner=runner, processes=processes)
            wait_until(airflow, lambda: runner.query(deferred) == [(0,)], "no sensor is deferred")

        for number, state, event in runner.query("select map_index, state, next_kwargs from task_instance"):
            assert state == "scheduled"
            assert f'"photo-{number}"' in event
            assert '"success"' in event
        assert {len(sandbox.calls(f"photo-{number}")) for number in range(WAITS)} == {LOOKS}
        log = (tmp_path / "triggerer.log").read_text()
    # A busy machine alone can hold a loop for some tenths of a second, and so can Airflow that starts them all.
    blocked = re.findall(r"thread was blocked for (\d+\.\d+) seconds", log)
    assert sum(map(float, blocked)) < WAITS * LOOKS * LATENCY / 10, blocked
    assert [seconds for seconds in re.findall(OUR_STEP, log) if float(seconds) > 0.9] == []
