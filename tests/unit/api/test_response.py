"""Every code and every way in which an answer can go wrong, for every question the hook can ask."""

from __future__ import annotations

import logging
import socket
import time
from contextlib import closing

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from raw_server import RawServer

from airflow_provider_nxcloud.exceptions import (
    NxCloudClockError,
    NxCloudCredentialsError,
    NxCloudError,
    NxCloudMediaNotReadyError,
    NxCloudPhoneNumberError,
    NxCloudRequestError,
    NxCloudUnavailableError,
)
from airflow_provider_nxcloud.hooks.nxcloud import NxCloudHook
from airflow_provider_nxcloud.sandbox import NxCloudSandbox
from airflow_provider_nxcloud.sandbox.server import FAULTS

MEDIA_ID = "1001"
PHONE = {"appkey": "牛小信", "messaging_product": "whatsapp"}
ATTEMPTS = 3

#: Code, class, and how many requests it takes until it is reported.
CODES = [
    (-1, NxCloudMediaNotReadyError, ATTEMPTS),
    (1000, NxCloudCredentialsError, 1),
    (1001, NxCloudRequestError, 1),
    (1002, NxCloudRequestError, 1),
    (1003, NxCloudCredentialsError, 1),
    (1004, NxCloudClockError, 2),
    (1005, NxCloudCredentialsError, 1),
    (1009, NxCloudCredentialsError, 1),
    (9000, NxCloudRequestError, 1),
    (9001, NxCloudMediaNotReadyError, ATTEMPTS),
    (9002, NxCloudPhoneNumberError, 1),
    (9006, NxCloudPhoneNumberError, 1),
    (7777, NxCloudUnavailableError, ATTEMPTS),
]
#: Fault, options, class of the error, requests, and what its text says.
FAULT_ROWS = [
    *[
        ("api.status", {"status": status}, NxCloudUnavailableError, ATTEMPTS, f"HTTP {status}")
        for status in (408, 425, 429, 500, 502, 503, 504)
    ],
    *[
        ("api.status", {"status": status}, NxCloudRequestError, 1, f"HTTP {status}")
        for status in (400, 401, 403, 404, 405, 413)
    ],
    ("api.status", {"status": 407}, NxCloudUnavailableError, ATTEMPTS, "asks for credentials (HTTP 407)"),
    ("api.reset", {}, NxCloudUnavailableError, ATTEMPTS, "Connection reset by peer"),
    ("api.reset_after_headers", {}, NxCloudUnavailableError, ATTEMPTS, "broke off"),
    ("api.html", {}, NxCloudUnavailableError, ATTEMPTS, "not JSON"),
    ("api.empty", {}, NxCloudUnavailableError, ATTEMPTS, "not JSON"),
    ("api.broken_json", {}, NxCloudUnavailableError, ATTEMPTS, "not JSON"),
    ("api.huge", {}, NxCloudUnavailableError, ATTEMPTS, "larger than 1048576 bytes"),
    ("api.hang", {}, NxCloudUnavailableError, ATTEMPTS, "timed out"),
    ("api.drip", {"interval": 0.05}, NxCloudUnavailableError, ATTEMPTS, "took too long in all"),
    ("api.drip_head", {"interval": 0.05}, NxCloudUnavailableError, ATTEMPTS, "took too long in all"),
    ("api.redirect", {"location": "/elsewhere"}, NxCloudRequestError, 1, "redirect"),
    *[
        ("api.shape", {"value": value}, NxCloudUnavailableError, ATTEMPTS, "documented shape")
        for value in (
            [],
            "x",
            1,
            None,
            {},
            {"code": "zero"},
            {"code": "1003.5"},
            {"code": 1003.5},
            {"code": 1e20},
            {"code": None},
            {"code": [1003]},
            {"code": "\u0661\u0660\u0660\u0663"},
            {"code": True},
            {"code": "0", "data": []},
            {"code": 0, "data": []},
            {"code": 0, "data": "x"},
        )
    ],
]
#: These are answers, only not to every question.
MEDIA_FAULT_ROWS = [
    ("api.no_data", {}, NxCloudMediaNotReadyError, ATTEMPTS, "without a url"),
    ("api.no_url", {}, NxCloudMediaNotReadyError, ATTEMPTS, "without a url"),
    ("api.url", {"url": ""}, NxCloudMediaNotReadyError, ATTEMPTS, "without a url"),
    ("api.url", {"url": " \n"}, NxCloudMediaNotReadyError, ATTEMPTS, "without a url"),
    ("api.data", {"url": None}, NxCloudMediaNotReadyError, ATTEMPTS, "without a url"),
    ("api.data", {"url": ["x"]}, NxCloudMediaNotReadyError, ATTEMPTS, "without a url"),
]
#: One of each fault, for the questions that go the same way as :meth:`NxCloudHook.get_media` up to the answer.
ONE_OF_EACH = list({(row[0], row[2]): row for row in FAULT_ROWS}.values())
PASSING = (NxCloudUnavailableError, NxCloudMediaNotReadyError)


