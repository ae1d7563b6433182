"""What every object store has to show: whole objects, the older one, or none."""

from __future__ import annotations

import base64
import gc
import json
import random
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath
from stores import RcloneStore, Store

from airflow_provider_nxcloud.exceptions import (
    NxCloudCancelledError,
    NxCloudInputError,
    NxCloudStorageError,
    NxCloudStorageRefusedError,
)
from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator

pytestmark = pytest.mark.usefixtures("no_backoff")

PHOTO, VOICE = "1000000001", "1000000004"
MB = 1024 * 1024
OLDER = b"an older object, good and whole"


@pytest.fixture
def film(sandbox):
    """A media of more than two blocks."""
    return sandbox.add_media(random.Random(3).randbytes(20 * MB), "video/mp4", media_id="film")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_small_and_large_media_are_stored_whole(sandbox, store, prefix, fetch, film, temporary):
    records = fetch([PHOTO, VOICE, "film"])

    for record, name in zip(records, (f"{PHOTO}.jpg", f"{VOICE}.ogg", "film.mp4"), strict=True):
        media = sandbox.media[record["media_id"]]
        stored = store.get(f"{prefix}/{name}")
        assert stored.content == media.content
        assert stored.content_type == media.mime_type
        assert record["uri"] == f"{store.scheme}://{store.conn_id}@{store.bucket}/{prefix}/{name}"
        assert ObjectStoragePath(record["uri"]).read_bytes() == media.content
        assert (record["size"], record["sha256"]) == (len(media.content), media.sha256)
    largest = max(request.size for request in store.proxy.requests)
    assert 4 * MB < largest < 9 * MB, "a large media goes in several blocks"
    assert store.unfinished_uploads() == []
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("media_id", [PHOTO, "film"])
def test_write_kwargs_reach_the_store(media_id, sandbox, store, prefix, fetch, film):
    (record,) = fetch([media_id], write_kwargs=store.write_kwargs)

    stored = store.get(f"{prefix}/{record['uri'].rpartition('/')[2]}")
    sha256 = {"sha256": sandbox.media[media_id].sha256}
    for name, value in store.extras.items():
        kept = stored.extras.get(name)
        if isinstance(value, dict):  # rclone spells names in its own way
            kept = {key.lower(): text for key, text in kept.items()}
            value = {**value, **sha256}
        assert kept == value
    assert stored.content_type == sandbox.media[media_id].mime_type


def test_what_each_call_needs_is_sent_with_each(store, fetch, film):
    if store.scheme != "s3":
        pytest.skip("only S3 has such arguments")
    key = "k" * 32
    store.proxy.require(
        {
            "x-amz-server-side-encryption-customer-key": base64.b64encode(key.encode()).decode(),
            "x-amz-request-payer": "requester",
            "x-amz-expected-bucket-owner": "123456789012",
        }
    )
    write_kwargs = {
        "SSECustomerAlgorithm": "AES256",
        "SSECustomerKey": key,
        "RequestPayer": "requester",
        "ExpectedBucketOwner": "123456789012",
    }

    first, second = (
        [each["status"] for each in fetch([PHOTO, "film"], write_kwargs=write_kwargs)] for _ in "12"
    )

    assert (first, second) == (["stored"] * 2, ["skipped"] * 2)
    with pytest.raises(NxCloudStorageError, match=r"InvalidRequest: A header is missing.*look for"):
        fetch([PHOTO])


def test_storage_conn_id_beside_the_url(store, prefix, fetch):
    destination = f"{store.scheme}://{store.bucket}/{prefix}"

    (record,) = fetch([PHOTO], destination=destination, storage_conn_id=store.conn_id)

    assert record["uri"] == f"{store.scheme}://{store.conn_id}@{store.bucket}/{prefix}/{PHOTO}.jpg"
    assert store.get(f"{prefix}/{PHOTO}.jpg") is not None


