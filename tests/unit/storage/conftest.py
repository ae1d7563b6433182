"""Destinations that tests of several storages open."""

from __future__ import annotations

import json
from itertools import count

import pytest

from airflow_provider_nxcloud.storage.destination import make_storage

_numbers = count()


@pytest.fixture
def open_s3(monkeypatch):
    """Open a destination in S3 with a connection of its own: Airflow keeps a filesystem for each ID."""

    def open_s3(write_kwargs=None, **fields):
        conn_id = f"stores_{next(_numbers)}"
        connection = {"conn_type": "aws", "login": "key", "password": "secret", **fields}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        return make_storage(f"s3://{conn_id}@media/in", None, write_kwargs)

    return open_s3
