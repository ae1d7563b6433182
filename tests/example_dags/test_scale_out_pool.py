"""A list of media in batches with a real scheduler and no pool: its log says so, and the run ends."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow_processes import AIRFLOW_2, EXAMPLE_DAGS, DagRunner, process
from test_real_triggerer import free_port, run_states, settings, states, trigger, wait_until

pytestmark = pytest.mark.slow

DAG_ID = "example_nxcloud_scale_out"
TIMEOUT = "dagrun_timeout=timedelta(hours=6)"


def test_pool_that_does_not_exist_is_logged_and_the_run_fails_in_time(sandbox, tmp_path: Path):
    dags, out, port = tmp_path / "dags", tmp_path / "media", free_port()
    dags.mkdir()
    out.mkdir()
    (out / "ids.txt").write_text("1000000001\n")
    source = (EXAMPLE_DAGS / f"{DAG_ID}.py").read_text()
    assert TIMEOUT in source
    (dags / "shorter.py").write_text(source.replace(TIMEOUT, "dagrun_timeout=timedelta(minutes=1)"))
    runner = DagRunner(tmp_path / "home", dags, **settings(out, sandbox, port))
    api = ["api-server", "--host", "127.0.0.1", "--port", str(port)]
    components = [["scheduler", "--skip-serve-logs"], *([] if AIRFLOW_2 else [api, ["dag-processor"]])]
    with ExitStack() as running:
        processes = {}
        for component in components:
            log = tmp_path / f"{component[0]}.log"
            command = [str(shutil.which("airflow", path=runner.env["PATH"])), *component]
            processes[log] = running.enter_context(process(command, runner.env, log))
        airflow = SimpleNamespace(runner=runner, processes=processes)
        trigger(airflow, DAG_ID)
        wait_until(airflow, lambda: run_states(airflow, DAG_ID) == [("failed",)], "the run ends")
    assert "non-existent pool 'nxcloud'" in (tmp_path / "scheduler.log").read_text()
    assert sandbox.requests == []
    # Skipped is what Airflow makes of tasks that a run in time-out has left.
    assert states(airflow, DAG_ID)["get_media"] == "skipped"