def test_destination_given_as_object_storage_path(store, prefix, fetch, sandbox):
    path = ObjectStoragePath(f"{store.scheme}://{store.bucket}/{prefix}", conn_id=store.conn_id)

    (record,) = fetch([PHOTO], destination=path)

    assert record["uri"] == f"{store.scheme}://{store.conn_id}@{store.bucket}/{prefix}/{PHOTO}.jpg"
    assert store.get(f"{prefix}/{PHOTO}.jpg").content == sandbox.media[PHOTO].content


def test_destination_that_is_a_whole_bucket(store, fetch, sandbox):
    (record,) = fetch(
        [PHOTO], destination=f"{store.scheme}://{store.conn_id}@{store.bucket}", object_name="top-{media_id}"
    )

    assert record["uri"] == f"{store.scheme}://{store.conn_id}@{store.bucket}/top-{PHOTO}"
    assert store.get(f"top-{PHOTO}").content == sandbox.media[PHOTO].content


@pytest.mark.parametrize("name", ["a b.jpg", "100%.jpg", "%41.jpg", "a#b.jpg", "报价.jpg", "a+b&c.jpg"])
def test_uri_opens_again_whatever_the_sender_called_the_file(name, sandbox, fetch):
    media = [{"media_id": PHOTO, "file_name": name}]
    (record,) = fetch(media, object_name="{media_id}/{file_name}")

    assert ObjectStoragePath(record["uri"]).read_bytes() == sandbox.media[PHOTO].content
    assert fetch(media, object_name="{media_id}/{file_name}")[0]["status"] == "skipped"


@pytest.mark.parametrize("size", [0, 5 * MB - 1, 5 * MB, 5 * MB + 1, 10 * MB])
def test_size_at_the_edge_of_a_block_is_stored_whole(size, store, prefix, fetch, sandbox):
    content = random.Random(size).randbytes(size)
    media = sandbox.add_media(content, "application/pdf", media_id="edge")
    fetch([{"media_id": "edge", "sha256": media.sha256}])

    stored = store.get(f"{prefix}/edge.pdf")

    assert (stored.content, stored.content_type) == (content, "application/pdf")
    assert store.unfinished_uploads() == []
    if size:  # an empty object may be what a crash left, and is not skipped
        (record,) = fetch(["edge"])
        assert (record["status"], record["size"], record["sha256"]) == ("skipped", size, media.sha256)


def test_manifest_goes_to_the_store_too(store, prefix, fetch):
    url = f"{store.scheme}://{store.conn_id}@{store.bucket}/{prefix}/manifest.jsonl"

    records = fetch([PHOTO, VOICE], manifest=url)

    lines = store.get(f"{prefix}/manifest.jsonl").content.splitlines()
    assert [json.loads(line) for line in lines] == [{**record, "source": None} for record in records]


def test_skip_sees_what_another_client_wrote_since_the_listing(store, prefix, fetch, sandbox):
    # One object under the prefix, so that listing it fills the cache that the operator's client shares.
    store.put(f"{prefix}/first", b"first")
    folder = ObjectStoragePath(f"{store.scheme}://{store.conn_id}@{store.bucket}/{prefix}")
    assert [path.name for path in folder.iterdir()] == ["first"]
    store.put(f"{prefix}/{PHOTO}.jpg", OLDER)

    (record,) = fetch([PHOTO])

    assert (record["status"], record["size"], record["sha256"]) == ("skipped", len(OLDER), None)
    assert store.get(f"{prefix}/{PHOTO}.jpg").content == OLDER
    assert sandbox.downloads() == []


def test_one_listing_spares_s3_the_look_up_of_many_new_objects(store, prefix, fetch, sandbox):
    odd = ["a b", "a+b&c", "报价", "é", "(1)'2"]
    names = [*odd, *(f"n{number}" for number in range(22))]
    ids = [sandbox.add_media(b"text", "text/plain", file_name=name).media_id for name in names]

    def fetch_all() -> tuple[set[str], list[str]]:
        store.proxy.reset()
        records = fetch(ids, object_name="{file_name}/{media_id}")
        return {record["status"] for record in records}, [each.method for each in store.proxy.requests]

    before, methods = fetch_all()
    after, methods_after = fetch_all()

    assert (before, after) == ({"stored"}, {"skipped"})
    if store.scheme == "s3":
        assert (methods.count("HEAD"), methods.count("GET")) == (len(odd) + 16, 1)
        assert (methods_after.count("HEAD"), methods_after.count("GET")) == (len(ids), 1)


