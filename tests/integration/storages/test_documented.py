"""What docs/storages.md says of calls, rights and arguments is what each store gets and keeps."""

from __future__ import annotations

import json
import random
import re
from datetime import datetime
from itertools import groupby
from urllib.parse import unquote

import pytest
from airflow.providers.common.compat.sdk import DAG
from pages import blocks, tables
from stores import OssStore, Store

from airflow_provider_nxcloud.exceptions import NxCloudStorageError
from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator

PHOTO = "1000000001"
COLUMN = {"s3": "S3", "abfs": "Azure", "gs": "Google"}
CALLS = tables("calls")[""]


@pytest.fixture
def documented(store) -> list[list[str]]:
    """The methods that each row of the table names for this store."""
    return [re.findall(r"[A-Z]+", row[COLUMN[store.scheme]]) for row in CALLS]


@pytest.fixture
def calls(store, fetch):
    """Fetch a media and return the methods of the requests that the store got, repeated ones once."""

    def calls(media_id: str, if_exists: str) -> list[str]:
        store.proxy.reset()
        fetch([media_id], if_exists=if_exists)
        return [method for method, _ in groupby(request.method for request in store.proxy.requests)]

    return calls


def test_store_is_asked_as_documented(documented, calls, sandbox):
    sandbox.add_media(random.Random(3).randbytes(12 * 1024 * 1024), "video/mp4", media_id="film")
    there, not_there, overwrite, small, large = documented
    assert calls(PHOTO, "skip") == not_there + small
    assert calls(PHOTO, "skip") == there
    assert calls(PHOTO, "overwrite") == overwrite + small
    assert calls("film", "fail") == not_there + large
    assert calls("film", "overwrite") == overwrite + large


def test_store_that_refuses_to_be_read_is_quoted_and_can_be_overwritten(store, fetch):
    store.proxy.refuse("^(HEAD|GET) ")
    with pytest.raises(NxCloudStorageError, match=r"^.{0,20}Forbidden.*cannot look for '.*'"):
        fetch([PHOTO])
    assert fetch([PHOTO], if_exists="overwrite")[0]["status"] == "stored"


def test_documented_write_kwargs_reach_the_store(store, sandbox, fetch, prefix):
    (block,) = [
        each
        for each in blocks("python")
        if each.page == "docs/storages.md" and f'"{store.scheme}://' in each.code
    ]
    with DAG("docs", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        exec(block.code, {"NxCloudGetMediaOperator": NxCloudGetMediaOperator})
    (operator,) = dag.tasks
    fetch(operator.media_ids, write_kwargs=operator.write_kwargs)
    # Not every server keeps all of it, but each gets it: in the target, in a header, or in the object's metadata.
    got = "\n".join(f"{unquote(request.target)}\n{request.headers}" for request in store.proxy.requests)
    got += str(store.get(f"{prefix}/{PHOTO}.jpg").extras)
    for value in operator.write_kwargs.values():
        assert (value["origin"] if isinstance(value, dict) else value) in got


def documented_connections(server: Store) -> list[str]:
    """The notes of those that this server stands in for."""
    notes = [block.note.removeprefix("connection: ") for block in blocks("json")]
    return [note for note in notes if note.startswith(server.documented)] if server.documented else []


def test_documented_connections_work(store, prefix, fetch, sandbox, monkeypatch):
    notes = documented_connections(store)
    if not notes:
        pytest.skip("no documented connection is meant for this server")
    for note in notes:
        (block,) = [block for block in blocks("json") if block.note == f"connection: {note}"]
        connection = store.as_documented(json.loads(block.code))
        conn_id = re.sub(r"\W", "_", f"{store.conn_id}_{note}").lower()
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        destination = f"{store.scheme}://{conn_id}@{store.bucket}/{prefix}/{conn_id}"

        records = [fetch([PHOTO], destination=destination)[0] for _ in range(2)]

        assert [record["status"] for record in records] == ["stored", "skipped"]
        assert {record["sha256"] for record in records} == {sandbox.media[PHOTO].sha256}


@pytest.mark.parametrize(
    ("config", "setting"),
    [
        ({"request_checksum_calculation": "when_required"}, "addressing_style"),
        ({"s3": {"addressing_style": "virtual"}}, "request_checksum_calculation"),
    ],
)
@pytest.mark.parametrize("if_exists", ["skip", "overwrite"])
def test_setting_that_oss_misses_is_named(config, setting, if_exists, store, fetch, prefix, monkeypatch):
    if not isinstance(store, OssStore):
        pytest.skip("only OSS refuses this")
    connection = store.connection()
    connection["extra"]["config_kwargs"] = config
    conn_id = f"oss_without_{setting}_{if_exists}"
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))

    with pytest.raises(NxCloudStorageError, match=f"^.{{0,80}}; put .*{setting}.* into the extra of"):
        fetch([PHOTO], destination=f"s3://{conn_id}@{store.bucket}/{prefix}", if_exists=if_exists)
