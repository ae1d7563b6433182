"""A task that a real Airflow kills or times out while its download stalls: over at once, and nothing is left."""

from __future__ import annotations

import json
import random
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, quote, urlsplit

import psutil
import pytest
from airflow_processes import AIRFLOW_2, DagRunner, files_in, process
from test_real_triggerer import SECRET, free_port, run_states, settings, trigger, wait_until

from airflow_provider_nxcloud.sandbox import NxCloudSandbox, api
from airflow_provider_nxcloud.staging import FOLDER_PREFIX

pytestmark = pytest.mark.slow

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
#: What Airflow logs when it sends SIGTERM, and when the process has ended by it.
SENDS_SIGTERM, ENDED_BY_SIGTERM, SIGKILL = (
    (r"externally set to failed\. Terminating", r"terminated with exit code", r"SIGKILL")
    if AIRFLOW_2
    else (r"Terminating process", r"Process exited.*SIGTERM", r"escalating|SIGKILL")
)
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
            **settings(out, sandbox, port),
            AIRFLOW_CONN_NXCLOUD_DEFAULT=json.dumps(connection),
            AIRFLOW__LOGGING__LOGGING_LEVEL="DEBUG",
            AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="True",
            AIRFLOW__API__AUTH_BACKENDS="airflow.api.auth.backend.default",
        )
        (home / "webserver_config.py").write_text("AUTH_ROLE_PUBLIC = 'Admin'\n")
        processes = {}
        for component in (
            [["webserver", "--hostname", "127.0.0.1", "--port", str(port), "--workers", "1"], ["scheduler"]]
            if AIRFLOW_2
            else [["api-server", "--host", "127.0.0.1", "--port", str(port)], ["dag-processor"], ["scheduler"]]
        ):
            if component == ["scheduler"]:
                component.append("--skip-serve-logs")
            log = folder / f"{component[0]}.log"
            command = [str(Path(psutil.sys.executable).parent / "airflow"), *component]
            processes[log] = running.enter_context(process(command, runner.env, log))
        yield SimpleNamespace(
            sandbox=sandbox,
            out=out,
            home=home,
            runner=runner,
            processes=processes,
            api=f"http://127.0.0.1:{port}",
            urls=urls,
        )
