"""What a DAG file and Airflow's own processes pay for importing this provider."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {
    "requests",
    "urllib3",
    "fsspec",
    "s3fs",
    "gcsfs",
    "adlfs",
    "boto3",
    "botocore",
    "aiohttp",
    "tenacity",
    "flask_appbuilder",
    "wtforms",
}
#: What one kind of process after the other imports; the first is what Airflow has imported before any of them.
STEPS = {
    "Airflow": "from airflow.providers.common.compat.sdk import BaseOperator, BaseSensorOperator, conf",
    "DAG file": "import airflow_provider_nxcloud.operators.nxcloud, airflow_provider_nxcloud.sensors.nxcloud",
    "webhook": "import airflow_provider_nxcloud.webhook",
    "triggerer": "import airflow.triggers.base",
    "trigger": "import airflow_provider_nxcloud.triggers.nxcloud",
    "hook": "import airflow_provider_nxcloud.hooks.nxcloud",
}
INFO = "from airflow_provider_nxcloud.get_provider_info import get_provider_info; get_provider_info()"


def modules_added(*steps: str) -> list[set[str]]:
    """Import one step after the other in a fresh process, and return what each brought."""
    probe = f"""
import json, sys
for step in {steps!r}:
    before = set(sys.modules)
    exec(step)
    print(json.dumps(sorted(set(sys.modules) - before)))
"""
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60
    )
    return [set(json.loads(line)) for line in done.stdout.splitlines()[-len(steps) :]]


def heavy(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules} & HEAVY


@pytest.fixture(scope="module")
def added() -> dict[str, set[str]]:
    return dict(zip(STEPS, modules_added(*STEPS.values()), strict=True))


def test_dag_file_imports_no_http_library_and_no_storage_client(added):
    assert heavy(added["DAG file"] | added["webhook"]) == set()


def test_dag_file_imports_of_this_provider_nothing_but_what_operator_and_sensor_are_made_of(added):
    ours = {name for name in added["DAG file"] if name.startswith("airflow_provider_nxcloud")}
    # Airflow itself may have imported the package, when it asked the installed provider for its info.
    assert ours - {"airflow_provider_nxcloud"} == {
        "airflow_provider_nxcloud.compat",
        "airflow_provider_nxcloud.exceptions",
        "airflow_provider_nxcloud.links",
        "airflow_provider_nxcloud.operators",
        "airflow_provider_nxcloud.operators.nxcloud",
        "airflow_provider_nxcloud.sensors",
        "airflow_provider_nxcloud.sensors.nxcloud",
        "airflow_provider_nxcloud.templates",
    }


def test_trigger_brings_no_http_library_into_the_event_loop(added):
    assert "airflow_provider_nxcloud.api.polling" in added["trigger"]
    assert heavy(added["trigger"]) == set()


def test_provider_info_imports_no_airflow_and_nothing_heavy():
    (added,) = modules_added(INFO)
    assert "airflow_provider_nxcloud.get_provider_info" in added
    assert heavy(added) == set()
    assert "airflow" not in added


def test_probe_sees_what_the_hook_brings(added):
    assert {"airflow_provider_nxcloud.hooks.nxcloud", "airflow_provider_nxcloud.http.retries"} <= added[
        "hook"
    ]
