"""A task that a real Airflow kills or times out while its download stalls: over at once, and nothing is left."""

from __future__ import annotations

import json
import random
import re
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from types import SimpleNamespace
from urllib.parse import parse_qs, quote, urlsplit

import psutil
import pytest
from airflow_processes import AIRFLOW_2, DagRunner, files_in
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

from airflow_provider_nxcloud.sandbox import NxCloudSandbox, api
from airflow_provider_nxcloud.storage.staging import FOLDER_PREFIX

#: Seconds a task may take to end once it is told to.
LIMIT = 3.0
#: Airflow finds out at its next heartbeat that a task is not wanted any more.
NOTICED_WITHIN = 30.0
EXECUTION_TIMEOUT = 3.0
PHOTO, CLIP = "1000000001", "clip"
DAGS = f"""
from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator

for dag_id, arguments in {{
    "marked_failed": {{"retries": 1, "retry_delay": timedelta(hours=1)}},
    "times_out": {{"execution_timeout": timedelta(seconds={EXECUTION_TIMEOUT})}},
}}.items():
    with DAG(dag_id, schedule=None, start_date=datetime(2026, 1, 1), catchup=False):
        NxCloudGetMediaOperator(
            task_id="get_media",
            media_ids=["{PHOTO}", "{CLIP}"],
            destination=f"OUT/{{dag_id}}",
            manifest=f"OUT/{{dag_id}}.jsonl",
            **arguments,
        )
"""
#: What Airflow logs when it sends SIGTERM, when the process has ended, and when it did not by that signal.
SENDS_SIGTERM, ENDED, SENDS_SIGKILL = (
    (r"Sending 15 to group", r"Process .* terminated with exit code", r"Trying SIGKILL|Sending 9 to group")
    if AIRFLOW_2
    else (r"be running anymore\. Terminating process", r"Process exited .*signal_sent=", r"; escalating")
)
HEALTH = "health" if AIRFLOW_2 else "api/v2/monitor/health"
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,]\d+(?:Z|[+-]\d\d:?\d\d)?")


@pytest.fixture(scope="module")
def urls() -> Iterator[list[str]]:
    """Every signed URL that the sandbox gave out."""
    given: list[str] = []
    sign_url = api.signed_url

    def record(*arguments: object) -> str:
        given.append(sign_url(*arguments))
        return given[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "signed_url", record)
        yield given


@pytest.fixture(scope="module")
def airflow(tmp_path_factory, urls) -> Iterator[SimpleNamespace]:
    """A running Airflow that logs everything, its API, its sandbox with a stalled download, and its files."""
    folder = tmp_path_factory.mktemp("airflow")
    dags, out, home = folder / "dags", folder / "media", folder / "home"
    dags.mkdir()
    (dags / "stalling.py").write_text(DAGS.replace("OUT", str(out)))
    port = free_port()
    with NxCloudSandbox(access_secret=SECRET) as sandbox, ExitStack() as running:
        # Large enough for half of it to be staged on disk.
        sandbox.add_media(random.Random(CLIP).randbytes(1_200_000), "video/mp4", media_id=CLIP)
        sandbox.inject("download.stall", media_id=CLIP, times=None)
        connection = sandbox.connection
        connection["extra"]["timeout"] = 300
        runner = DagRunner(
            home,
            dags,
            **{
                **settings(out, sandbox, port),
                "AIRFLOW_CONN_NXCLOUD_DEFAULT": json.dumps(connection),
                "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
                # Whoever reaches the port, which is on loopback, may do everything.
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
                "AIRFLOW__API__AUTH_BACKENDS": "airflow.api.auth.backend.default",
            },
        )
        (home / "webserver_config.py").write_text("AUTH_ROLE_PUBLIC = 'Admin'\n")
        processes = running.enter_context(components(runner.env, port, folder, without=("triggerer",)))
        airflow = SimpleNamespace(
            sandbox=sandbox,
            out=out,
            home=home,
            runner=runner,
            processes=processes,
            api=f"http://127.0.0.1:{port}",
            urls=urls,
        )
        wait_until(airflow, lambda: answers(f"{airflow.api}/{HEALTH}"), "the API answers")
        yield airflow


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status == 200
    except OSError:
        return False