def test_fail_looks_each_object_up(store, prefix, fetch, sandbox):
    ids = [sandbox.add_media(b"text", "text/plain").media_id for _ in range(20)]
    fetch(ids, if_exists="fail")

    if store.scheme == "s3":
        assert [each.method for each in store.proxy.requests].count("HEAD") == 20
    with pytest.raises(AirflowFailException, match="if_exists is 'fail'"):
        fetch(ids, if_exists="fail")


def test_skip_tells_the_sha256_that_the_store_keeps(store, prefix, fetch, sandbox):
    sha256 = sandbox.media[PHOTO].sha256
    fetch([PHOTO])
    store.proxy.reset()

    (record,) = fetch([{"media_id": PHOTO, "sha256": sha256}])

    assert (record["status"], record["sha256"]) == ("skipped", sha256)
    # gcsfs lists beside its look for the object, whose targets are then two.
    assert {request.method for request in store.proxy.requests} <= {"HEAD", "GET"}
    assert len({request.target for request in store.proxy.requests}) <= 2
    assert fetch([PHOTO])[0]["sha256"] == sha256


def test_object_with_another_sha256_than_given_is_fetched_anew(store, prefix, fetch, sandbox, caplog):
    fetch([VOICE], object_name="same")
    (record,) = fetch([{"media_id": PHOTO, "sha256": sandbox.media[PHOTO].sha256}], object_name="same")

    assert record["status"] == "stored"
    assert store.get(f"{prefix}/same").content == sandbox.media[PHOTO].content
    assert "same has another sha256 than given: fetching it again" in caplog.text


@pytest.mark.parametrize("media_id", [PHOTO, "film"])
def test_bytes_damaged_on_the_way_to_the_store_never_pass(media_id, store, prefix, fetch, sandbox, film):
    if not store.verifies:
        pytest.skip("this server takes any checksum")
    store.proxy.damage(store.bytes_of_media)

    # rclone closes the whole upload of several parts, and says so.
    with pytest.raises(NxCloudStorageError, match=r"damaged on the way|NoSuchUpload"):
        fetch([media_id])

    assert store.get(f"{prefix}/{media_id}.{'jpg' if media_id == PHOTO else 'mp4'}") is None
    store.proxy.reset()
    assert fetch([media_id])[0]["status"] == "stored"


def test_skip_sees_what_another_client_deleted_since_the_listing(store, prefix, fetch, sandbox):
    store.put(f"{prefix}/{PHOTO}.jpg", OLDER)
    folder = ObjectStoragePath(f"{store.scheme}://{store.conn_id}@{store.bucket}/{prefix}")
    assert [path.name for path in folder.iterdir()] == [f"{PHOTO}.jpg"]
    store.delete(f"{prefix}/{PHOTO}.jpg")

    (record,) = fetch([PHOTO])

    assert record["status"] == "stored"
    assert store.get(f"{prefix}/{PHOTO}.jpg").content == sandbox.media[PHOTO].content


def test_overwrite_asks_the_store_nothing(store, prefix, fetch, sandbox, film):
    store.put(f"{prefix}/{PHOTO}.jpg", OLDER)

    fetch([PHOTO, "film"], if_exists="overwrite")

    assert store.get(f"{prefix}/{PHOTO}.jpg").content == sandbox.media[PHOTO].content
    assert {request.method for request in store.proxy.requests} <= {"PUT", "POST"}
    for request in store.proxy.requests:
        # Creating or listing the bucket would name no object.
        assert (
            f"{PHOTO}.jpg" in request.target or "film.mp4" in request.target or "/upload/" in request.target
        )


