"""Which failures fail the task, and what a failed run tells."""

from __future__ import annotations

import errno
import json
import logging
import os
import traceback
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_nxcloud.exceptions import (
    NxCloudCredentialsError,
    NxCloudError,
    NxCloudInputError,
    NxCloudMediaFailedError,
    NxCloudMediaLostError,
    NxCloudPhoneNumberError,
    NxCloudStorageError,
)

pytestmark = pytest.mark.usefixtures("no_backoff")

PHOTO, VOICE, SONG, CLIP = "1000000001", "1000000004", "1000000005", "1000000009"


def statuses(manifest: Path) -> dict[str, str]:
    records = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    return {record["media_id"]: record["status"] for record in records}


def stored(destination: Path) -> set[str]:
    return {path.stem for path in destination.iterdir()}


def test_one_bad_media_of_many_does_not_stop_the_others(sandbox, fetch, destination, manifest):
    sandbox.inject("download.status", media_id=VOICE, times=None, status=500)

    with pytest.raises(NxCloudMediaFailedError) as raised:
        fetch([PHOTO, VOICE, SONG, "no-such"], max_workers=1, manifest=str(manifest))

    assert not isinstance(raised.value, AirflowFailException)
    assert str(raised.value).splitlines() == [
        "2 of 4 media files failed: the download answered HTTP 500; this may be temporary "
        f"(media file '{VOICE}', from {sandbox.base_url})",
        "NXCloud -1, request failed; this may be temporary, or the media ID is wrong or older than "
        "seven days (connection 'nxcloud_default', media file 'no-such', business_phone 8613800138000 (extra of "
        "the connection), action getMedia)",
        f"A task retry tries them again; the manifest '{manifest}' lists all",
    ]
    assert stored(destination) == {PHOTO, SONG}
    assert statuses(manifest) == {PHOTO: "stored", VOICE: "failed", SONG: "stored", "no-such": "failed"}


def test_cause_remedy_and_place_are_a_line_each(fetch, connect, caplog):
    connect(password="wrong")

    with pytest.raises(NxCloudCredentialsError):
        fetch([PHOTO])

    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        "Cause: NXCloud 1003, invalid signature",
        "Hint: check login (access key) and password (access secret) of the connection",
        f"Where: connection 'nxcloud_default', media file '{PHOTO}', business_phone 8613800138000 (extra of the "
        "connection), action getMedia",
    ]


def test_error_of_the_only_media_file_begins_with_its_cause(fetch, connect):
    connect(extra={"max_attempts": 1})
    with pytest.raises(NxCloudMediaFailedError, match=r"\ANXCloud -1, request failed; "):
        fetch(["unknown"])


def test_many_failures_read_as_one_story(sandbox, fetch, connect, caplog, manifest):
    caplog.set_level(logging.INFO)
    connect(extra={"max_attempts": 2})
    unknown = [f"unknown-{number:03}" for number in range(200)]
    refused = [
        sandbox.add_media(b"photo", "image/jpeg", media_id=f"refused-{n:03}").media_id for n in range(200)
    ]
    sandbox.inject("download.status", times=None, status=403)

    with pytest.raises(NxCloudMediaFailedError) as raised:
        fetch([*unknown, *refused], manifest=str(manifest))

    text, lines = str(raised.value), [record.getMessage() for record in caplog.records]
    assert text.startswith("400 of 400 media files failed: ")
    assert len(text) < 6000
    assert sum(media_id in text for media_id in unknown + refused) == 20
    assert f"the manifest '{manifest}' lists all" in text
    assert len(statuses(manifest)) == 400
    assert len(lines) < 120
    # One warning a cause, and in the end each with what to do about it in lines that Airflow's UI shows whole.
    assert sum(record.levelno == logging.WARNING for record in caplog.records) == 2
    errors = [record.getMessage() for record in caplog.records if record.levelno > logging.WARNING]
    assert [line.partition(" '")[0] for line in errors] == [
        "Cause: NXCloud -1, request failed",
        "Hint: this may be temporary, or the media ID is wrong or older than seven days",
        "Where: 200 media files:",
        "Cause: the download answered HTTP 403 (expired or refused URL)",
        "Hint: this may be temporary",
        "Where: 200 media files:",
    ]


def test_permanent_failures_only_are_not_retried(sandbox, fetch, destination):
    sandbox.inject("download.status", media_id=VOICE, times=None, status=404)

    with pytest.raises(
        NxCloudMediaLostError,
        match=r"(?s)1 of 2 media files failed: the download answered.*Retrying will not help",
    ) as raised:
        fetch([PHOTO, VOICE])

    assert isinstance(raised.value, AirflowFailException)
    assert stored(destination) == {PHOTO}


def test_one_failure_that_may_pass_makes_the_task_retryable(sandbox, fetch):
    sandbox.inject("download.status", media_id=VOICE, times=None, status=404)
    sandbox.inject("download.status", media_id=SONG, times=None, status=503)

    with pytest.raises(NxCloudMediaFailedError) as raised:
        fetch([VOICE, SONG])

    assert not isinstance(raised.value, AirflowFailException)