def call_api(airflow: SimpleNamespace, method: str, path: str, body: object = None) -> None:
    """Call Airflow's REST API as its UI does."""
    headers = {"Content-Type": "application/json"}
    if not AIRFLOW_2:
        with urllib.request.urlopen(f"{airflow.api}/auth/token") as answer:
            headers["Authorization"] = f"Bearer {json.load(answer)['access_token']}"
    request = urllib.request.Request(
        f"{airflow.api}/api/{'v1' if AIRFLOW_2 else 'v2'}/{path}",
        method=method,
        headers=headers,
        data=json.dumps(body).encode(),
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200


def start_and_stall(airflow: SimpleNamespace, dag_id: str) -> SimpleNamespace:
    """Trigger a DAG; return its run and its task's process once one media is stored and the other stalls."""
    trigger(airflow, dag_id)
    destination = airflow.out / dag_id

    def stalls() -> bool:
        staged = [path for path in destination.rglob(f"{FOLDER_PREFIX}*/*") if path.stat().st_size]
        return bool(staged) and (destination / f"{PHOTO}.jpg").exists()

    wait_until(airflow, stalls, f"the download of {dag_id} stalls")
    ((run_id, pid),) = airflow.runner.query("select run_id, pid from task_instance where dag_id = ?", dag_id)
    return SimpleNamespace(dag_id=dag_id, run_id=run_id, process=psutil.Process(pid), destination=destination)


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def wait_until_gone(airflow: SimpleNamespace, task: SimpleNamespace) -> float:
    """Wait until the task's process has ended; return when that was, in seconds of ``time.monotonic()``."""
    wait_until(airflow, lambda: is_gone(task.process), f"the process of {task.dag_id} ends")
    return time.monotonic()


def log_files(airflow: SimpleNamespace) -> dict[str, str]:
    """Return everything that Airflow logged and printed, by file."""
    paths = [*airflow.processes, *airflow.home.rglob("*.log")]
    return {str(path): path.read_text(errors="replace") for path in paths}


def logged_at(airflow: SimpleNamespace, pattern: str) -> float:
    """Return when a line was logged, in seconds since the epoch; wait for it."""
    line = re.compile(f"^.*(?:{pattern}).*$", re.MULTILINE)

    def search() -> re.Match[str] | None:
        return next(filter(None, map(line.search, log_files(airflow).values())), None)

    wait_until(airflow, search, f"{pattern} is logged")
    stamp = TIMESTAMP.search(search().group()).group()
    return datetime.fromisoformat(stamp.replace(",", ".").replace("Z", "+00:00")).timestamp()


def task_log(airflow: SimpleNamespace, dag_id: str) -> str:
    return "\n".join(path.read_text() for path in airflow.home.rglob(f"logs/dag_id={dag_id}/**/*.log"))


def assert_nothing_is_left(airflow: SimpleNamespace, task: SimpleNamespace) -> None:
    """The media that was there stays; of the one that stalled there is neither object nor staging folder."""
    assert [path.name for path in task.destination.rglob("*")] == [f"{PHOTO}.jpg"]
    assert files_in(task.destination) == {f"{PHOTO}.jpg": airflow.sandbox.media[PHOTO].content}
    # Nor in the folder of the manifest.
    assert [path.name for path in airflow.out.iterdir() if path.name.startswith(".")] == []


def assert_no_secret_is_logged(airflow: SimpleNamespace) -> None:
    signatures = [parse_qs(urlsplit(url).query)["Signature"][0] for url in airflow.urls]
    signs = [call.headers["sign"] for call in airflow.sandbox.calls()]
    assert signatures
    assert signs
    secrets = {SECRET, *signatures, *signs}
    secrets |= {quote(secret, safe="") for secret in secrets} | {"Signature="}
    logged = log_files(airflow)
    assert any("Starting new HTTP connection" in text for text in logged.values()), "urllib3 logs at DEBUG"
    # Airflow's home holds its database too, with XComs and rendered fields.
    left = {**{name: text.encode() for name, text in logged.items()}, **files_in(airflow.home)}
    assert [
        (name, secret) for name, text in left.items() for secret in secrets if secret.encode() in text
    ] == []


def test_marking_a_task_failed_ends_it_at_once(airflow):
    task = start_and_stall(airflow, "marked_failed")

    asked_at = time.monotonic()
    call_api(
        airflow,
        "PATCH",
        f"dags/{task.dag_id}/dagRuns/{quote(task.run_id, safe='')}/taskInstances/get_media",
        {"new_state": "failed", **({"dry_run": False} if AIRFLOW_2 else {})},
    )
    gone_at = wait_until_gone(airflow, task)

    assert gone_at - asked_at < NOTICED_WITHIN
    took = logged_at(airflow, ENDED) - logged_at(airflow, SENDS_SIGTERM)
    assert took < LIMIT, task_log(airflow, task.dag_id)
    assert not re.search(SENDS_SIGKILL, "".join(log_files(airflow).values()))
    # What on_kill makes the operator raise; on Airflow 2 the handler of the signal raises before it can.
    ended_by = "Received SIGTERM" if AIRFLOW_2 else "cancelled after 1 of 2 media files"
    assert ended_by in task_log(airflow, task.dag_id)
    assert_nothing_is_left(airflow, task)
    wait_until(airflow, lambda: run_states(airflow, task.dag_id) == [("failed",)], "the run fails")
    assert states(airflow, task.dag_id) == {"get_media": "failed"}, "it is not tried again"
    assert_no_secret_is_logged(airflow)


def test_execution_timeout_ends_a_task_at_once(airflow):
    task = start_and_stall(airflow, "times_out")

    gone_at = wait_until_gone(airflow, task)

    # The time-out runs since shortly before the call.
    started_at = airflow.sandbox.calls(CLIP)[-1].at
    assert EXECUTION_TIMEOUT - 1 < gone_at - started_at < EXECUTION_TIMEOUT + LIMIT
    wait_until(airflow, lambda: run_states(airflow, task.dag_id) == [("failed",)], "the run fails")
    assert "AirflowTaskTimeout" in task_log(airflow, task.dag_id)
    assert_nothing_is_left(airflow, task)
    assert_no_secret_is_logged(airflow)
