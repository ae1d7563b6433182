"""What one listing of a destination in S3 spares, and when it is not believed."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from s3_stand_in import S3StandIn

from airflow_provider_nxcloud.exceptions import NxCloudStorageError
from airflow_provider_nxcloud.storage import s3

PAGE = (
    '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>media</Name><Prefix>in/</Prefix>'
    "<IsTruncated>{truncated}</IsTruncated>{contents}</ListBucketResult>"
)


class Bucket(S3StandIn):
    """Answers each HEAD by whether it has the object, each listing as it is told to, and counts both."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.listing: tuple[int, str] | None = None
        self.lists = threading.Event()
        self.lists.set()
        self.asked: list[str] = []
        super().__init__()

    def answer(self, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(method)
        headers = {"ETag": '"0"', "x-amz-meta-SHA256": "a" * 64}
        if method == "HEAD":
            return (200 if unquote(path).removeprefix("/media/") in self.keys else 404), headers, b""
        self.lists.wait()
        contents = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in sorted(self.keys))
        status, body = self.listing or (200, PAGE.format(truncated="false", contents=contents))
        return status, headers, body.encode()


@pytest.fixture
def bucket(open_s3):
    with Bucket().opened_by(open_s3) as server:
        yield server
        server.lists.set()


def look_up(bucket: Bucket, *names: str) -> list[bool]:
    return [bucket.storage.find(name) is not None for name in names]


NEW = [f"new{number}" for number in range(30)]


def test_few_objects_are_looked_up_one_by_one(bucket):
    look_up(bucket, *NEW[:16])

    assert bucket.asked == ["HEAD"] * 16


def test_many_new_objects_take_one_listing(bucket):
    bucket.keys = {"in/old"}

    assert look_up(bucket, *NEW, "old") == [False] * 30 + [True]
    assert bucket.asked == ["HEAD"] * 16 + ["GET", "HEAD"]


def test_listing_is_made_once_for_all_threads(bucket):
    threads = [threading.Thread(target=look_up, args=(bucket, *NEW)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (bucket.asked.count("HEAD"), bucket.asked.count("GET")) == (16, 1)


@pytest.mark.parametrize(
    "listing",
    [
        (200, PAGE.format(truncated="true", contents="<Contents><Key>in/other</Key></Contents>")),
        (200, PAGE.format(truncated="false", contents="<Contents><Key>/in/old</Key></Contents>")),
        (200, "<html>please log in</html>"),
        (200, "<ListBucketResult/>"),
        (200, "nonsense"),
        (403, "<Error><Code>AccessDenied</Code></Error>"),
        (404, ""),
        (501, "<Error><Code>NotImplemented</Code></Error>"),
    ],
)
def test_listing_that_does_not_tell_all_changes_nothing(listing, bucket):
    bucket.listing = listing
    bucket.keys = {"in/old"}

    assert look_up(bucket, *NEW, "old") == [False] * 30 + [True]
    assert bucket.asked.count("HEAD") == 31


def test_listing_that_tells_nothing_is_not_repeated(bucket, monkeypatch):
    bucket.listing = (403, "<Error><Code>AccessDenied</Code></Error>")
    look_up(bucket, *NEW)
    later = s3.time.monotonic() + 2 * s3._LISTING_SECONDS
    monkeypatch.setattr(s3.time, "monotonic", lambda: later)

    look_up(bucket, "new")

    assert bucket.asked.count("GET") == 1


def test_listing_that_hangs_holds_up_the_look_ups_for_a_limited_time(bucket, monkeypatch):
    monkeypatch.setattr(s3, "_LISTING_TIMEOUT", 1)
    bucket.keys = {"in/old"}
    bucket.lists.clear()

    assert look_up(bucket, *NEW, "old") == [False] * 30 + [True]


def test_listing_without_an_object_that_is_there_is_not_believed(bucket):
    bucket.keys = {"in/old", "in/older"}
    bucket.listing = (200, PAGE.format(truncated="false", contents=""))

    assert look_up(bucket, "old", *NEW, "older") == [True] + [False] * 30 + [True]


@pytest.mark.parametrize("name", ["a b", "a+b", "%41", "a&b", "报价", "e\u0301"])
def test_name_that_a_listing_can_spell_in_another_way_is_looked_up(name, bucket):
    bucket.keys = {f"in/{name}"}
    bucket.listing = (
        200,
        PAGE.format(truncated="false", contents="<Contents><Key>in/other</Key></Contents>"),
    )
    look_up(bucket, *NEW)

    assert look_up(bucket, name) == [True]


def test_fresh_look_ups_take_no_listing(bucket):
    look_up(bucket, *NEW)
    bucket.keys = {"in/late"}

    assert bucket.storage.find("late", fresh=True)


def test_listing_is_renewed_when_it_is_old(bucket, monkeypatch):
    look_up(bucket, *NEW)
    bucket.keys = {"in/late"}
    assert look_up(bucket, "late") == [False]

    later = s3.time.monotonic() + s3._LISTING_SECONDS
    monkeypatch.setattr(s3.time, "monotonic", lambda: later)

    assert look_up(bucket, "late") == [True]


def test_object_of_the_listing_that_cannot_be_looked_up_is_an_error(bucket):
    bucket.keys = {"in/old"}
    look_up(bucket, *NEW)
    bucket.answer = lambda method, path: (403, {}, b"")

    with pytest.raises(NxCloudStorageError, match="HTTP 403: Forbidden"):
        look_up(bucket, "old")


def test_object_has_the_size_and_the_sha256_that_the_store_keeps(bucket):
    bucket.keys = {"in/old"}

    assert bucket.storage.find("old") == (0, "a" * 64)


MD5 = base64.b64encode(hashlib.md5(b"body").digest()).decode()


@pytest.mark.parametrize(
    ("calculation", "given", "added"),
    [
        ("when_required", {"Body": b"body"}, {"ContentMD5": MD5}),
        ("when_required", {"Body": bytearray(b"body")}, {"ContentMD5": MD5}),
        ("when_required", {"Body": memoryview(b"body")}, {"ContentMD5": MD5}),
        ("when_required", {"Body": io.BytesIO(b"body")}, {}),
        ("when_required", {"Body": b"body", "ContentMD5": "given"}, {}),
        ("when_required", {"Body": b"body", "ChecksumCRC32": "given"}, {}),
        ("when_required", {}, {}),
        ("when_supported", {"Body": b"body"}, {}),
        (None, {"Body": b"body"}, {"ContentMD5": MD5}),
    ],
)
def test_md5_goes_with_each_body_that_botocore_sends_no_checksum_of(calculation, given, added):
    arguments = dict(given)

    s3._add_md5(
        arguments, {"client_config": SimpleNamespace(request_checksum_calculation=calculation)}, more="of it"
    )

    assert arguments == {**given, **added}
