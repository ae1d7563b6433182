"""Signing prepared requests: what is signed, when, and with which clock."""

from __future__ import annotations

import io
import math
import time

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_nxcloud.auth import NxCloudAuth, sign

URL = "https://api2.nxcloud.com/api/wa/getMedia"
NOW = 1_655_710_885.431


def auth_at(*times: float, **options) -> NxCloudAuth:
    clock = iter(times)
    return NxCloudAuth("key", "canary-secret", clock=lambda: next(clock), **options)


def prepared(auth: NxCloudAuth, url: str = URL, **options) -> requests.PreparedRequest:
    return requests.Request("POST", url, auth=auth, **options).prepare()


def expected_sign(body, *, action="getMedia", biz_type="2", ts="1655710885431") -> str:
    return sign(
        access_key="key", action=action, biz_type=biz_type, ts=ts, body=body, access_secret="canary-secret"
    )


def test_auth_request_carries_the_five_headers():
    headers = prepared(auth_at(NOW), data=b"{}").headers
    assert {name: headers[name] for name in ("accessKey", "ts", "bizType", "action", "sign")} == {
        "accessKey": "key",
        "ts": "1655710885431",
        "bizType": "2",
        "action": "getMedia",
        "sign": expected_sign(b"{}"),
    }


def test_auth_request_never_carries_the_secret():
    request = prepared(auth_at(NOW), data=b"{}")
    assert "canary-secret" not in f"{request.headers}{request.body!r}{request.url}"


def test_auth_secret_is_not_in_its_repr():
    assert "canary-secret" not in repr(auth_at())


@pytest.mark.parametrize(
    "body",
    [{"data": '{"name":"牛小信"}'.encode()}, {"data": '{"a": 1}'}, {"json": {"b": 2}}, {"data": {"c": 3}}],
)
def test_auth_body_is_signed_as_it_is_sent(body):
    request = prepared(auth_at(NOW), **body)
    assert request.body
    assert request.headers["sign"] == expected_sign(request.body)


def test_auth_without_body_signs_none():
    assert prepared(auth_at(NOW)).headers["sign"] == expected_sign(None)


def test_auth_multipart_body_is_left_out():
    request = prepared(auth_at(NOW), files={"file": ("a.txt", b"content")}, data={"type": "text/plain"})
    assert request.headers["Content-Type"].startswith("multipart/form-data")
    assert request.headers["sign"] == expected_sign(None)


@pytest.mark.parametrize("stream", [io.BytesIO(b"{}"), iter([b"{}"])], ids=["file", "iterator"])
def test_auth_stream_is_refused(stream):
    with pytest.raises(TypeError, match="stream"):
        prepared(auth_at(NOW), data=stream)


@pytest.mark.parametrize(
    ("url", "action"),
    [
        (URL, "getMedia"),
        (URL + "/", "getMedia"),
        (URL + "?x=/y", "getMedia"),
        ("https://proxy.example.com/nx/api/wa/deleteMedia", "deleteMedia"),
        ("http://127.0.0.1:8080/api/wa/getPhone#part/x", "getPhone"),
    ],
)
def test_auth_action_is_the_last_segment_of_the_path(url, action):
    headers = prepared(auth_at(NOW), url, data=b"{}").headers
    assert headers["action"] == action
    assert headers["sign"] == expected_sign(b"{}", action=action)


def test_auth_biz_type_is_sent_and_signed():
    headers = prepared(auth_at(NOW, biz_type="3"), data=b"{}").headers
    assert headers["bizType"] == "3"
    assert headers["sign"] == expected_sign(b"{}", biz_type="3")


def test_auth_applied_again_signs_anew():
    auth = auth_at(NOW, NOW + 1)
    request = prepared(auth, data=b"{}")
    first = dict(request.headers)
    auth(request)
    assert (first["ts"], request.headers["ts"]) == ("1655710885431", "1655710886431")
    assert first["sign"] == expected_sign(b"{}")
    assert request.headers["sign"] == expected_sign(b"{}", ts="1655710886431")


@pytest.mark.parametrize("offset", [120, -120])
def test_auth_learned_clock_moves_the_timestamp(offset):
    auth = auth_at(NOW, NOW)
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(NOW + offset))
    assert auth.learn_clock(date)
    assert auth.clock_offset == pytest.approx(offset, abs=1)
    # The header holds whole seconds.
    assert prepared(auth, data=b"{}").headers["ts"] == str((1_655_710_885 + offset) * 1000)


