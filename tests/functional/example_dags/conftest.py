"""An Airflow that runs the example DAGs against the sandbox."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from airflow_processes import EXAMPLE_DAGS, DagRunner


@pytest.fixture
def airflow(sandbox, connect, tmp_path: Path) -> DagRunner:
    connect(extra={"max_attempts": 2})
    return DagRunner(
        tmp_path / "home",
        EXAMPLE_DAGS,
        AIRFLOW_CONN_NXCLOUD_DEFAULT=os.environ["AIRFLOW_CONN_NXCLOUD_DEFAULT"],
        NXCLOUD_DESTINATION=str(tmp_path / "media"),
    )