class Answering(RawServer):
    """Answers each connection's request with bytes."""

    def __init__(self, status: int, body: bytes) -> None:
        self._answer = b"HTTP/1.1 %d Odd\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
        super().__init__()

    def serve(self, client: socket.socket) -> None:
        if client.recv(65536):
            client.sendall(self._answer)


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def hook(sandbox: NxCloudSandbox, connect, waits) -> NxCloudHook:
    """A hook of three attempts that does not wait, with another secret than the default."""
    sandbox.access_key, sandbox.access_secret = "canary-key", "canary-secret"
    sandbox.add_media(b"content", "image/jpeg", media_id=MEDIA_ID, file_name="photo")
    connect(extra={"max_attempts": ATTEMPTS, "timeout": 0.3})
    return NxCloudHook(sleep=waits.append)


def failure(ask) -> NxCloudError:
    with pytest.raises(NxCloudError) as caught:
        ask()
    return caught.value


@pytest.mark.parametrize(("code", "kind", "asked"), CODES)
def test_get_media_code_raises_its_class_after_its_requests(sandbox, hook, waits, code, kind, asked):
    sandbox.inject("api.code", code=code, message="words of NXCloud", times=None)
    error = failure(lambda: hook.get_media(MEDIA_ID))
    assert type(error) is kind
    assert (error.code, error.media_id) == (code, MEDIA_ID)
    for part in (str(code), "words of NXCloud", repr(MEDIA_ID), "'nxcloud_default'", "getMedia"):
        assert part in str(error)
    assert len(sandbox.calls()) == asked
    assert len(waits) == (asked - 1 if issubclass(kind, PASSING) else 0)


@pytest.mark.parametrize(("code", "kind", "asked"), CODES)
def test_call_code_raises_its_class_after_its_requests(sandbox, hook, code, kind, asked):
    sandbox.inject("api.code", code=code, times=None)
    error = failure(lambda: hook.call("getPhone", PHONE))
    assert type(error) is kind
    assert (error.code, error.media_id) == (code, None)
    assert "getPhone" in str(error)
    assert len(sandbox.calls()) == asked


@pytest.mark.parametrize(("code", "kind", "asked"), CODES)
def test_is_available_code_is_false_or_raised_without_retry(sandbox, hook, waits, code, kind, asked):
    sandbox.inject("api.code", code=code, times=None)
    if issubclass(kind, PASSING):
        assert hook.client.is_available(MEDIA_ID) is False
    else:
        assert type(failure(lambda: hook.client.is_available(MEDIA_ID))) is kind
    assert len(sandbox.calls()) == (2 if code == 1004 else 1)
    assert waits == []


@pytest.mark.parametrize(("code", "kind", "asked"), CODES)
def test_test_connection_code_tells_the_truth(sandbox, hook, code, kind, asked):
    sandbox.inject("api.code", code=code, times=None)
    works, text = hook.test_connection()
    assert works == (not issubclass(kind, AirflowFailException))
    assert works == (str(code) not in text)
    assert len(sandbox.calls()) == (2 if code == 1004 else 1)


