"""Downloads: signed, expiring URLs, validators, ranges."""

from __future__ import annotations

import hashlib

import pytest


def test_download_has_oss_headers(client, content):
    answer = client.get()

    assert answer.body == content
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["Content-Length"] == "1000"
    assert answer.headers["ETag"] == f'"{hashlib.md5(content).hexdigest().upper()}"'
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Last-Modified"] == client.get().headers["Last-Modified"]


def test_head_has_the_headers_of_get_and_no_body(client):
    target = client.target()

    head, get = (
        client.raw("HEAD", target, b"", {}, patience=0.1),
        client.raw("GET", target, b"", {}, patience=0.1),
    )

    assert (head.status, head.body, len(get.body)) == (200, b"", 1000)
    assert {**head.headers, "Date": ""} == {**get.headers, "Date": ""}


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [("0-9", 0, 10), ("990-", 990, 1000), ("500-9999", 500, 1000), ("-10", 990, 1000), ("-9999", 0, 1000)],
)
def test_range_answers_206_with_that_part(client, content, wanted, start, stop):
    answer = client.get(Range=f"bytes={wanted}")

    assert (answer.status, answer.body) == (206, content[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/1000"


@pytest.mark.parametrize(
    "value", ["bytes=1000-", "bytes=9-5", "bytes=-0", "bytes=-", "bytes=0-1,5-6", "lines=1-2"]
)
def test_unsatisfiable_range_answers_416(client, value):
    answer = client.get(Range=value)

    assert answer.status == 416
    assert answer.headers["Content-Range"] == "bytes */1000"


def test_if_range_sends_the_part_only_of_the_same_file(client):
    whole = client.get().headers

    for same in (whole["ETag"], whole["Last-Modified"]):
        assert client.get(**{"Range": "bytes=1-", "If-Range": same}).status == 206
    for other in ('"0"', "Mon, 01 Jan 2024 00:00:00 GMT"):
        answer = client.get(**{"Range": "bytes=1-", "If-Range": other})
        assert (answer.status, len(answer.body)) == (200, 1000)


def test_url_expires(client, sandbox):
    target = client.target()
    sandbox.clock_offset = sandbox.url_lifetime - 2
    assert client.send("GET", target).status == 200

    sandbox.clock_offset = sandbox.url_lifetime + 1
    answer = client.send("GET", target)

    assert answer.status == 403
    assert b"<Code>AccessDenied</Code>" in answer.body
    assert b"<Message>Request has expired.</Message>" in answer.body
    assert client.get().status == 200


def test_url_lifetime_zero_is_expired_at_once(client, sandbox):
    sandbox.url_lifetime = 0

    assert client.get().status == 403


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda target: target.replace("Expires=", "Expires=9"), b"SignatureDoesNotMatch"),
        (lambda target: target.replace("/photo?", "/1000000001?"), b"SignatureDoesNotMatch"),
        (lambda target: target.partition("&Signature")[0], b"AccessDenied"),
        (lambda target: target.partition("?")[0], b"AccessDenied"),
    ],
)
def test_url_with_a_wrong_signature_answers_403(client, change, code):
    answer = client.send("GET", change(client.target()))

    assert answer.status == 403
    assert code in answer.body


def test_media_id_needs_no_safe_characters(client, sandbox, content):
    sandbox.add_media(content, "image/jpeg", media_id="a/b c?%2F&ü")

    assert client.get("a/b c?%2F&ü").body == content
    assert len(sandbox.downloads("a/b c?%2F&ü")) == 1


def test_missing_media_answers_404(client, sandbox):
    target = client.target()
    del sandbox.media["photo"]

    answer = client.send("GET", target)

    assert answer.status == 404
    assert b"<Code>NoSuchKey</Code>" in answer.body


def test_post_to_a_download_answers_405(client):
    assert client.get(method="POST").status == 405


def test_empty_media_is_whole_with_no_bytes(client, sandbox):
    sandbox.add_media(b"", "text/plain", media_id="empty")

    answer = client.get("empty")

    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")
