"""What the sandbox's API accepts, and which code it answers otherwise."""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime

import pytest

from airflow_provider_nxcloud.sandbox import NxCloudSandbox


def test_get_media_answers_type_name_and_url(client, sandbox):
    answer = client.call()

    assert (answer.status, answer.code) == (200, 0)
    assert answer.data["mime_type"] == "image/jpeg"
    assert answer.data["file_name"] == "photo"
    assert answer.data["url"].startswith(f"{sandbox.base_url}/media/photo?Expires=")


def test_every_sample_is_available(client, sandbox):
    assert len(sandbox.media) >= 18
    for media_id, media in sandbox.media.items():
        answer = client.get(media_id)
        assert (answer.status, answer.body) == (200, media.content)
        assert answer.headers["Content-Type"] == media.mime_type


@pytest.mark.parametrize("name", ["accessKey", "ts", "bizType", "action", "sign"])
def test_missing_common_header_answers_1001(client, name):
    body = client.body("photo")
    headers = client.signed(body)
    del headers[name]

    assert client.send("POST", "/api/wa/getMedia", body, headers).code == 1001


@pytest.mark.parametrize(
    ("path_action", "changes", "code"),
    [
        ("getMedia", {"bizType": "1"}, 1002),
        ("getMedia", {"action": "deleteMedia"}, 1002),
        ("noSuchAction", {"action": "noSuchAction"}, 1002),
        ("getMedia", {"accessKey": "someone else"}, 1005),
        ("getMedia", {"ts": "0"}, 1004),
        ("getMedia", {"ts": "now"}, 1004),
        ("getMedia", {"Content-Type": "text/plain"}, 1003),
        ("getMedia", {"Content-Type": "application/json; charset=utf-8"}, 0),
    ],
)
def test_wrong_header_answers_its_code(client, path_action, changes, code):
    body = client.body("photo")

    answer = client.send("POST", f"/api/wa/{path_action}", body, client.signed(body, **changes))

    assert answer.code == code


def test_other_body_bytes_than_signed_answer_1003(client):
    body = client.body("photo")

    assert client.send("POST", "/api/wa/getMedia", body + b" ", client.signed(body)).code == 1003
    assert client.send("POST", "/api/wa/getMedia", body + b" ", client.signed(body + b" ")).code == 0


def test_wrong_secret_answers_1003(client, sandbox):
    body = client.body("photo")
    headers = client.signed(body)
    sandbox.access_secret = "another"

    assert client.send("POST", "/api/wa/getMedia", body, headers).code == 1003


def test_signature_beyond_ascii_answers_1003(client):
    body = client.body("photo")

    answer = client.send("POST", "/api/wa/getMedia", body, {**client.signed(body), "sign": "\xe9"})

    assert answer.code == 1003


@pytest.mark.parametrize(("offset", "code"), [(59, 0), (-59, 0), (61, 1004), (-61, 1004)])
def test_ts_may_differ_by_a_minute_and_date_tells_the_servers_clock(client, sandbox, offset, code):
    body = client.body("photo")
    headers = client.signed(body)
    here = sandbox.now()
    sandbox.clock_offset = offset

    answer = client.send("POST", "/api/wa/getMedia", body, headers)

    assert answer.code == code
    assert parsedate_to_datetime(answer.headers["Date"]).timestamp() - here == pytest.approx(offset, abs=1.5)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"Media-ID": None}, 9000),
        ({"business_phone": None}, 9000),
        ({"messaging_product": None}, 9000),
        ({"Media-ID": ""}, 9000),
        ({"messaging_product": "viber"}, 1002),
        ({"Media-ID": 1001}, 1002),
        ({"business_phone": ["8613800138000"]}, 1002),
        ({"business_phone": "4915112345678"}, 9002),
        ({"business_phone": "33612345678"}, 9006),
        ({"Media-ID": "unknown"}, -1),
    ],
)
def test_wrong_parameter_answers_its_code(client, sandbox, changes, code):
    sandbox.unbound_phones = {"33612345678"}

    assert client.call(body=client.body("photo", **changes)).code == code


