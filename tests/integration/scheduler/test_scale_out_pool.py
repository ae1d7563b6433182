"""A list of media in batches with a real scheduler and no pool: a log names the command, and the run ends."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from airflow_processes import AIRFLOW_2, EXAMPLE_DAGS, DagRunner
from running_airflow import components, free_port, run_states, settings, states, trigger, wait_until

DAG_ID = "example_nxcloud_scale_out"
TIMEOUT = "dagrun_timeout=timedelta(hours=6)"


def test_pool_that_does_not_exist_is_told_and_the_run_fails_in_time(sandbox, tmp_path: Path):
    dags, out, port = tmp_path / "dags", tmp_path / "media", free_port()
    dags.mkdir()
    out.mkdir()
    (out / "ids.txt").write_text("1000000001\n")
    source = (EXAMPLE_DAGS / f"{DAG_ID}.py").read_text()
    assert TIMEOUT in source
    (dags / "shorter.py").write_text(source.replace(TIMEOUT, "dagrun_timeout=timedelta(minutes=1)"))
    runner = DagRunner(tmp_path / "home", dags, **settings(out, sandbox, port))
    with components(runner.env, port, tmp_path, without=("webserver", "triggerer")) as processes:
        airflow = SimpleNamespace(runner=runner, processes=processes)
        trigger(airflow, DAG_ID)
        wait_until(airflow, lambda: run_states(airflow, DAG_ID) == [("failed",)], "the run ends")
    (log,) = (tmp_path / "home" / "logs").rglob("*make_batches*/**/*.log")
    told = (
        "there is no pool 'nxcloud'; create it"
        if AIRFLOW_2
        else "If get_media stays scheduled, create its pool"
    )
    assert f"{told}: airflow pools set nxcloud 8" in log.read_text()
    assert sandbox.requests == []
    # Skipped is what Airflow makes of tasks that a run in time-out has left.
    assert states(airflow, DAG_ID)["make_batches"] == ("failed" if AIRFLOW_2 else "success")
    assert states(airflow, DAG_ID)["get_media"] == ("upstream_failed" if AIRFLOW_2 else "skipped")