@pytest.mark.parametrize("date", [None, "", "soon", "Mon", "1655710885", "Mon, 99 Nov 2026 12:00:00 GMT"])
def test_auth_unreadable_date_leaves_the_clock(date):
    auth = auth_at(NOW, NOW)
    assert not auth.learn_clock(date)
    assert auth.clock_offset == 0


@pytest.mark.parametrize(
    "date",
    ["Mon, 23 Nov 2026 12:00:00 +99999999999999999", "Mon, 23 Nov 99999999999999999999 12:00:00 GMT"],
    ids=["zone", "year"],
)
def test_auth_date_beyond_the_calendar_leaves_the_clock(date):
    auth = auth_at(NOW, NOW)
    assert not auth.learn_clock(date)
    assert auth.clock_offset == 0


@given(date=st.text(max_size=60))
def test_auth_any_date_text_gives_an_offset_or_leaves_the_clock(date):
    auth = auth_at(NOW)
    assert auth.learn_clock(date) is (auth.clock_offset != 0)
    assert math.isfinite(auth.clock_offset)


@pytest.mark.parametrize("zone", [" GMT", " -0000", ""])
def test_auth_date_without_zone_counts_as_gmt(zone, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        auth = auth_at(NOW)
        assert auth.learn_clock(f"Mon, 20 Jun 2022 07:41:25{zone}")
        assert auth.clock_offset == pytest.approx(0, abs=1)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_auth_every_send_of_a_session_is_signed_anew(sandbox):
    auth = NxCloudAuth(sandbox.access_key, sandbox.access_secret, clock=iter_clock())
    with requests.Session() as session:
        session.auth = auth
        for _ in range(2):
            session.post(f"{sandbox.base_url}/api/wa/getPhone", json={}, timeout=5).raise_for_status()
    first, second = sandbox.calls()
    assert first.headers["ts"] != second.headers["ts"]
    assert first.headers["sign"] != second.headers["sign"]


def iter_clock():
    times = iter([time.time(), time.time() + 1])
    return lambda: next(times)


def test_bare_session_learns_the_clock_and_repeats_the_call(sandbox):
    sandbox.clock_offset = 3600
    auth = NxCloudAuth(sandbox.access_key, sandbox.access_secret)
    body = {
        "business_phone": sandbox.business_phone,
        "messaging_product": "whatsapp",
        "Media-ID": "1000000001",
    }
    for _ in range(2):
        answer = requests.post(f"{sandbox.base_url}/api/wa/getMedia", json=body, auth=auth, timeout=10)
        assert answer.json()["code"] == 0
    assert len(sandbox.calls()) == 3


@pytest.fixture
def post(sandbox):
    def post(**options) -> requests.Response:
        auth = NxCloudAuth(sandbox.access_key, sandbox.access_secret)
        return requests.post(f"{sandbox.base_url}/api/wa/getPhone", json={}, auth=auth, timeout=10, **options)

    return post


@pytest.mark.parametrize("code", [1004, "1004"])
def test_bare_session_repeats_a_call_only_once(code, sandbox, post):
    sandbox.inject(
        "api.shape", value={"code": code, "message": "timestamp expired", "data": None}, times=None
    )
    answer = post()
    first, second = sandbox.calls()
    assert answer.json()["code"] == code
    assert answer.request.headers["sign"] == second.headers["sign"]
    assert [each.request.headers["sign"] for each in answer.history] == [first.headers["sign"]]


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("api.html", {}),
        ("api.broken_json", {}),
        ("api.shape", {"value": []}),
        ("api.shape", {"value": {"code": 1003}}),
    ],
)
def test_bare_session_leaves_other_answers_alone(sandbox, post, fault, options):
    sandbox.inject(fault, times=1, **options)
    answer = post()
    assert answer.status_code == 200
    assert len(answer.content) == int(answer.headers["Content-Length"])
    assert len(sandbox.calls()) == 1


def test_bare_session_does_not_take_an_answer_that_breaks_off_for_an_empty_one(sandbox, post):
    sandbox.inject("api.reset_after_headers")
    with pytest.raises(requests.RequestException):
        post()


def test_bare_session_leaves_a_large_answer_unread(sandbox, post):
    sandbox.inject("api.huge")
    with post(stream=True) as answer:
        assert answer.raw.tell() == 0