@pytest.mark.parametrize("media_id", [PHOTO, "film"])
@pytest.mark.parametrize("older", [False, True], ids=["absent", "older"])
def test_upload_that_fails_leaves_nothing_behind(
    media_id, older, store, prefix, fetch, film, sandbox, temporary
):
    key = f"{prefix}/{media_id}{'.jpg' if media_id == PHOTO else '.mp4'}"
    if older:
        store.put(key, OLDER)
    store.proxy.refuse(store.single if media_id == PHOTO else store.part)

    with pytest.raises(NxCloudStorageError) as raised:
        fetch([media_id], if_exists="overwrite")

    assert f"cannot write '{store.scheme}://{store.conn_id}@{store.bucket}/{key}'" in str(raised.value)
    assert not isinstance(raised.value, AirflowFailException)
    store.proxy.reset()
    stored = store.get(key)
    assert (stored and stored.content) == (OLDER if older else None)
    assert store.unfinished_uploads() == []
    assert list(temporary.iterdir()) == []
    # The refused client is not left in a state that breaks the next try.
    assert fetch([media_id], if_exists="overwrite")[0]["status"] == "stored"
    assert store.get(key).content == sandbox.media[media_id].content


@pytest.mark.parametrize("media_id", [PHOTO, "film"])
def test_connection_that_is_cut_once_is_made_again(
    media_id, store, prefix, fetch, film, sandbox, monkeypatch
):
    cut = []

    def pause(method, target):
        pattern = store.single if media_id == PHOTO else store.part
        if not cut and re.search(pattern, f"{method} {target}"):
            cut.append(target)
            raise ConnectionAbortedError("cut by the test")

    monkeypatch.setattr(store.proxy, "pause", pause)

    (record,) = fetch([media_id])

    assert cut
    stored = store.get(f"{prefix}/{record['uri'].rpartition('/')[2]}")
    assert stored.content == sandbox.media[media_id].content
    assert store.unfinished_uploads() == []


@pytest.mark.parametrize("media_id", [PHOTO, "film"])
@pytest.mark.parametrize("if_exists", ["skip", "overwrite"])
def test_login_page_in_place_of_the_store_is_no_success(if_exists, media_id, store, fetch, film, monkeypatch):
    monkeypatch.setattr(store.proxy, "refusal", lambda *_: (200, b"<html>please log in</html>"))

    with pytest.raises(NxCloudStorageError, match="; what answers is not the store"):
        fetch([media_id], if_exists=if_exists)


@pytest.mark.parametrize("older", [False, True], ids=["absent", "older"])
def test_upload_that_cannot_even_be_aborted_is_never_completed(older, store, prefix, fetch, film):
    key = f"{prefix}/film.mp4"
    if older:
        store.put(key, OLDER)
    store.proxy.refuse(f"{store.part}|^DELETE ")

    gc.disable()  # so that the half-written file is collected below, when the store works again
    try:
        with pytest.raises(NxCloudStorageError, match=r"cannot write .*film\.mp4"):
            fetch(["film"], if_exists="overwrite")
        store.proxy.reset()
    finally:
        gc.enable()
        gc.collect()

    assert [request for request in store.proxy.requests if request.method in ("PUT", "POST")] == []
    stored = store.get(key)
    assert (stored and stored.content) == (OLDER if older else None)


@contextmanager
def stopped_once_held(operator: NxCloudGetMediaOperator, store: Store) -> Iterator[None]:
    """Stop the task as soon as the store holds a request, and see that it is over in time."""
    killed_at = []

    def kill() -> None:
        assert store.proxy.holds.wait(30)
        killed_at.append(time.monotonic())
        operator.on_kill()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        ended = time.monotonic()
        killer.join()
        assert ended - killed_at[0] < 3


