"""The operator, run over HTTP into a local folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator
from airflow_provider_nxcloud.sandbox import NxCloudSandbox


@pytest.fixture
def fetch(sandbox: NxCloudSandbox, destination: Path) -> Callable[..., list[dict[str, Any]]]:
    """Execute the operator and return its XCom, which is JSON."""

    def fetch(media_ids: Any, **arguments: Any) -> list[dict[str, Any]]:
        operator = NxCloudGetMediaOperator(
            task_id="fetch", media_ids=media_ids, **{"destination": str(destination), **arguments}
        )
        records = operator.execute(context={})
        assert json.loads(json.dumps(records)) == records
        return records

    return fetch


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Where a test has the manifest written."""
    return tmp_path / "runs" / "manifest.jsonl"
