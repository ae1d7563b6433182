"""What the operator refuses before it asks anything, and the names it gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowNotFoundException

from airflow_provider_nxcloud.exceptions import (
    NxCloudInputError,
    NxCloudMediaFailedError,
    NxCloudMediaLostError,
)
from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator

PHOTO, VOICE, SONG, MEMO_A, MEMO_B = "1000000001", "1000000004", "1000000005", "1000000006", "1000000007"

#: What makes a media ID or a pattern wrong is in tests/unit: test_media.py and transfer/test_object_names.py.
BAD = [
    ("media_ids", None, "media_ids must be a list"),
    ("media_ids", [PHOTO, ".."], r"media_ids\[1\] has '/' or '\.\.' in it"),
    ("destination", None, "destination must be a URL such as"),
    ("destination", "", "destination must be a URL such as"),
    ("destination", "  ", "destination must be a URL such as"),
    # What a template that gives nothing renders to.
    ("destination", "None", "destination is 'None'"),
    ("destination", "None/2026", "destination is 'None/2026'"),
    ("destination", 5, "destination must be a URL such as"),
    (
        "destination",
        "s3://bucket/in?versionId=canary",
        r"has a query, .*; remove it \('s3://bucket/in\?\.\.\.'\)",
    ),
    ("destination", "s3://[bucket/in", "destination cannot be used: ValueError: Invalid IPv6 URL"),
    ("destination", "s3://", "names no bucket"),
    ("destination", "s3:///key", "names no bucket"),
    ("destination", "file://relative/folder", "needs an absolute path"),
    ("destination", "file:///C:/data", "destination must be a URL such as"),
    ("destination", "nosuch://bucket/prefix", "destination cannot be used: .*what provides nosuch://"),
    (
        "destination",
        "s3://undefined_conn@bucket/prefix",
        "storage connection 'undefined_conn' is not defined",
    ),
    ("storage_conn_id", "undefined_conn", "storage connection 'undefined_conn' is not defined"),
    ("object_name", "", "object_name cannot be used"),
    ("object_name", "../{media_id}", r"'\.\.' segment"),
    ("if_exists", "replace", "if_exists must be one of skip, overwrite, fail, not 'replace'"),
    ("if_exists", None, "if_exists must be one of"),
    ("max_workers", 0, "max_workers must be a whole number from 1 to 256, not 0"),
    ("max_workers", 257, "max_workers must be"),
    ("max_workers", "16", "max_workers must be"),
    ("max_workers", True, "max_workers must be"),
    ("max_workers", 1.5, "max_workers must be"),
    ("max_media_bytes", 0, "max_media_bytes must be a whole number"),
    ("max_media_bytes", -1, "max_media_bytes must be"),
    ("max_media_bytes", None, "max_media_bytes must be"),
    ("manifest", "", "manifest must be the path or URL of a file"),
    ("manifest", "None", "manifest is 'None'"),
    ("manifest", "None/records.jsonl", "manifest is 'None/'"),
    ("manifest", 5, "manifest must be the path or URL of a file"),
    ("manifest", "folder/", "manifest must be the path or URL of a file"),
    ("manifest", "s3://bucket", "manifest must be the path or URL of a file"),
    ("manifest", "/runs/{{ ds }}.jsonl", "manifest must be the path or URL of a file"),
    ("manifest", "/runs/a\u202eb.jsonl", "manifest must be the path or URL of a file"),
    ("manifest", "s3://undefined_conn@bucket/a.jsonl", "storage connection 'undefined_conn'"),
    ("write_kwargs", {"ACL": "private"}, "write_kwargs are not supported for local paths"),
    ("write_kwargs", "ACL", "write_kwargs must be a mapping, not str"),
    ("write_kwargs", [("ACL", "private")], "write_kwargs must be a mapping, not list"),
    ("business_phone", "12", "argument business_phone must be 5 to 20 digits"),
    ("business_phone", "phone", "argument business_phone must be 5 to 20 digits"),
    ("business_phone", "", "business_phone"),
]


@pytest.mark.parametrize(("name", "value", "says"), BAD)
def test_bad_argument_is_refused_before_anything_happens(name, value, says, sandbox, destination, tmp_path):
    arguments = {"media_ids": [PHOTO, VOICE], "destination": str(destination), name: value}
    operator = NxCloudGetMediaOperator(task_id="fetch", **arguments)  # which only assigns
    before = set(tmp_path.rglob("*"))

    with pytest.raises(NxCloudInputError, match=says) as raised:
        operator.execute(context={})

    assert isinstance(raised.value, AirflowFailException)
    assert sandbox.requests == []
    left = {path for path in tmp_path.rglob("*") if path != destination} - before
    assert left == set()
    assert not destination.exists()


def test_undefined_connection_is_named(sandbox, fetch, destination):
    with pytest.raises(AirflowNotFoundException, match="undefined_conn"):
        fetch([PHOTO], nxcloud_conn_id="undefined_conn")
    assert not destination.exists()


def test_missing_business_phone_is_named_before_any_call(sandbox, fetch, connect, destination):
    connect(extra={"business_phone": None})

    with pytest.raises(NxCloudInputError, match=r"business_phone is missing.* 'nxcloud_default'"):
        fetch([PHOTO])

    assert sandbox.requests == []
    assert not destination.exists()


def test_storage_connection_in_the_url_and_beside_it_must_agree(sandbox, fetch, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_ONE", json.dumps({"conn_type": "aws"}))
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({"conn_type": "aws"}))

    with pytest.raises(NxCloudInputError, match="names storage connection 'one', storage_conn_id 'other'"):
        fetch([PHOTO], destination="s3://one@bucket/prefix", storage_conn_id="other")
    assert sandbox.requests == []


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{media_id}", VOICE),
        ("whatsapp/{extension}/{media_id}", f"whatsapp/.ogg/{VOICE}"),
        ("a/b/c/{media_id}{extension}", f"a/b/c/{VOICE}.ogg"),
        ("{media_id}/{file_name}", f"{VOICE}/greeting 1.ogg"),
        ("{media_id:>12}{extension}", f"  {VOICE}.ogg"),
        ("{{{media_id}}}", f"{{{VOICE}}}"),
    ],
)
def test_object_name_pattern(pattern, name, sandbox, fetch, destination):
    fetch([{"media_id": VOICE, "file_name": "../greeting 1.ogg"}], object_name=pattern)

    assert [p.relative_to(destination).as_posix() for p in destination.rglob("*") if p.is_file()] == [name]
    assert (destination / name).read_bytes() == sandbox.media[VOICE].content


@pytest.mark.parametrize(
    "sent",
    ["../../etc/passwd", "/etc/passwd", "..\\..\\a", "..", ".", "", "\x00", "a\nb", ".hidden", "x" * 999],
)
def test_file_name_of_a_sender_never_leaves_the_destination(sent, sandbox, fetch, destination, tmp_path):
    sandbox.add_media(b"content", "image/jpeg", media_id="m", file_name=sent)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}

    fetch(["m"], object_name="in/{file_name}")

    (written,) = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert written.parent == destination / "in"
    assert not written.name.startswith(".")
    assert written.name.isprintable()


def test_odd_media_id_becomes_one_safe_segment(sandbox, fetch, destination):
    odd = "媒体 %#?&=:*|\\"
    sandbox.add_media(b"content", "image/jpeg", media_id=odd)

    (record,) = fetch([odd])

    (written,) = destination.iterdir()
    assert written.name.isascii()
    assert written.read_bytes() == b"content"
    assert record["media_id"] == odd
    assert sandbox.calls()[0].media_id == odd


def test_same_name_known_beforehand_is_refused_before_any_call(sandbox, fetch, destination):
    items = [{"media_id": PHOTO, "file_name": "a.jpg"}, {"media_id": VOICE, "file_name": "a.jpg"}]

    with pytest.raises(NxCloudInputError, match=rf"same object name.*'{VOICE}'.*'a\.jpg' of '{PHOTO}'"):
        fetch(items, object_name="{file_name}")

    assert sandbox.requests == []
    assert not destination.exists()


def test_pattern_without_any_field_fits_one_media_only(sandbox, fetch):
    assert fetch([PHOTO], object_name="latest")[0]["status"] == "stored"
    sandbox.reset()

    with pytest.raises(NxCloudInputError, match=r"same object name.*'latest'"):
        fetch([PHOTO, VOICE], object_name="latest")
    assert sandbox.requests == []


def test_media_whose_name_turns_out_too_long_is_refused(sandbox, fetch):
    sandbox.add_media(b"content", "image/jpeg", media_id="m" * 100, file_name="x" * 200)
    with pytest.raises(
        NxCloudMediaLostError, match="no object name can be made: the name has a segment of more"
    ):
        fetch(["m" * 100], object_name="{media_id}{file_name}")
    assert sandbox.downloads() == []


def test_same_name_found_at_run_time_never_overwrites(sandbox, fetch, destination, manifest):
    with pytest.raises(
        NxCloudMediaLostError, match=f"same object name.*object 'memo' of '{MEMO_A}'"
    ) as raised:
        fetch([MEMO_A, MEMO_B, SONG], object_name="{file_name}", max_workers=1, manifest=str(manifest))

    assert f"media file '{MEMO_B}', " in str(raised.value)
    assert (destination / "memo").read_bytes() == sandbox.media[MEMO_A].content
    assert (destination / "song").read_bytes() == sandbox.media[SONG].content
    records = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [record["status"] for record in records] == ["stored", "failed", "stored"]


@pytest.mark.usefixtures("no_backoff")
def test_name_claimed_by_a_media_that_failed_stays_taken(sandbox, fetch, destination):
    sandbox.inject("download.status", media_id=MEMO_A, times=None, status=500)

    with pytest.raises(NxCloudMediaFailedError, match="2 of 2"):
        fetch([MEMO_A, MEMO_B], object_name="{file_name}", max_workers=1)
    assert list(Path(destination).iterdir()) == []