@pytest.mark.parametrize("media_id", [PHOTO, "film"])
def test_upload_that_hangs_when_the_task_is_stopped_is_aborted(
    media_id, store, prefix, sandbox, film, temporary
):
    operator = NxCloudGetMediaOperator(
        task_id="fetch",
        media_ids=[media_id],
        destination=f"{store.scheme}://{store.conn_id}@{store.bucket}/{prefix}",
        manifest=f"{store.scheme}://{store.conn_id}@{store.bucket}/{prefix}/manifest.jsonl",
    )
    store.proxy.hold(store.single if media_id == PHOTO else store.part)

    with pytest.raises(NxCloudCancelledError), stopped_once_held(operator, store):
        operator.execute(context={})

    assert store.get(f"{prefix}/film.mp4") is None
    assert [upload for upload in store.unfinished_uploads() if prefix in str(upload)] == []
    assert list(temporary.iterdir()) == []


def test_manifest_that_hangs_does_not_outlive_the_stop_of_the_task(
    store, prefix, sandbox, destination, temporary
):
    operator = NxCloudGetMediaOperator(
        task_id="fetch",
        media_ids=[PHOTO],
        destination=str(destination),
        manifest=f"{store.scheme}://{store.conn_id}@{store.bucket}/{prefix}/manifest.jsonl",
    )
    store.proxy.hold("^(PUT|POST) ")

    with pytest.raises(NxCloudCancelledError, match="manifest"), stopped_once_held(operator, store):
        operator.execute(context={})

    assert list(temporary.iterdir()) == []
    assert [path.name for path in destination.iterdir()] == [f"{PHOTO}.jpg"]


def test_staged_file_is_removed_once_it_is_published(sandbox, fetch, film, temporary):
    staged = []
    sandbox.observer = lambda _: staged.extend(path for path in temporary.rglob("*") if path.is_file())

    fetch(["film", PHOTO, VOICE], max_workers=1)

    assert staged == [], "the disk of the worker need not hold all media"


def test_slash_at_the_end_of_the_destination_is_no_part_of_the_name(store, prefix, fetch):
    destination = f"{store.scheme}://{store.conn_id}@{store.bucket}/{prefix}"
    assert fetch([PHOTO], destination=f"{destination}/")[0]["uri"] == f"{destination}/{PHOTO}.jpg"
    assert store.get(f"{prefix}/{PHOTO}.jpg") is not None


def test_unknown_storage_connection_is_named_before_any_call(store, fetch, sandbox):
    destination = f"{store.scheme}://no_such_store@{store.bucket}/in"

    with pytest.raises(NxCloudInputError, match="storage connection 'no_such_store' is not defined"):
        fetch([PHOTO], destination=destination)

    assert sandbox.requests == []
    assert store.proxy.requests == []


@pytest.mark.parametrize("if_exists", ["skip", "overwrite"])
def test_missing_bucket_is_named(if_exists, store, fetch):
    destination = f"{store.scheme}://{store.conn_id}@no-such-bucket/in"

    text = rf"^.* not exist.*; create it.* never created \(cannot write '{destination}/{PHOTO}\.jpg'\)"
    with pytest.raises(NxCloudStorageRefusedError, match=text):
        fetch([PHOTO], destination=destination, if_exists=if_exists)

    assert store.proxy.requests
    for request in store.proxy.requests:
        # Creating or listing the bucket would name no object.
        assert f"{PHOTO}.jpg" in request.target or "/upload/" in request.target or request.method == "GET"


@pytest.mark.parametrize("if_exists", ["skip", "overwrite"])
def test_wrong_credentials_are_refused_by_name(if_exists, store, prefix, fetch, monkeypatch):
    if not isinstance(store, RcloneStore):
        pytest.skip("this server takes any credentials")
    conn_id = f"wrong_{store.conn_id}"  # Airflow keeps a filesystem for each ID
    connection = {**store.connection(), "password": "wrong"}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
    destination = f"s3://{conn_id}@{store.bucket}/{prefix}"

    with pytest.raises(NxCloudStorageRefusedError, match=f"\\w.*'{destination}/{PHOTO}.jpg'") as raised:
        fetch([PHOTO], destination=destination, if_exists=if_exists)

    assert store.get(f"{prefix}/{PHOTO}.jpg") is None
    assert store.secret not in str(raised.value)
