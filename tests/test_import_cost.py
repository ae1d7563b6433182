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
}
AIRFLOW_ITSELF = "from airflow.providers.common.compat.sdk import BaseOperator, BaseSensorOperator, conf"


def modules_added(statement: str, *, after: str = "pass") -> set[str]:
    """Import in a fresh process, and return what that brought over what was there after another import."""
    probe = (
        f"import json, sys\n{after}\nbefore = set(sys.modules)\n{statement}\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


@pytest.fixture(scope="module")
def added_for_dag_file() -> set[str]:
    return modules_added(
        "import airflow_provider_nxcloud.operators.nxcloud, airflow_provider_nxcloud.sensors.nxcloud",
        after=AIRFLOW_ITSELF,
    )


def test_dag_file_imports_no_http_library_and_no_storage_client(added_for_dag_file):
    assert packages(added_for_dag_file) & HEAVY == set()


def test_dag_file_imports_of_this_provider_nothing_but_operator_its_link_and_sensor(added_for_dag_file):
    ours = {name for name in added_for_dag_file if name.startswith("airflow_provider_nxcloud")}
    # Airflow itself may have imported the package, when it asked the installed provider for its info.
    assert ours - {"airflow_provider_nxcloud"} == {
        "airflow_provider_nxcloud.links",
        "airflow_provider_nxcloud.operators",
        "airflow_provider_nxcloud.operators.nxcloud",
        "airflow_provider_nxcloud.sensors",
        "airflow_provider_nxcloud.sensors.nxcloud",
    }


def test_trigger_brings_no_http_library_into_the_event_loop():
    added = modules_added(
        "import airflow_provider_nxcloud.triggers.nxcloud", after="import airflow.triggers.base"
    )
    assert "airflow_provider_nxcloud.looks" in added
    assert packages(added) & HEAVY == set()


def test_provider_info_imports_no_airflow_and_nothing_heavy():
    added = modules_added(
        "from airflow_provider_nxcloud.get_provider_info import get_provider_info; get_provider_info()"
    )
    assert "airflow_provider_nxcloud.get_provider_info" in added
    assert packages(added) & (HEAVY | {"airflow"}) == set()


def test_probe_sees_what_the_hook_brings():
    added = modules_added("import airflow_provider_nxcloud.hooks.nxcloud", after=AIRFLOW_ITSELF)
    assert {"airflow_provider_nxcloud.hooks.nxcloud", "airflow_provider_nxcloud.retries"} <= added