def test_ignored_media_errors_are_in_the_records(sandbox, fetch, destination, manifest):
    records = fetch([PHOTO, "no-such", VOICE], ignore_media_errors=True, manifest=str(manifest))

    assert [record["status"] for record in records] == ["stored", "failed", "stored"]
    assert records[1]["error"].startswith("NXCloud -1, request failed; ")
    assert statuses(manifest) == {PHOTO: "stored", "no-such": "failed", VOICE: "stored"}


def test_ignored_media_errors_still_fail_when_nothing_is_there(fetch, manifest):
    with pytest.raises(NxCloudMediaFailedError, match="2 of 2 media files failed"):
        fetch(["no-such", "nor-this"], ignore_media_errors=True, manifest=str(manifest))

    assert statuses(manifest) == {"no-such": "failed", "nor-this": "failed"}


def test_media_that_is_there_already_counts_for_ignored_errors(fetch):
    fetch([PHOTO])

    assert [record["status"] for record in fetch([PHOTO, "no-such"], ignore_media_errors=True)] == [
        "skipped",
        "failed",
    ]


@pytest.mark.parametrize("ignore", [False, True])
def test_wrong_credentials_stop_everything_at_once(ignore, sandbox, fetch, connect, destination, manifest):
    connect(password="wrong")
    wanted = [f"media-{number}" for number in range(200)]

    with pytest.raises(
        NxCloudCredentialsError, match=r"^NXCloud 1003, invalid signature; check login"
    ) as raised:
        fetch(wanted, max_workers=4, ignore_media_errors=ignore, manifest=str(manifest))

    assert isinstance(raised.value, AirflowFailException)
    assert len(sandbox.calls()) <= 8
    assert sandbox.downloads() == []
    assert list(destination.iterdir()) == []
    assert statuses(manifest) == dict.fromkeys(wanted, "failed")
    for line in manifest.read_text().splitlines():
        error = json.loads(line)["error"]
        assert error.startswith("not fetched, because the task ended: ")
        assert "1003, invalid signature" in error


def test_phone_number_lost_in_the_middle_keeps_what_is_stored(sandbox, fetch, destination, manifest):
    sandbox.inject("api.code", media_id=SONG, code=9006, message="number not bound")

    with pytest.raises(NxCloudPhoneNumberError, match="9006") as raised:
        fetch([PHOTO, VOICE, SONG, CLIP], max_workers=1, manifest=str(manifest))

    assert isinstance(raised.value, AirflowFailException)
    assert stored(destination) == {PHOTO, VOICE}
    assert statuses(manifest) == {PHOTO: "stored", VOICE: "stored", SONG: "failed", CLIP: "failed"}
    assert [call.media_id for call in sandbox.calls()] == [PHOTO, VOICE, SONG]


def test_business_phone_of_the_task_beats_the_connections(sandbox, fetch, connect):
    connect(extra={"business_phone": "4915112345678"})

    assert fetch([PHOTO], business_phone="+86 138-0013-8000")[0]["status"] == "stored"
    with pytest.raises(NxCloudPhoneNumberError, match="9002"):
        fetch([VOICE])


@pytest.mark.parametrize("folder", ["destination", "manifest"])
def test_local_folder_that_cannot_be_made_is_named_before_any_call(folder, sandbox, fetch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    path = f"{tmp_path}/file/folder"

    with pytest.raises(NxCloudStorageError, match=r"^\w+: (Not a directory|File exists).*file/folder"):
        fetch([PHOTO], **{folder: path if folder == "destination" else f"{path}/manifest.jsonl"})

    assert sandbox.requests == []


def test_file_in_place_of_a_folder_is_named_and_keeps_the_manifest(fetch, destination, manifest):
    destination.mkdir()
    (destination / "images").write_text("in the way")

    with pytest.raises(NxCloudMediaLostError, match=r"one of its parent folders is a file.*'file://.*images"):
        fetch([PHOTO], object_name="images/{media_id}{extension}", manifest=str(manifest))

    assert statuses(manifest) == {PHOTO: "failed"}
    assert [path.name for path in destination.rglob("*")] == ["images"]


def test_failed_run_leaves_no_staging(sandbox, fetch, destination, manifest):
    sandbox.inject("download.cut", times=None)

    with pytest.raises(NxCloudMediaFailedError):
        fetch([PHOTO, VOICE], manifest=str(manifest))

    assert list(destination.iterdir()) == []
    assert [path.name for path in manifest.parent.iterdir()] == ["manifest.jsonl"]


def test_api_that_is_down_for_good_ends_the_task_before_all_were_tried(sandbox, fetch):
    ids = [sandbox.add_media(b"x", "image/jpeg", media_id=f"photo-{n}").media_id for n in range(60)]
    sandbox.inject("api.status", times=None, status=503)

    with pytest.raises(
        NxCloudMediaFailedError, match=r"^NXCloud unavailable for 20 consecutive media files"
    ) as raised:
        fetch(ids, max_workers=1)

    assert not isinstance(raised.value, AirflowFailException)
    assert raised.value.log_lines[0] == "Cause: NXCloud unavailable for 20 consecutive media files"
    assert len({call.media_id for call in sandbox.calls()}) in (20, 21)


def test_api_that_is_down_now_and_then_does_not_end_the_task(sandbox, fetch, connect):
    connect(extra={"max_attempts": 1})
    wanted = [f"media-{number}" for number in range(44)]
    for number, media_id in enumerate(wanted):
        sandbox.add_media(b"content", "image/jpeg", media_id=media_id)
        if number % 2:
            sandbox.inject("api.status", media_id=media_id, times=None)

    records = fetch(wanted, max_workers=1, ignore_media_errors=True)

    assert [record["status"] for record in records] == ["stored", "failed"] * 22


def test_staging_for_an_object_store_that_is_not_possible_is_named(sandbox, fetch, tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_STORE", '{"conn_type": "aws", "login": "key", "password": "secret"}')
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))

    with pytest.raises(
        NxCloudStorageError, match=r"No such file.* \(cannot stage for 's3://store@media/in/'\)"
    ):
        fetch([PHOTO], destination="s3://store@media/in")
    assert sandbox.requests == []


