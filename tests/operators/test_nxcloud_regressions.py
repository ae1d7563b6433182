"""What once went wrong, seen by a user of the operator."""

from __future__ import annotations

import json

import pytest

from airflow_provider_nxcloud.exceptions import (
    NxCloudInputError,
    NxCloudMediaFailedError,
    NxCloudMediaLostError,
)


def test_sender_cannot_take_the_name_of_the_manifest(sandbox, fetch, destination):
    media = sandbox.add_media(b"%PDF of a sender", "application/pdf", file_name="manifest.jsonl")
    with pytest.raises(NxCloudMediaLostError, match=r"the manifest has the same name"):
        fetch([media.media_id], object_name="{file_name}", manifest=str(destination / "manifest.jsonl"))
    (line,) = (destination / "manifest.jsonl").read_text().splitlines()
    assert json.loads(line)["status"] == "failed"


def test_page_is_refused_by_the_declared_type_where_nxcloud_announces_none(
    sandbox, fetch, connect, no_backoff, destination
):
    connect(extra={"max_attempts": 1})
    sandbox.inject("api.data", times=None, data={"mime_type": None})
    sandbox.inject("download.html", times=None)
    with pytest.raises(NxCloudMediaFailedError, match="'text/html' where 'image/jpeg' was announced"):
        fetch([{"media_id": "1000000001", "mime_type": "image/jpeg"}])
    assert list(destination.iterdir()) == []


@pytest.mark.parametrize("validator", ["ETag", "Last-Modified"])
def test_drop_is_resumed_with_any_validator(sandbox, fetch, no_backoff, validator):
    media = sandbox.add_media(bytes(range(256)) * 4000, "image/jpeg", media_id="big")
    other = {"ETag": "Last-Modified", "Last-Modified": "ETag"}[validator]
    sandbox.inject("download.headers", times=None, headers={other: None})
    sandbox.inject("download.reset_at", at=0.5)
    (record,) = fetch(["big"])
    assert record["sha256"] == media.sha256
    assert "Range" in sandbox.downloads()[1].headers


def test_drop_without_a_validator_starts_over(sandbox, fetch, no_backoff):
    media = sandbox.add_media(bytes(range(256)) * 4000, "image/jpeg", media_id="big")
    sandbox.inject("download.headers", times=None, headers={"ETag": None, "Last-Modified": None})
    sandbox.inject("download.reset_at", at=0.5)
    (record,) = fetch(["big"])
    assert record["sha256"] == media.sha256
    assert ["Range" in request.headers for request in sandbox.downloads()] == [False, False]


@pytest.mark.parametrize("mistyped", ["s3:/bucket/x", "file:/tmp/x", "~nobody-here/x"])
def test_mistyped_url_is_no_local_folder(sandbox, fetch, tmp_path, monkeypatch, mistyped):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NxCloudInputError, match="neither a local path nor a URL"):
        fetch(["1000000001"], destination=mistyped)
    assert list(tmp_path.iterdir()) == []
    assert sandbox.requests == []


def test_number_among_the_ids_is_refused_with_its_likely_cause(sandbox, fetch):
    with pytest.raises(NxCloudInputError, match="native rendering"):
        fetch([1000000001])


def test_missing_file_is_looked_for_again_even_with_one_attempt(sandbox, fetch, connect, no_backoff):
    connect(extra={"max_attempts": 1})
    sandbox.inject("download.status", status=404)
    (record,) = fetch(["1000000001"])
    assert record["status"] == "stored"


def test_ids_of_a_callback_without_media_make_an_empty_manifest(sandbox, fetch, manifest):
    assert fetch([], manifest=str(manifest)) == []
    assert manifest.read_bytes() == b""
