"""What once went wrong, seen by a user of the operator."""

from __future__ import annotations

import json
import re
import socket
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from raw_server import RawServer

from airflow_provider_nxcloud.exceptions import (
    NxCloudCredentialsError,
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
    sandbox.inject("api.data", times=None, mime_type=None)
    sandbox.inject("download.html", times=None)
    with pytest.raises(NxCloudMediaFailedError, match="'text/html' where 'image/jpeg' was announced"):
        fetch([{"media_id": "1000000001", "mime_type": "image/jpeg"}])
    assert list(destination.iterdir()) == []


def test_declared_type_still_counts_after_the_url_expired(sandbox, fetch, connect, no_backoff, destination):
    connect(extra={"max_attempts": 2})
    sandbox.inject("api.data", times=None, mime_type=None)
    sandbox.inject("download.expired")
    sandbox.inject("download.html")
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


def test_drop_without_a_validator_is_resumed_where_a_given_sha256_will_tell(sandbox, fetch, no_backoff):
    media = sandbox.add_media(bytes(range(256)) * 4000, "image/jpeg", media_id="big")
    sandbox.inject("download.headers", times=None, headers={"ETag": None, "Last-Modified": None})
    sandbox.inject("download.reset_at", at=0.5)
    (record,) = fetch([{"media_id": "big", "sha256": media.sha256}])
    assert record["sha256"] == media.sha256
    second = sandbox.downloads()[1]
    assert "Range" in second.headers
    assert "If-Range" not in second.headers


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


class _TwoFiles(BaseHTTPRequestHandler):
    """The first half of one file, then whatever is asked for of another, without naming it."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str | None]] = []

    def do_GET(self):
        wanted = self.headers["Range"]
        self.asked.append(wanted)
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Type", "image/jpeg")
        if len(self.asked) == 1:
            self.send_header("ETag", '"multi-1"')
        if wanted:
            self.send_header("Content-Range", "bytes 500-999/1000")
        self.send_header("Content-Length", "500" if wanted else "1000")
        self.end_headers()
        if len(self.asked) == 1:
            self.wfile.write(b"a" * 500)
            self.close_connection = True
        else:
            self.wfile.write(b"b" * (500 if wanted else 1000))

    def log_message(self, *_):
        pass


def test_rest_of_another_file_is_not_joined_to_the_first_half(sandbox, fetch, no_backoff, destination):
    _TwoFiles.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _TwoFiles) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/photo"
        sandbox.inject("api.url", times=None, url=url)
        (record,) = fetch([{"media_id": "1000000001", "mime_type": "image/jpeg"}])
        server.shutdown()
    assert _TwoFiles.asked == [None, "bytes=500-", None]
    assert (destination / "1000000001.jpg").read_bytes() == b"b" * 1000
    assert record["size"] == 1000


class _Parts(RawServer):
    """Sends a thousand bytes of a file at most and calls them a part, whether a range was asked for or not."""

    def __init__(self, content: bytes) -> None:
        self.asked: list[bytes] = []
        self._content = content
        super().__init__()

    def serve(self, client: socket.socket) -> None:
        while request := client.recv(65536):
            start = re.search(rb"(?im)^range: bytes=([0-9]+)-", request)
            self.asked.append(start[1] if start else b"")
            first = int(start[1]) if start else 0
            part = self._content[first:][:1000]
            total, last = len(self._content), first + len(part) - 1
            head = f'HTTP/1.1 206 Partial Content\r\nContent-Length: {len(part)}\r\nETag: "one"\r\n'
            client.sendall(f"{head}Content-Range: bytes {first}-{last}/{total}\r\n\r\n".encode() + part)


@pytest.mark.parametrize("size", [1000, 2500])
def test_part_that_was_not_asked_for_counts_for_what_it_is(size, sandbox, fetch, no_backoff, destination):
    content = bytes(range(250)) * (size // 250)
    with closing(_Parts(content)) as server:
        sandbox.inject("api.url", times=None, url=f"http://127.0.0.1:{server.port}/photo")
        fetch([{"media_id": "1000000001", "mime_type": "image/jpeg"}])
    assert server.asked == [b"", b"1000", b"2000"][: -(-size // 1000)]
    assert (destination / "1000000001.jpg").read_bytes() == content


def test_empty_file_is_no_media_that_is_there_already(sandbox, fetch, destination):
    destination.mkdir()
    (destination / "1000000001.jpg").touch()
    (record,) = fetch(["1000000001"])
    assert (record["status"], record["size"]) == ("stored", len(sandbox.media["1000000001"].content))


def test_empty_file_is_not_replaced_where_nothing_may_be(sandbox, fetch, destination):
    destination.mkdir()
    (destination / "1000000001.jpg").touch()
    with pytest.raises(NxCloudMediaLostError, match="exists already"):
        fetch(["1000000001"], if_exists="fail")
    assert (destination / "1000000001.jpg").stat().st_size == 0


def test_manifest_that_cannot_be_written_does_not_hide_why_the_task_failed(sandbox, fetch, manifest):
    sandbox.inject("api.code", times=None, code=1003)
    sandbox.observer = lambda _: manifest.mkdir(exist_ok=True)
    with pytest.raises(NxCloudCredentialsError):
        fetch(["1000000001"], manifest=str(manifest))