@pytest.mark.parametrize(("name", "options", "kind", "asked", "said"), FAULT_ROWS + MEDIA_FAULT_ROWS)
def test_get_media_fault_raises_its_class_after_its_requests(
    sandbox, hook, waits, name, options, kind, asked, said
):
    sandbox.inject(name, times=None, **options)
    error = failure(lambda: hook.get_media(MEDIA_ID))
    assert type(error) is kind
    assert said in str(error)
    assert error.media_id == MEDIA_ID
    assert len(sandbox.calls()) == asked
    # After a 429 the pace waits too.
    assert len(waits) == asked - 1 or (said == "HTTP 429" and len(waits) > asked - 1)


@pytest.mark.parametrize(("name", "options", "kind", "asked", "said"), ONE_OF_EACH)
def test_call_fault_raises_its_class_after_its_requests(sandbox, hook, name, options, kind, asked, said):
    sandbox.inject(name, times=None, **options)
    error = failure(lambda: hook.call("getPhone", PHONE))
    assert type(error) is kind
    assert said in str(error)
    assert len(sandbox.calls()) == asked


@pytest.mark.parametrize(("name", "options", "kind", "asked", "said"), [*ONE_OF_EACH, MEDIA_FAULT_ROWS[0]])
def test_is_available_fault_is_false_or_raised_without_retry(
    sandbox, hook, caplog, name, options, kind, asked, said
):
    caplog.set_level(logging.WARNING)
    sandbox.inject(name, times=None, **options)
    assert hook.client.is_available(MEDIA_ID) is False
    # "Not there yet" is no news; that nobody could tell is.
    assert (said in caplog.text) == (kind is not NxCloudMediaNotReadyError)
    assert len(sandbox.calls()) == 1


@pytest.mark.parametrize(("name", "options", "kind", "asked", "said"), ONE_OF_EACH)
def test_test_connection_fault_fails_with_its_cause(sandbox, hook, name, options, kind, asked, said):
    sandbox.inject(name, times=None, **options)
    works, text = hook.test_connection()
    assert not works
    assert said in text
    assert len(sandbox.calls()) == 1


@pytest.mark.parametrize(("code", "kind", "asked"), CODES)
@pytest.mark.parametrize(
    ("spelled", "data"),
    [
        (int, []),
        (int, "x"),
        (str, {"url": 1}),
        (str, False),
        (" {} ".format, [{}]),
        (float, []),
        ("{}.0".format, 0),
    ],
)
def test_code_alone_tells_the_error_whatever_the_data(sandbox, hook, code, kind, asked, spelled, data):
    value = {"code": spelled(code), "message": "words of NXCloud", "data": data}
    sandbox.inject("api.shape", value=value, times=None)

    error = failure(lambda: hook.get_media(MEDIA_ID))

    assert type(error) is kind
    assert error.code == code
    assert len(sandbox.calls()) == asked


@pytest.mark.parametrize("code", ["0", "-0", 0.0])
@pytest.mark.parametrize("around", ["{}", " {}\r\n"])
def test_code_of_success_may_be_text_and_the_url_have_blanks_around_it(sandbox, hook, code, around):
    url = "http://127.0.0.1/file"
    sandbox.inject("api.shape", value={"code": code, "data": {"url": around.format(url)}})

    assert hook.get_media(MEDIA_ID).url == url


@pytest.mark.parametrize(
    "body",
    [
        '{"code": 1003, "message": "签名错误"}'.encode("gbk"),
        b'\xef\xbb\xbf{"code": 1003, "message": "signature \xe9"}',
        '{"code": 1003, "message": "签名错误"}'.encode("utf-16"),
        b'{"code": 1003, "message": "wrong\r\n\tsignature"}',
    ],
)
@pytest.mark.parametrize("status", [200, 401])
def test_words_that_nobody_can_read_hide_no_code(connect, hook, body, status):
    with closing(Answering(status, body)) as server:
        connect(host=f"http://127.0.0.1:{server.port}", extra={"max_attempts": ATTEMPTS})
        error = failure(lambda: hook.get_media(MEDIA_ID))
    assert type(error) is NxCloudCredentialsError
    assert server.connections == 1