@pytest.mark.parametrize(("scheme", "needed"), [("s3", "aws"), ("gs", "google_cloud_platform")])
def test_storage_connection_of_another_type_is_named(sandbox, fetch, monkeypatch, scheme, needed):
    monkeypatch.setenv(
        "AIRFLOW_CONN_STORE", '{"conn_type": "postgres", "login": "key", "password": "secret"}'
    )

    with pytest.raises(NxCloudInputError, match=f"'store' is of type 'postgres', not '{needed}'"):
        fetch([PHOTO], destination=f"{scheme}://store@media/in")
    assert sandbox.requests == []


def test_disk_that_is_full_names_the_folder_and_the_remedy(sandbox, fetch, monkeypatch):
    sandbox.add_media(b"x" * 600_000, "video/mp4", media_id="film")

    def full(self, memory):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("airflow_provider_nxcloud.storage.staging.StagedFile._spill", full)
    with pytest.raises(
        NxCloudStorageError, match=r"No space left.*free space there \(.*nxcloud-staging.*'film'"
    ):
        fetch(["film"])


def test_object_name_without_the_media_id_is_warned_of(sandbox, fetch, caplog):
    fetch([PHOTO], object_name="{file_name}{extension}")
    assert "has no {media_id}: media files of different runs can get the same name" in caplog.text


@pytest.mark.parametrize("if_exists", ["skip", "overwrite"])
def test_file_in_place_of_a_folder_stays(if_exists, fetch, destination):
    destination.mkdir()
    (destination / "photos").write_text("a file")
    with pytest.raises(NxCloudMediaLostError, match=f"'file://{destination}/photos/{PHOTO}.jpg'"):
        fetch([PHOTO], object_name="photos/{media_id}{extension}", if_exists=if_exists)
    assert (destination / "photos").read_text() == "a file"


def test_folder_of_an_earlier_run_is_used_again(sandbox, fetch, destination):
    for _ in range(2):
        fetch([PHOTO], object_name="photos/{media_id}{extension}", if_exists="overwrite")
    assert (destination / "photos" / f"{PHOTO}.jpg").read_bytes() == sandbox.media[PHOTO].content


@pytest.mark.parametrize("wrong", ["secret", "connection", "destination"])
def test_expected_error_is_raised_near_execute(sandbox, connect, fetch, destination, wrong):
    """In place of 20 frames of ours, which say nothing that the text does not."""
    if wrong == "destination":
        destination.write_bytes(b"a file")
    connect(**{"secret": {"password": "wrong"}, "connection": {"extra": {"timeout": 0}}}.get(wrong, {}))
    with pytest.raises(NxCloudError) as caught:
        fetch([PHOTO, VOICE])
    shown = "".join(traceback.format_exception(caught.value))
    assert shown.count("airflow_provider_nxcloud/") == 2
    assert "During handling" not in shown
    assert "direct cause" not in shown


def test_sender_who_names_a_file_like_the_manifest_stops_no_other(fetch, destination):
    media_ids = [{"media_id": PHOTO, "file_name": "manifest.jsonl"}, {"media_id": VOICE, "file_name": "a"}]
    records = fetch(
        media_ids,
        object_name="{file_name}/{media_id}{extension}",
        manifest=f"{destination}/manifest.jsonl",
        ignore_media_errors=True,
    )
    assert [record["status"] for record in records] == ["failed", "stored"]
    assert (destination / "manifest.jsonl").is_file()
