"""What the operator stores and returns."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import re
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_nxcloud.exceptions import NxCloudError, NxCloudInputError, NxCloudMediaLostError
from airflow_provider_nxcloud.transfer.progress import Progress

EXTENSIONS = {
    "1000000001": ".jpg",
    "1000000002": ".png",
    "1000000003": ".webp",
    "1000000004": ".ogg",
    "1000000005": ".mp3",
    "1000000006": ".m4a",
    "1000000007": ".aac",
    "1000000008": ".amr",
    "1000000009": ".mp4",
    "1000000010": ".3gp",
    "1000000011": ".pdf",
    "1000000012": ".docx",
    "1000000013": ".xlsx",
    "1000000014": ".pptx",
    "1000000015": ".doc",
    "1000000016": ".xls",
    "1000000017": ".ppt",
    "1000000018": ".txt",
}
PHOTO, VOICE, TABLE = "1000000001", "1000000004", "1000000013"


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def lines(manifest: Path) -> list[dict]:
    return [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]


def test_every_documented_kind_is_stored_whole_under_its_name(sandbox, fetch, destination):
    assert EXTENSIONS.keys() == sandbox.media.keys()

    records = fetch(list(EXTENSIONS))

    assert files(destination) == {
        media_id + extension: sandbox.media[media_id].content for media_id, extension in EXTENSIONS.items()
    }
    assert [record["media_id"] for record in records] == list(EXTENSIONS)
    assert {record["status"] for record in records} == {"stored"}


def test_record_of_a_stored_media(sandbox, fetch, destination):
    (record,) = fetch([TABLE])

    content = sandbox.media[TABLE].content
    assert record == {
        "media_id": TABLE,
        "status": "stored",
        "uri": f"file://{destination}/{TABLE}.xlsx",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "mime_type": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "file_name": "报价 2026.xlsx",
        "error": None,
    }
    assert type(record["size"]) is int


def test_record_of_a_skipped_media(sandbox, fetch, destination):
    fetch([VOICE])

    assert fetch([VOICE]) == [
        {
            "media_id": VOICE,
            "status": "skipped",
            "uri": f"file://{destination}/{VOICE}.ogg",
            "size": len(sandbox.media[VOICE].content),
            "sha256": None,
            "mime_type": "audio/ogg; codecs=opus",
            "file_name": "voice",
            "error": None,
        }
    ]


@pytest.mark.usefixtures("no_backoff")
def test_record_of_a_failed_media(fetch):
    failed = {"media_id": "no-such", "mime_type": "image/png", "file_name": "a.png"}

    _, record = fetch([PHOTO, failed], ignore_media_errors=True)

    assert "'no-such'" in record.pop("error")
    assert record == {
        "media_id": "no-such",
        "status": "failed",
        "uri": None,
        "size": None,
        "sha256": None,
        "mime_type": "image/png",
        "file_name": "a.png",
    }


def test_what_the_item_declares_goes_before_the_answer(fetch, destination):
    item = {"media_id": VOICE, "mime_type": "audio/opus", "file_name": "greeting.opus", "sha256": None}

    (record,) = fetch([item])

    assert (record["mime_type"], record["file_name"]) == ("audio/opus", "greeting.opus")
    assert list(files(destination)) == [f"{VOICE}.opus"]


def test_records_keep_the_order_and_duplicates_are_fetched_once(sandbox, fetch):
    wanted = [TABLE, {"media_id": PHOTO}, TABLE, VOICE, PHOTO]
    sandbox.download_latency = 0.01

    records = fetch(wanted)

    assert [record["media_id"] for record in records] == [TABLE, PHOTO, VOICE]
    assert sorted(call.media_id for call in sandbox.calls()) == [PHOTO, VOICE, TABLE]
    assert sorted(download.media_id for download in sandbox.downloads()) == [PHOTO, VOICE, TABLE]


def test_order_is_kept_when_the_first_comes_last(sandbox, fetch):
    sandbox.inject("download.drip", media_id="1000000018", interval=0.0002)

    records = fetch(["1000000018", PHOTO, VOICE])

    assert [record["media_id"] for record in records] == ["1000000018", PHOTO, VOICE]


@pytest.mark.parametrize(
    "text",
    [
        f'["{PHOTO}", {{"media_id": "{VOICE}"}}]',
        f"['{PHOTO}', {{'media_id': '{VOICE}', 'sha256': None}}]",
    ],
    ids=["JSON", "literal"],
)
def test_media_ids_given_as_text(text, fetch):
    assert [record["media_id"] for record in fetch(text)] == [PHOTO, VOICE]


def test_media_ids_given_as_one_id(fetch):
    assert [record["media_id"] for record in fetch(PHOTO)] == [PHOTO]


@pytest.mark.parametrize("empty", [[], (), "[]"])
def test_empty_list_needs_no_connection_and_gives_an_empty_manifest(empty, sandbox, fetch, manifest):
    assert fetch(empty, nxcloud_conn_id="undefined", manifest=str(manifest)) == []

    assert manifest.read_bytes() == b""
    assert sandbox.requests == []


def test_skip_downloads_nothing_and_asks_nothing_where_the_name_is_known(sandbox, fetch, destination):
    destination.mkdir()
    (destination / f"{PHOTO}.jpg").write_bytes(b"mine")

    (record,) = fetch([{"media_id": PHOTO, "mime_type": "image/jpeg"}])

    assert (record["status"], record["size"], record["sha256"]) == ("skipped", 4, None)
    assert files(destination) == {f"{PHOTO}.jpg": b"mine"}
    assert sandbox.requests == []


def test_skip_asks_for_the_type_where_the_name_is_unknown_but_downloads_nothing(sandbox, fetch, destination):
    destination.mkdir()
    (destination / f"{PHOTO}.jpg").write_bytes(b"mine")

    assert [record["status"] for record in fetch([PHOTO, VOICE])] == ["skipped", "stored"]
    assert [download.media_id for download in sandbox.downloads()] == [VOICE]
    assert (destination / f"{PHOTO}.jpg").read_bytes() == b"mine"


def test_second_run_fetches_only_what_failed_before(sandbox, fetch, connect):
    connect(extra={"max_attempts": 1})
    sandbox.inject("download.status", media_id=VOICE)
    fetch([PHOTO, VOICE], ignore_media_errors=True)
    sandbox.reset()

    assert [record["status"] for record in fetch([PHOTO, VOICE])] == ["skipped", "stored"]
    assert [download.media_id for download in sandbox.downloads()] == [VOICE]


def test_overwrite_replaces(sandbox, fetch, destination):
    destination.mkdir()
    (destination / f"{PHOTO}.jpg").write_bytes(b"mine")

    (record,) = fetch([PHOTO], if_exists="overwrite")

    assert record["status"] == "stored"
    assert files(destination) == {f"{PHOTO}.jpg": sandbox.media[PHOTO].content}


def test_fail_keeps_what_is_there_and_fails_the_media(sandbox, fetch, destination):
    destination.mkdir()
    (destination / f"{PHOTO}.jpg").write_bytes(b"mine")

    with pytest.raises(NxCloudMediaLostError, match=rf"exists already, .*{PHOTO}\.jpg'"):
        fetch([PHOTO], if_exists="fail")

    assert files(destination) == {f"{PHOTO}.jpg": b"mine"}
    assert sandbox.downloads() == []
    assert fetch([VOICE], if_exists="fail")[0]["status"] == "stored"


def test_skip_compares_a_local_file_with_a_given_sha256(sandbox, fetch, destination, caplog):
    wanted = {"media_id": PHOTO, "sha256": sandbox.media[PHOTO].sha256}
    fetch([wanted])
    (record,) = fetch([wanted])
    assert (record["status"], record["sha256"]) == ("skipped", wanted["sha256"])
    assert len(sandbox.downloads()) == 1

    (destination / f"{PHOTO}.jpg").write_bytes(b"damaged")
    (record,) = fetch([wanted])

    assert (record["status"], record["sha256"]) == ("stored", wanted["sha256"])
    assert (destination / f"{PHOTO}.jpg").read_bytes() == sandbox.media[PHOTO].content
    assert f"{PHOTO}.jpg has another sha256 than given: fetching it again" in caplog.text


def test_file_that_differs_stays_when_no_better_one_is_available(sandbox, fetch, destination):
    destination.mkdir()
    (destination / f"{PHOTO}.jpg").write_bytes(b"other")

    with pytest.raises(NxCloudMediaLostError, match="sha256"):
        fetch([{"media_id": PHOTO, "sha256": "0" * 64}])

    assert (destination / f"{PHOTO}.jpg").read_bytes() == b"other"


@pytest.mark.parametrize("if_exists", ["skip", "overwrite", "fail"])
def test_folder_of_that_name_is_never_touched(if_exists, fetch, destination):
    (destination / f"{PHOTO}.jpg" / "inside").mkdir(parents=True)

    with pytest.raises(NxCloudError, match=rf"{PHOTO}\.jpg"):
        fetch([PHOTO], if_exists=if_exists)

    assert [path.name for path in destination.rglob("*")] == [f"{PHOTO}.jpg", "inside"]


def test_manifest_holds_the_records_as_json_lines(fetch, manifest):
    records = fetch([TABLE, PHOTO], manifest=str(manifest))

    assert lines(manifest) == [{**record, "source": None} for record in records]
    assert manifest.read_bytes().endswith(b"}\n")
    assert "报价" in manifest.read_text(encoding="utf-8")
    assert [path.name for path in manifest.parent.iterdir()] == ["manifest.jsonl"]


def test_manifest_says_who_sent_what_when(fetch, manifest):
    said = {
        "caption": "Hi {{ first name }}\n50 % {% off",
        "from_number": "447700900000",
        "timestamp": 1700000000,
        "business_phone": "8613800138000",
        "further": {"when": datetime(2026, 1, 1), "how": float("nan"), "half": "\ud83d"},
    }
    fetch([{"media_id": PHOTO, "file_name": "a.jpg", **said}], manifest=str(manifest))

    (line,) = lines(manifest)
    assert line["file_name"] == "a.jpg"
    assert line["source"] == {
        **said,
        "further": {"when": "2026-01-01 00:00:00", "how": "NaN", "half": "?"},
    }


def test_manifest_has_a_line_for_each_media_file_whatever_its_caption(fetch, manifest):
    caption = "one\u2028two\u2029three\x85four\nfive"
    fetch([{"media_id": PHOTO, "caption": caption}], manifest=str(manifest))
    (line,) = manifest.read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["source"]["caption"] == caption


def test_manifest_of_the_last_run_replaces_the_older_one(fetch, manifest):
    fetch([TABLE, PHOTO], manifest=str(manifest))
    fetch([VOICE], manifest=f"file://{manifest}")

    assert [record["media_id"] for record in lines(manifest)] == [VOICE]


@pytest.mark.parametrize(
    "folder", ["with space", "a#b", "a?b", "100%", "%41", "héé", "报价", "a&b=c+d", "it's", "a;b"]
)
@pytest.mark.parametrize("as_url", [False, True], ids=["path", "url"])
def test_uri_opens_again_whatever_the_folder_is_called(folder, as_url, sandbox, fetch, tmp_path):
    target = tmp_path / folder / "in"

    (record,) = fetch([PHOTO], destination=f"file://{target}" if as_url else str(target))

    content = sandbox.media[PHOTO].content
    assert (target / f"{PHOTO}.jpg").read_bytes() == content
    assert ObjectStoragePath(record["uri"]).read_bytes() == content


@pytest.mark.parametrize("slashes", ["//", "file:////"])
def test_uri_opens_again_whatever_slashes_are_before_the_folder(slashes, sandbox, fetch, destination):
    (record,) = fetch([PHOTO], destination=f"{slashes}{str(destination)[1:]}")

    assert record["uri"] == f"file://{destination}/{PHOTO}.jpg"
    assert ObjectStoragePath(record["uri"]).read_bytes() == sandbox.media[PHOTO].content


@pytest.mark.parametrize(
    "name", ["a#b.jpg", "a?b.jpg", "100%.jpg", "a b.jpg", "%41.jpg", "报价.jpg", "a:b.jpg"]
)
def test_uri_opens_again_whatever_the_sender_called_the_file(name, sandbox, fetch):
    (record,) = fetch([{"media_id": PHOTO, "file_name": name}], object_name="{media_id}/{file_name}")

    assert ObjectStoragePath(record["uri"]).read_bytes() == sandbox.media[PHOTO].content
    assert record["file_name"] == name


@pytest.mark.parametrize(
    "relative",
    [
        "some/folder",
        "my-bucket/whatsapp",
        ".",
        "./out",
        "C:\\data",
        "C:/data",
        "\\\\server\\share",
        "$HOME/x",
        "arn:aws:s3:::b/p",
        "s3:/bucket/x",
        "file:/tmp/x",
        "~nobody-here/x",
        "  /data",
        "/data ",
        " s3://bucket/x",
        "/data\n",
    ],
)
@pytest.mark.parametrize("argument", ["destination", "manifest"])
def test_what_would_become_a_folder_of_the_workers_directory_is_refused(
    argument, relative, sandbox, fetch, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NxCloudInputError, match=f"^{argument} must be "):
        fetch(
            [PHOTO], **{argument: relative if argument == "destination" else f"{relative.rstrip()}/m.jsonl "}
        )
    assert list(tmp_path.iterdir()) == []
    assert sandbox.requests == []


def test_manifest_is_a_file_below_an_absolute_path(sandbox, fetch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NxCloudInputError, match=r"^manifest must be .* not 'manifest\.jsonl'"):
        fetch([PHOTO], manifest="manifest.jsonl")
    assert list(tmp_path.iterdir()) == []
    assert sandbox.requests == []


def test_destination_in_the_home_folder(fetch, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))

    (record,) = fetch([PHOTO], destination="~/media")

    assert record["uri"] == f"file://{tmp_path}/media/{PHOTO}.jpg"
    assert (tmp_path / "media" / f"{PHOTO}.jpg").is_file()


@pytest.mark.parametrize("kind", [Path, lambda path: ObjectStoragePath(f"file://{path}")])
def test_destination_given_as_an_object(kind, fetch, destination):
    assert fetch([PHOTO], destination=kind(destination))[0]["uri"] == f"file://{destination}/{PHOTO}.jpg"
    assert list(files(destination)) == [f"{PHOTO}.jpg"]


def test_stored_file_has_the_permissions_of_any_new_file(fetch, destination):
    old = os.umask(0o027)
    try:
        fetch([PHOTO])
    finally:
        os.umask(old)

    assert (destination / f"{PHOTO}.jpg").stat().st_mode & 0o777 == 0o640


@pytest.mark.usefixtures("no_backoff")
def test_run_ends_with_a_summary(sandbox, fetch, destination, caplog):
    destination.mkdir()
    (destination / f"{VOICE}.ogg").write_bytes(b"mine")
    sandbox.inject("download.status", media_id=TABLE, times=None, status=404)
    caplog.set_level(logging.INFO, "airflow_provider_nxcloud")

    fetch([PHOTO, VOICE, TABLE], ignore_media_errors=True)

    assert "3 of 3 media files done in" in caplog.text
    assert ": 1 stored, 1 skipped, 1 failed; 44 kB" in caplog.text
    messages = [record.getMessage() for record in caplog.records]
    group = messages[messages.index(f"::group::Fetching 3 media files into file://{destination}/") :]
    (not_stored,) = [message for message in group if message.startswith("Not stored: ")]
    assert f"(media file '{TABLE}'" in not_stored
    assert group[-2] == "::endgroup::"


def test_long_run_speaks_at_least_every_ten_seconds(fetch, caplog, monkeypatch):
    clock = itertools.count(0.0, 6.0)
    monkeypatch.setattr(
        "airflow_provider_nxcloud.transfer.progress.time", SimpleNamespace(monotonic=clock.__next__)
    )
    caplog.set_level(logging.INFO, "airflow_provider_nxcloud")

    fetch([PHOTO, VOICE, TABLE, "1000000002"], max_workers=1)

    assert re.search(r"([123])/4 media files done: \1 stored, 0 skipped, 0 failed; \d+ kB at ", caplog.text)
    assert " kB/s; " in caplog.text
    assert " s left" in caplog.text


def test_progress_is_told_at_most_every_ten_seconds(caplog, monkeypatch):
    clock = iter([0.0, 9.9, 10.0, 19.9, 20.0])
    monkeypatch.setattr(
        "airflow_provider_nxcloud.transfer.progress.time", SimpleNamespace(monotonic=clock.__next__)
    )
    caplog.set_level(logging.INFO, "airflow_provider_nxcloud")
    progress = Progress([], 7, "file:///media")

    for _ in range(4):
        progress.log_if_due()

    assert caplog.text.count("0/7 media files done") == 2


def test_progress_without_anything_done_does_not_guess_the_time_left(caplog, monkeypatch):
    clock = itertools.count(0.0, 10.0)
    monkeypatch.setattr(
        "airflow_provider_nxcloud.transfer.progress.time", SimpleNamespace(monotonic=clock.__next__)
    )
    caplog.set_level(logging.INFO, "airflow_provider_nxcloud")

    Progress([], 7, "file:///media").log_if_due()

    assert (
        "0/7 media files done: 0 stored, 0 skipped, 0 failed; 0 bytes at 0 bytes/s; time left unknown"
        in caplog.text
    )
