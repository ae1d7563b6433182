"""The pictures of Airflow's interface in docs/images; ``make pictures`` takes them anew."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

import pytest
from airflow_processes import AIRFLOW_2, PATIENCE, run
from running_airflow import components as running_components

pytestmark = [
    pytest.mark.skipif("PICTURES" not in os.environ, reason="only `make pictures` asks for them"),
]


DAG_ID = "example_nxcloud_wait_for_media"
RUN_ID = "whatsapp"


def test_take_pictures_of_the_form(form):
    folder = Path(os.environ["PICTURES"])
    form.new("nxcloud_default")
    sections = {"": ""} if AIRFLOW_2 else {"-keys": "Standard Fields", "": "Extra Fields"}
    for suffix, section in sections.items():
        if section:
            form.open_section(section)
            form.dialog.get_by_role("button", name="Save").click(trial=True)  # waits until nothing moves
        path = folder / f"connection-form-airflow-{2 if AIRFLOW_2 else 3}{suffix}.png"
        form.dialog.screenshot(path=path, animations="disabled")
        assert path.stat().st_size < 100_000


@pytest.fixture
def components(airflow, sandbox, tmp_path):
    """What it takes to run DAGs beside the web server; yields the environment of them all."""
    env = {
        **airflow.runner.env,
        "AIRFLOW_CONN_NXCLOUD_DEFAULT": sandbox.connection_json,
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{airflow.url}/execution/",
    }
    with running_components(env, 0, tmp_path, without=("api-server", "webserver")):
        yield env


@pytest.mark.skipif(AIRFLOW_2, reason="the picture is of Airflow 3")
def test_take_picture_of_a_dag_run(airflow, browser, components, sandbox):
    media_ids = list(sandbox.media)
    # One media is late for both tasks: the sensor defers, and the operator has time to say how far it is.
    sandbox.media[media_ids[0]].available_after_calls = 1
    sandbox.inject("download.status", status=503, retry_after=11, media_id=media_ids[-1])
    page = browser.new_context(viewport={"width": 1280, "height": 560}).new_page()
    page.set_default_timeout(PATIENCE * 1000)
    with tempfile.TemporaryDirectory(prefix="nxcloud-media-") as destination:
        conf = json.dumps({"media_ids": media_ids, "destination": f"file://{destination}"})
        wait_for_row(airflow, "select 1 from serialized_dag where dag_id = ?", DAG_ID)
        code, output = run(
            ["-m", "airflow", "dags", "trigger", DAG_ID, "--run-id", RUN_ID, "--conf", conf], components
        )
        assert code == 0, output
        wait_for_row(airflow, "select 1 from dag_run where run_id = ? and state = 'success'", RUN_ID)
    page.goto(f"{airflow.url}/dags/{DAG_ID}/runs/{RUN_ID}/tasks/get_media")
    page.get_by_text("Fetching 18 media").click()
    page.get_by_text("18 of 18 media files done").wait_for()
    shown = page.locator("body").inner_text()
    assert "17/18 media files done" in shown
    assert "/media/" not in shown
    path = Path(os.environ["PICTURES"]) / "dag-run-airflow-3.png"
    page.screenshot(path=path, animations="disabled")
    assert path.stat().st_size < 200_000


def wait_for_row(airflow, sql: str, *values: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not airflow.runner.query(sql, *values):
        assert time.monotonic() < deadline, sql
        time.sleep(0.1)