@pytest.mark.parametrize(
    ("location", "to"),
    [
        ("https://login.example.com:8443/sso?token=canary", ", to https://login.example.com:8443 ("),
        ("http://[::1]:80", ", to http://[::1]:80 ("),
        ("https://me:canary@login.example.com/", ", to https://login.example.com:443 ("),
        ("/canary", "follows no redirect ("),
        ("", "follows no redirect ("),
    ],
)
def test_redirect_says_where_it_leads_and_no_secret(sandbox, hook, location, to):
    sandbox.inject("api.redirect", location=location, times=None)
    error = failure(lambda: hook.get_media(MEDIA_ID))
    assert to in str(error)
    assert "canary" not in str(error)


def test_words_of_a_refusing_status_are_kept(sandbox, hook):
    body = '{"code": 403, "message": "IP not in the list"}'
    sandbox.inject("api.status", status=403, body=body, times=None)
    error = failure(lambda: hook.get_media(MEDIA_ID))
    assert str(error).startswith("NXCloud answered HTTP 403; check host of the connection (connection")
    assert str(error).endswith("action getMedia; NXCloud says 'IP not in the list')")


@pytest.mark.parametrize("value", [{"code": "0"}, {"code": 0, "data": None}])
def test_call_success_without_data_is_empty(sandbox, hook, value):
    sandbox.inject("api.shape", value=value)

    assert hook.call("deleteMedia", PHONE) == {}


@pytest.mark.parametrize("code", [9002, 9006])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"argument": "4911111"}, "4911111 (argument business_phone)"),
        ({"argument": "4911111", "mapping": "4922222"}, "4922222 (media_ids)"),
        ({}, "4933333 (extra of the connection)"),
    ],
)
def test_wrong_number_is_named_with_who_gave_it(sandbox, connect, code, given, said):
    connect(extra={"business_phone": "4933333"})
    sandbox.inject("api.code", code=code)
    client = NxCloudHook(business_phone=given.get("argument")).client

    error = failure(lambda: client.get_media(MEDIA_ID, given.get("mapping")))

    assert f"business_phone {said}, action getMedia" in str(error)


def test_fault_tables_leave_out_no_fault_of_the_api():
    tested = {row[0] for row in FAULT_ROWS + MEDIA_FAULT_ROWS} | {"api.code"}
    assert tested == {name for name in FAULTS if name.startswith("api.")}


@pytest.mark.parametrize(
    "body", ['{"code": 401, "message": "no"}', '{"code": 0, "data": {"url": "http://x"}}']
)
def test_get_media_refusing_status_with_json_is_a_wrong_request(sandbox, hook, body):
    sandbox.inject("api.status", status=401, body=body, times=None)
    error = failure(lambda: hook.get_media(MEDIA_ID))
    assert type(error) is NxCloudRequestError
    assert "HTTP 401" in str(error)
    assert len(sandbox.calls()) == 1


def test_get_media_refusing_status_with_documented_code_is_that_code(sandbox, hook):
    sandbox.inject("api.status", status=400, body='{"code": 1003, "message": "no", "data": null}', times=None)
    assert type(failure(lambda: hook.get_media(MEDIA_ID))) is NxCloudCredentialsError


@pytest.mark.parametrize("change", [str, str.upper])
def test_secrets_that_the_answer_echoes_are_in_no_error(sandbox, hook, change):
    now = time.time()
    hook.client.auth._clock = lambda: now  # so that each call has the same signature
    hook.get_media(MEDIA_ID)
    sign = change(sandbox.calls()[0].headers["sign"])
    sandbox.inject("api.code", code=9002, message=f"bad sign {sign} of {change('canary-secret')}")

    text = str(failure(lambda: hook.get_media(MEDIA_ID)))
    assert "bad sign *** of ***" in text
