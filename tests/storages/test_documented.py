"""What docs/storages.md says of calls, rights and arguments is what each store gets and keeps."""

from __future__ import annotations

import random
import re
from datetime import datetime
from itertools import groupby
from urllib.parse import unquote

import pytest
from airflow.providers.common.compat.sdk import DAG
from pages import blocks, tables

from airflow_provider_nxcloud.exceptions import NxCloudStorageError
from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator

pytestmark = pytest.mark.slow

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
    with pytest.raises(NxCloudStorageError, match=r"^cannot look for '.*': .*Forbidden"):
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