@pytest.mark.parametrize("body", [b"[]", b"{", b"null", b"\xff"])
def test_body_that_is_no_json_object_answers_1002(client, body):
    assert client.call(body=body).code == 1002


def test_checks_come_in_nxclouds_order(client, sandbox):
    """Each step fixes what the step before answered; everything else stays wrong."""
    good = client.body("photo")
    stale = str(int(sandbox.now() * 1000) - 100_000)
    wrong = {"bizType": "3", "accessKey": "x", "ts": stale, "Content-Type": "text/plain"}
    bodies = [b"[]", b'{"messaging_product": "x"}', client.body("photo", messaging_product="x"), good]
    codes = []
    headers = {**client.signed(b"", **wrong), "sign": ""}
    codes.append(client.send("POST", "/api/wa/getMedia", b"[]", headers).code)
    headers["sign"] = "wrong"
    for fix in ({}, {"bizType": "2"}, {"accessKey": sandbox.access_key}, {"ts": client.signed(b"")["ts"]}):
        headers.update(fix)
        codes.append(client.send("POST", "/api/wa/getMedia", b"[]", headers).code)
    codes += [client.call(body=body).code for body in bodies]

    assert codes == [1001, 1002, 1005, 1004, 1003, 1002, 9000, 1002, 0]


def test_other_paths_and_methods_are_no_api_calls(client):
    assert client.send("GET", "/api/wa/getMedia").status == 405
    assert client.send("POST", "/elsewhere").status == 404


def test_media_becomes_available_after_calls(client, sandbox):
    sandbox.add_media(b"x", "text/plain", media_id="late", available_after_calls=2)

    assert [client.call("late").code for _ in range(4)] == [-1, -1, 0, 0]


def test_call_that_a_gateway_answers_does_not_count_for_availability(client, sandbox):
    sandbox.add_media(b"x", "text/plain", media_id="late", available_after_calls=1)
    sandbox.inject("api.status", status=502)

    assert client.call("late").status == 502
    assert [client.call("late").code for _ in range(2)] == [-1, 0]


def test_media_becomes_available_after_seconds(client, sandbox):
    media = sandbox.add_media(b"x", "text/plain", media_id="late", available_after_seconds=50)
    assert client.call("late").code == -1

    media.available_after_seconds = 0
    assert client.call("late").code == 0


def test_delete_media_removes_it(client, sandbox):
    target = client.target()

    assert client.call(action="deleteMedia").data == {"success": True}
    assert "photo" not in sandbox.media
    assert client.call().code == -1
    assert b"<Code>NoSuchKey</Code>" in client.send("GET", target).body


def test_get_phone_maps_known_numbers(client, sandbox):
    known = {"appkey": "any", "messaging_product": "whatsapp"}

    def phones(**more):
        return list(client.call(body=json.dumps({**known, **more}).encode(), action="getPhone").data)

    assert phones() == [sandbox.business_phone]
    assert phones(business_phones=f"49151,{sandbox.business_phone}") == [sandbox.business_phone]
    assert phones(business_phones="49151") == []
    assert client.call(body=b'{"messaging_product": "whatsapp"}', action="getPhone").code == 9000


def test_rate_limit_answers_429_with_retry_after(client, sandbox):
    sandbox.rate_limit = 2

    answers = [client.call() for _ in range(3)]

    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[2].headers["Retry-After"] == "1"


def test_latency_delays_each_answer(client, sandbox):
    sandbox.api_latency = sandbox.download_latency = 0.1
    before = sandbox.now()

    client.get()

    assert sandbox.now() - before >= 0.2


def test_own_keys_replace_the_published_ones():
    with NxCloudSandbox(access_key="k", access_secret="s", business_phone="4915112345678") as sandbox:
        assert (sandbox.connection["login"], sandbox.connection["password"]) == ("k", "s")
        assert sandbox.connection["extra"] == {"business_phone": "4915112345678"}
