"""Each fault does on the wire what its name says."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import json
import time
from email.utils import parsedate_to_datetime

import pytest

from airflow_provider_nxcloud.sandbox import NxCloudSandbox
from airflow_provider_nxcloud.sandbox.server import FAULTS

PATIENCE = 0.1


def ask(client, kind: str, **kwargs):
    return client.raw_call(**kwargs) if kind == "api" else client.raw_get(**kwargs)


both = pytest.mark.parametrize("kind", ["api", "download"])


@both
def test_status_with_seconds_to_wait(client, sandbox, kind):
    sandbox.inject(f"{kind}.status", status=429, retry_after=7, body="slow down")

    answer = ask(client, kind, patience=PATIENCE)

    assert (answer.status, answer.headers["Retry-After"], answer.body) == (429, "7", b"slow down")


@both
def test_status_with_a_date_to_wait_for(client, sandbox, kind):
    sandbox.clock_offset = 1000
    sandbox.inject(f"{kind}.status", retry_after="date:5")

    answer = ask(client, kind, patience=PATIENCE)

    assert answer.status == 503
    retry_at = parsedate_to_datetime(answer.headers["Retry-After"])
    assert 4 <= (retry_at - parsedate_to_datetime(answer.headers["Date"])).total_seconds() <= 6


@both
def test_reset_comes_before_any_byte(client, sandbox, kind):
    sandbox.inject(f"{kind}.reset")

    answer = ask(client, kind)

    assert (answer.status, answer.end) == (None, "reset")


@both
def test_html_is_a_page_with_status_200(client, sandbox, kind):
    sandbox.inject(f"{kind}.html")

    answer = ask(client, kind, patience=PATIENCE)

    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert answer.body.startswith(b"<!DOCTYPE html>")
    assert answer.headers["Content-Length"] == str(len(answer.body))


@both
def test_hang_sends_nothing_then_closes(client, sandbox, kind):
    sandbox.inject(f"{kind}.hang", times=2)
    assert ask(client, kind, patience=PATIENCE).end == "open"

    sandbox.reset()
    sandbox.inject(f"{kind}.hang", seconds=0.05)
    answer = ask(client, kind)

    assert (answer.status, answer.end) == (None, "closed")


def send(client, kind) -> http.client.HTTPConnection:
    """Send a request and read nothing of the answer."""
    body = client.body("photo")
    api_call = ("POST", "/api/wa/getMedia", body, client.signed(body))
    connection = http.client.HTTPConnection(client.address, timeout=5)
    connection.request(*(api_call if kind == "api" else ("GET", client.target())))
    return connection


@both
def test_drip_head_sends_a_byte_of_the_head_each_interval(client, sandbox, kind):
    sandbox.inject(f"{kind}.drip_head", interval=0.03)
    started = time.monotonic()
    connection = send(client, kind)

    assert connection.sock.recv(4) == b"H"
    assert connection.sock.recv(4) == b"T"

    elapsed = time.monotonic() - started
    connection.close()
    assert 0.06 <= elapsed < 2


@both
def test_drip_sends_a_byte_each_interval(client, sandbox, kind):
    sandbox.inject(f"{kind}.drip", interval=0.03)
    started = time.monotonic()
    connection = send(client, kind)

    connection.getresponse().read(4)

    elapsed = time.monotonic() - started
    connection.close()
    # Far below what all the bytes would take, so the four did not wait for the others.
    assert 0.09 <= elapsed < 2


@both
def test_redirect_points_elsewhere(client, sandbox, kind):
    sandbox.inject(f"{kind}.redirect", location="http://169.254.169.254/", status=307)

    answer = ask(client, kind, patience=PATIENCE)

    assert (answer.status, answer.headers["Location"]) == (307, "http://169.254.169.254/")


def test_api_code(client, sandbox):
    sandbox.inject("api.code", code=9001, message="system business error")

    assert json.loads(client.call().body) == {"code": 9001, "message": "system business error", "data": None}


def test_api_reset_after_headers(client, sandbox):
    sandbox.inject("api.reset_after_headers")

    answer = client.raw_call()

    assert (answer.status, answer.body, answer.end) == (200, b"", "reset")
    assert int(answer.headers["Content-Length"]) > 0


def test_api_broken_json_has_a_true_length(client, sandbox):
    sandbox.inject("api.broken_json")

    body = client.call().body

    assert body.startswith(b'{"code"')
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(body)


def test_api_empty(client, sandbox):
    sandbox.inject("api.empty")

    answer = client.call()

    assert (answer.status, answer.body) == (200, b"")


def test_api_huge_is_64_mb_of_json(client, sandbox):
    sandbox.inject("api.huge")

    assert len(json.loads(client.call().body)["message"]) == 64 * 1_048_576


@pytest.mark.parametrize("value", [[], "x", 1, None, {"code": "0"}, {"data": {}}])
def test_api_shape(client, sandbox, value):
    sandbox.inject("api.shape", value=value)

    assert json.loads(client.call().body) == value


def test_api_success_without_data_or_url(client, sandbox):
    sandbox.inject("api.no_data")
    sandbox.inject("api.no_url", times=2)

    assert (client.call().data, client.call().data) == (
        None,
        {"mime_type": "image/jpeg", "file_name": "photo"},
    )
    assert client.call("unknown").code == -1


def test_api_url_and_data_replace_what_is_answered(client, sandbox):
    sandbox.inject("api.url", url="file:///etc/passwd")
    sandbox.inject("api.data", mime_type=None, file_name="../../x")

    assert client.call("unknown").data == {"url": "file:///etc/passwd"}
    data = client.call().data
    assert (data["mime_type"], data["file_name"]) == (None, "../../x")
    assert data["url"].startswith(sandbox.base_url)


def test_download_expired(client, sandbox):
    sandbox.inject("download.expired")

    answer = client.get()

    assert answer.status == 403
    assert b"<Message>Request has expired.</Message>" in answer.body


@pytest.mark.parametrize(
    ("name", "at", "sent", "end"),
    [
        ("download.cut", 0.0, 0, "closed"),
        ("download.cut", 0.5, 500, "closed"),
        ("download.cut", 1.0, 999, "closed"),
        ("download.reset_at", 0.5, 500, "reset"),
    ],
)
def test_download_ends_early_under_the_length_of_the_whole(client, sandbox, content, name, at, sent, end):
    sandbox.inject(name, at=at)

    answer = client.raw_get()

    assert (answer.status, answer.headers["Content-Length"]) == (200, "1000")
    assert "Connection" not in answer.headers
    assert (answer.body, answer.end) == (content[:sent], end)


def test_download_cut_of_a_range_is_a_share_of_the_range(client, sandbox, content):
    sandbox.inject("download.cut", at=0.5)

    answer = client.raw_get(Range="bytes=500-")

    assert (answer.status, answer.body) == (206, content[500:750])


def test_download_cut_chunked_lacks_the_last_chunk(client, sandbox, content):
    sandbox.inject("download.cut_chunked", at=0.5)

    answer = client.raw_get()

    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in answer.headers
    assert (answer.body, answer.end) == (b"1f4\r\n" + content[:500] + b"\r\n", "closed")


def test_download_chunked_is_whole(client, sandbox, content):
    sandbox.inject("download.chunked")

    answer = client.raw_get(patience=PATIENCE)

    assert "Content-Length" not in answer.headers
    assert (answer.body, answer.end) == (b"3e8\r\n" + content + b"\r\n0\r\n\r\n", "open")


@pytest.mark.parametrize(
    ("name", "options", "sent"),
    [("download.close_delimited", {}, 1000), ("download.cut_close_delimited", {"at": 0.5}, 500)],
)
def test_download_delimited_by_its_end_only(client, sandbox, content, name, options, sent):
    sandbox.inject(name, **options)

    answer = client.raw_get()

    assert answer.headers["Connection"] == "close"
    assert not {"Content-Length", "Transfer-Encoding"} & set(answer.headers)
    assert (answer.body, answer.end) == (content[:sent], "closed")


@pytest.mark.parametrize(("delta", "announced"), [(10, "1010"), (-10, "990")])
def test_download_wrong_length(client, sandbox, content, delta, announced):
    sandbox.inject("download.wrong_length", delta=delta)

    answer = client.raw_get()

    assert (answer.headers["Content-Length"], answer.body, answer.end) == (announced, content, "closed")


def test_download_corrupt_keeps_length_and_etag(client, sandbox, content):
    good = client.get()
    sandbox.inject("download.corrupt")

    bad = client.get()

    assert [index for index in range(1000) if bad.body[index] != content[index]] == [500]
    assert len(bad.body) == 1000
    assert bad.headers["ETag"] == good.headers["ETag"]


def test_download_page_as_media(client, sandbox):
    sandbox.inject("download.page_as_media")

    answer = client.get()

    assert answer.body.startswith(b"<!DOCTYPE html>")
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert "ETag" not in answer.headers


def test_download_gzip(client, sandbox, content):
    sandbox.inject("download.gzip")

    answer = client.get(**{"Accept-Encoding": "identity"})

    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(answer.body) == content


def test_download_redirect_loop_leads_to_itself(client, sandbox):
    target = client.target()
    sandbox.inject("download.redirect_loop", times=None)

    answers = [client.send("GET", target) for _ in range(3)]

    assert [(answer.status, answer.headers["Location"]) for answer in answers] == [(302, target)] * 3


def test_download_stall_sends_a_share_then_nothing(client, sandbox, content):
    sandbox.inject("download.stall", at=0.3)
    answer = client.raw_get(patience=PATIENCE)
    assert (answer.headers["Content-Length"], answer.body, answer.end) == ("1000", content[:300], "open")

    sandbox.inject("download.stall", seconds=0.05)
    assert client.raw_get().end == "closed"


def test_download_ignore_range_acts_only_on_a_range(client, sandbox, content):
    sandbox.inject("download.ignore_range")

    assert client.get().status == 200
    answer = client.get(Range="bytes=500-")
    assert (answer.status, answer.body) == (200, content)
    assert "Content-Range" not in answer.headers
    assert client.get(Range="bytes=500-").status == 206


@pytest.mark.parametrize(
    ("options", "told", "start", "stop"),
    [
        ({}, "bytes 101-200/1000", 101, 201),
        ({"shift": -1}, "bytes 99-198/1000", 99, 199),
        ({"honest": False}, "bytes 100-199/1000", 101, 201),
    ],
)
def test_download_wrong_range(client, sandbox, content, options, told, start, stop):
    sandbox.inject("download.wrong_range", **options)

    answer = client.get(Range="bytes=100-199")

    assert (answer.status, answer.headers["Content-Range"]) == (206, told)
    assert answer.body == content[start:stop]


def test_download_wrong_range_at_the_end_keeps_the_length_only_when_dishonest(client, sandbox, content):
    sandbox.inject("download.wrong_range")
    sandbox.inject("download.wrong_range", honest=False)

    honest, dishonest = (client.get(Range="bytes=500-") for _ in range(2))

    assert (honest.headers["Content-Range"], honest.body) == ("bytes 501-999/1000", content[501:])
    assert (dishonest.headers["Content-Range"], len(dishonest.body)) == ("bytes 500-999/1000", 500)
    assert dishonest.body != content[500:]


def test_download_no_etag(client, sandbox, content):
    sandbox.inject("download.no_etag")

    answer = client.get()

    assert answer.body == content
    assert "ETag" not in answer.headers


def test_download_headers_sets_and_removes_in_any_case(client, sandbox):
    changes = {"content-type": "text/plain", "ETag": '"abc-2"', "last-modified": None, "X-New": "1"}
    sandbox.inject("download.headers", headers=changes)

    headers = client.get().headers

    assert headers.get_all("Content-Type") == ["text/plain"]
    assert (headers["ETag"], headers["X-New"], headers["Last-Modified"]) == ('"abc-2"', "1", None)


def test_download_content_md5_replaces_the_etag(client, sandbox, content):
    sandbox.inject("download.content_md5")

    answer = client.get()

    assert base64.b64decode(answer.headers["Content-MD5"]) == hashlib.md5(content).digest()
    assert "ETag" not in answer.headers


def test_counted_faults_play_out_one_after_the_other(client, sandbox):
    sandbox.inject("api.status", status=503, times=2)
    sandbox.inject("api.status", status=429)

    assert [client.call().status for _ in range(4)] == [503, 503, 429, 200]


def test_faults_without_an_end_act_beside_the_counted_ones(client, sandbox, content):
    sandbox.inject("download.no_etag", times=None)
    sandbox.inject("download.cut", at=0.5)

    cut = client.raw_get()
    whole = client.get()

    assert (cut.body, whole.body) == (content[:500], content)
    assert "ETag" not in cut.headers
    assert "ETag" not in whole.headers


def test_fault_for_one_media_leaves_the_others_alone(client, sandbox):
    sandbox.add_media(b"x", "text/plain", media_id="other")
    sandbox.inject("api.status", media_id="photo", times=None)
    sandbox.inject("download.status", media_id="photo", times=None)

    assert client.get("other").status == 200
    assert client.call("photo").status == 503


def test_reset_forgets_faults_and_records(client, sandbox):
    sandbox.inject("api.status", times=None)
    client.call()

    sandbox.reset()

    assert sandbox.requests == []
    assert client.call().status == 200


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("api.nothing", {}, r"unknown fault 'api.nothing'; known: .*api.status.*download.cut"),
        ("api.status", {"stauts": 1}, r"'stauts'.*known: api.status\(status=503"),
        ("api.shape", {}, r"'value'.*known: api.shape\(value\)"),
        ("api.status", {"status": "503"}, r"cannot use status='503'"),
        ("api.status", {"retry_after": "soon"}, r"cannot use retry_after='soon'"),
        ("download.cut", {"at": 1.5}, r"cannot use at=1.5"),
        ("download.cut", {"times": 0}, r"times is a number from 1 or None"),
    ],
)
def test_unknown_fault_option_or_value_is_refused(sandbox, name, options, text):
    with pytest.raises(ValueError, match=text):
        sandbox.inject(name, **options)


def test_fault_rate_hits_about_that_share_and_repeats_with_the_seed():
    def statuses(seed):
        with NxCloudSandbox(fault_rate=0.3, seed=seed) as sandbox:
            for _ in range(200):
                connection = http.client.HTTPConnection(sandbox.base_url.removeprefix("http://"), timeout=5)
                try:
                    connection.request("POST", "/elsewhere")
                    connection.getresponse().read()
                except (ConnectionError, http.client.HTTPException):
                    pass
                finally:
                    connection.close()
            return [request.status for request in sandbox.calls()]

    first = statuses(1)

    assert 30 <= sum(status != 404 for status in first) <= 90
    assert statuses(1) == first
    assert statuses(2) != first


def test_fault_rate_may_be_changed_while_it_runs(client, sandbox):
    sandbox.fault_rate = 1.0

    for _ in range(30):
        client.raw("GET", "/elsewhere", b"", {"Connection": "close"}, patience=5)

    # Some faults leave the status as it is, but not 30 times in a row.
    assert {request.status for request in sandbox.requests} != {404}


def test_injected_faults_come_before_random_ones():
    with NxCloudSandbox(fault_rate=1.0) as sandbox:
        sandbox.inject("api.status", status=418, times=None)
        connection = http.client.HTTPConnection(sandbox.base_url.removeprefix("http://"), timeout=5)
        for _ in range(10):
            connection.request("POST", "/elsewhere")
            connection.getresponse().read()
        connection.close()

        assert [request.status for request in sandbox.requests] == [418] * 10


def test_random_faults_never_last():
    """What a soak run meets must pass within the timeout of a client."""
    transient = {name for name, fault in FAULTS.items() if fault.transient}

    assert {"api.status", "api.reset", "download.cut", "download.expired", "download.corrupt"} <= transient
    assert not transient & {
        "api.hang",
        "download.stall",
        "download.drip",
        "api.url",
        "download.page_as_media",
    }
