"""The documented step deletes at NXCloud what is stored and verified, and nothing else."""

from __future__ import annotations

import pytest
from pages import PRELUDE, blocks

from airflow_provider_nxcloud.exceptions import NxCloudCredentialsError
from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator

PHOTO, SCAN, VOICE = "1000000001", "1000000002", "1000000004"


@pytest.fixture
def step():
    """What the step of the page does with media files and the records of their transfer."""
    (block,) = [block for block in blocks("python") if "def delete_at_nxcloud" in block.code]
    names: dict = {}
    exec(PRELUDE + block.code, names)
    return names["delete_at_nxcloud"].function


@pytest.fixture
def fetch(destination, no_backoff):
    def fetch(media: list) -> list[dict]:
        operator = NxCloudGetMediaOperator(
            task_id="get_media", media_ids=media, destination=str(destination), ignore_media_errors=True
        )
        return operator.execute(context={})

    return fetch


def mapping(sandbox, media_id: str, **more) -> dict:
    return {"media_id": media_id, "sha256": sandbox.media[media_id].sha256, **more}


def counts(deleted: int = 0, not_confirmed: int = 0, kept: int = 0) -> dict[str, int]:
    return {"deleted": deleted, "not confirmed": not_confirmed, "kept": kept}


def test_stored_is_deleted_and_failed_is_kept(step, fetch, sandbox):
    media = [{"media_id": PHOTO}, mapping(sandbox, SCAN, sha256="0" * 64), mapping(sandbox, VOICE)]
    assert step(media, fetch(media)) == counts(deleted=2, kept=1)
    assert {PHOTO, SCAN, VOICE} & set(sandbox.media) == {SCAN}


def test_skipped_is_deleted_only_with_a_matching_sha256(step, fetch, sandbox, destination):
    media = [{"media_id": PHOTO, "sha256": None}, mapping(sandbox, SCAN), mapping(sandbox, VOICE)]
    fetch(media[:2])
    # One that is there, is another file, and whose true one cannot be fetched.
    (destination / f"{VOICE}.ogg").write_bytes(b"somebody else's")
    sandbox.inject("download.status", status=404, media_id=VOICE, times=None)
    assert step(media, fetch(media)) == counts(deleted=1, kept=2)
    assert {PHOTO, SCAN, VOICE} & set(sandbox.media) == {PHOTO, VOICE}


def test_record_that_only_looks_verified_is_kept(step, sandbox):
    # The store's own SHA-256, with none in the callback to compare it with.
    record = {"media_id": PHOTO, "status": "skipped", "sha256": sandbox.media[PHOTO].sha256}
    assert step([{"media_id": PHOTO, "sha256": None}], [record]) == counts(kept=1)
    assert step([{"media_id": PHOTO, "sha256": "0" * 64}], [record]) == counts(kept=1)
    assert sandbox.requests == []


def test_second_run_says_that_nothing_was_confirmed(step, fetch, sandbox, capsys):
    media = [mapping(sandbox, PHOTO)]
    records = fetch(media)
    assert step(media, records) == counts(deleted=1)
    assert step(media, records) == counts(not_confirmed=1)
    assert "which may have happened before: NXCloud -1, request failed" in capsys.readouterr().out


def test_answer_that_says_no_is_not_a_deletion(step, fetch, sandbox):
    media = [mapping(sandbox, PHOTO)]
    records = fetch(media)
    sandbox.inject("api.data", success=False)
    assert step(media, records) == counts(not_confirmed=1)


def test_each_is_deleted_under_the_number_it_was_sent_to(step, fetch, sandbox, connect):
    phone = sandbox.business_phone
    media = [mapping(sandbox, PHOTO, business_phone=f"+{phone}")]
    records = fetch(media)
    connect(extra={"business_phone": None})
    assert step(media, records) == counts(deleted=1)


def test_refused_credentials_fail_the_step(step, fetch, sandbox, connect):
    media = [mapping(sandbox, PHOTO)]
    records = fetch(media)
    connect(password="other")
    with pytest.raises(NxCloudCredentialsError):
        step(media, records)
    assert PHOTO in sandbox.media
