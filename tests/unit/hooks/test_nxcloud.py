"""The hook over real HTTP: what it sends, what it learns, what it says, and no secret anywhere."""

from __future__ import annotations

import http.server
import json
import logging
import re
import threading
import time
import traceback

import pytest
import requests
from airflow.providers.common.compat.sdk import AirflowNotFoundException

from airflow_provider_nxcloud import __version__
from airflow_provider_nxcloud.exceptions import (
    NxCloudClockError,
    NxCloudError,
    NxCloudInputError,
    NxCloudMediaNotReadyError,
    NxCloudUnavailableError,
)
from airflow_provider_nxcloud.hooks.nxcloud import NxCloudHook
from airflow_provider_nxcloud.sandbox import NxCloudSandbox

MEDIA_ID = "1001"
PHONE = {"appkey": "牛小信", "messaging_product": "whatsapp"}
ATTEMPTS = 3


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def hook(sandbox: NxCloudSandbox, connect, waits) -> NxCloudHook:
    """A hook of three attempts that waits for another timestamp only, with secrets that can be found."""
    sandbox.access_key, sandbox.access_secret = "canary-key", "canary-secret"
    sandbox.add_media(b"content", "image/jpeg", media_id=MEDIA_ID, file_name="photo")
    connect(extra={"max_attempts": ATTEMPTS, "timeout": 0.3})
    return NxCloudHook(sleep=lambda seconds: (waits.append(seconds), time.sleep(0.002)))


def failure(ask) -> NxCloudError:
    with pytest.raises(NxCloudError) as caught:
        ask()
    return caught.value


@pytest.mark.parametrize("name", ["api.status", "api.reset", "api.broken_json", "api.code", "api.html"])
def test_get_media_passing_fault_heals_and_signs_each_attempt_anew(sandbox, hook, waits, name):
    sandbox.inject(name, times=2)
    assert hook.get_media(MEDIA_ID).media_id == MEDIA_ID
    assert len({call.headers["ts"] for call in sandbox.calls()}) == 3
    assert len({call.headers["sign"] for call in sandbox.calls()}) == 3
    assert len(waits) == 2


def test_get_media_answers_what_nxcloud_said(sandbox, hook):
    media, sample = hook.get_media(MEDIA_ID), sandbox.media[MEDIA_ID]
    assert (media.media_id, media.mime_type, media.file_name) == (
        MEDIA_ID,
        sample.mime_type,
        sample.file_name,
    )
    assert requests.get(media.url, timeout=5).content == sample.content
    (call,) = sandbox.calls()
    assert json.loads(call.body) == {
        "business_phone": sandbox.business_phone,
        "messaging_product": "whatsapp",
        "Media-ID": MEDIA_ID,
    }


def test_get_media_details_of_wrong_type_count_as_absent(sandbox, hook):
    sandbox.inject("api.data", mime_type=1, file_name=["x"])
    media = hook.get_media(MEDIA_ID)
    assert (media.mime_type, media.file_name) == (None, None)


def test_request_carries_content_type_user_agent_and_no_other_credentials(
    sandbox, hook, tmp_path, monkeypatch
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password canary-netrc\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    hook.get_media(MEDIA_ID)
    hook.get_conn().post(f"{sandbox.base_url}/api/wa/getPhone", json=PHONE, timeout=5)
    for call in sandbox.calls():
        assert call.headers["Content-Type"] == "application/json"
        assert call.headers["User-Agent"] == f"airflow-provider-nxcloud/{__version__}"
        assert "Authorization" not in call.headers
        assert call.headers["accessKey"] == "canary-key"


def test_get_conn_signs_and_trusts_no_environment(sandbox, hook):
    session = hook.get_conn()
    answer = session.post(f"{sandbox.base_url}/api/wa/getPhone", json=PHONE, timeout=5).json()
    assert answer["code"] == 0
    assert session.trust_env is False
    assert hook.get_conn() is session


def test_get_conn_follows_no_redirect(sandbox, hook):
    with NxCloudSandbox() as elsewhere:
        sandbox.inject(
            "api.redirect", location=f"{elsewhere.base_url}/api/wa/getPhone", status=307, times=None
        )
        with pytest.raises(requests.TooManyRedirects):
            hook.get_conn().post(f"{sandbox.base_url}/api/wa/getPhone", json=PHONE, timeout=5)
        failure(lambda: hook.call("getPhone", PHONE))
        assert elsewhere.requests == []


def test_call_returns_data(sandbox, hook):
    assert hook.call("getPhone", PHONE) == {
        sandbox.business_phone: [{"business_phone": sandbox.business_phone}]
    }
    (call,) = sandbox.calls()
    assert (call.path, call.headers["action"], call.headers["bizType"]) == (
        "/api/wa/getPhone",
        "getPhone",
        "2",
    )


def test_call_without_data_returns_an_empty_mapping(sandbox, hook):
    sandbox.inject("api.no_data")
    assert hook.call("getPhone", PHONE) == {}


def test_delete_media_says_what_nxcloud_says_and_asks_as_get_media_does(sandbox, hook):
    assert hook.delete_media(MEDIA_ID) is True
    assert MEDIA_ID not in sandbox.media
    (call,) = sandbox.calls()
    assert (call.path, call.headers["action"]) == ("/api/wa/deleteMedia", "deleteMedia")
    assert json.loads(call.body) == {
        "business_phone": sandbox.business_phone,
        "messaging_product": "whatsapp",
        "Media-ID": MEDIA_ID,
    }


def test_delete_media_returns_false_where_nxcloud_says_so(sandbox, hook):
    sandbox.inject("api.data", success=False)
    assert hook.delete_media(MEDIA_ID) is False


def test_delete_media_for_another_number_names_it(sandbox, hook, connect):
    connect(extra={"business_phone": None})
    assert NxCloudHook(business_phone=sandbox.business_phone).delete_media(MEDIA_ID) is True


@pytest.mark.parametrize(
    ("fault", "options", "said"),
    [
        ("api.code", {"code": -1}, "NXCloud -1, request failed"),
        ("api.code", {"code": 9001}, "NXCloud 9001, system business error"),
        ("api.no_data", {}, "NXCloud did not say whether it deleted the media file"),
        ("api.data", {"success": "true"}, "NXCloud did not say whether it deleted the media file"),
        ("api.data", {"success": 1}, "NXCloud did not say whether it deleted the media file"),
        ("api.data", {"success": None}, "NXCloud did not say whether it deleted the media file"),
    ],
)
def test_delete_media_unknown_outcome_is_told_after_one_call(sandbox, hook, fault, options, said):
    sandbox.inject(fault, times=None, **options)
    error = failure(lambda: hook.delete_media(MEDIA_ID))
    assert type(error) is NxCloudMediaNotReadyError
    assert str(error).startswith(said)
    assert "; this may be temporary" in str(error)
    assert "media file '1001', business_phone" in str(error)
    assert len(sandbox.calls()) == 1


@pytest.mark.parametrize("media_id", ["", 7, "a\nb", None])
def test_delete_media_refuses_what_is_no_media_id_before_any_call(sandbox, hook, media_id):
    error = failure(lambda: hook.delete_media(media_id))
    assert type(error) is NxCloudInputError
    assert "media_id" in str(error)
    assert sandbox.calls() == []


def test_delete_media_a_second_time_is_an_unknown_outcome(sandbox, hook):
    hook.delete_media(MEDIA_ID)
    assert type(failure(lambda: hook.delete_media(MEDIA_ID))) is NxCloudMediaNotReadyError
    assert len(sandbox.calls()) == 2


@pytest.mark.parametrize("name", ["api.status", "api.reset", "api.html"])
def test_delete_media_is_retried_while_nxcloud_does_not_answer(sandbox, hook, waits, name):
    sandbox.inject(name, times=2)
    assert hook.delete_media(MEDIA_ID) is True
    assert len(waits) == 2


def test_delete_media_whose_answer_is_lost_is_an_unknown_outcome(sandbox, hook):
    sandbox.inject("api.broken_json")  # which deletes the media file all the same
    assert type(failure(lambda: hook.delete_media(MEDIA_ID))) is NxCloudMediaNotReadyError
    assert MEDIA_ID not in sandbox.media


@pytest.mark.parametrize("code", [1003, 1005, 9002, 9006])
def test_delete_media_refused_stops_at_once(sandbox, hook, code):
    sandbox.inject("api.code", code=code, times=None)
    assert failure(lambda: hook.delete_media(MEDIA_ID)).code == code
    assert len(sandbox.calls()) == 1
    assert MEDIA_ID in sandbox.media


@pytest.mark.parametrize("media_id", ["", " ", "../1", "a/b", "x" * 257, None, 1001, ["1001"], "{{ x }}"])
def test_delete_media_what_is_no_media_id_is_refused_before_asking(sandbox, hook, media_id):
    assert type(failure(lambda: hook.delete_media(media_id))) is NxCloudInputError
    assert sandbox.requests == []


@pytest.mark.parametrize("action", ["", "get/Media", "../getMedia", "getMedia?x=1", "get Media", "gétMedia"])
def test_call_action_that_is_no_word_is_refused_before_asking(sandbox, hook, action):
    with pytest.raises(NxCloudInputError, match="action"):
        hook.call(action, {})
    assert sandbox.requests == []


@pytest.mark.parametrize(("offset", "said"), [(120, "ahead of"), (-120, "behind")])
def test_clock_that_is_off_is_learned_once(sandbox, hook, caplog, offset, said):
    sandbox.clock_offset = offset
    assert hook.get_media(MEDIA_ID).url
    assert len(sandbox.calls()) == 2
    assert hook.get_media(MEDIA_ID).url
    assert len(sandbox.calls()) == 3
    # Airflow 2 has a line of its own.
    (message,) = (text for text in caplog.messages if "clock" in text)
    assert re.match(f"NXCloud's clock is 1\\d\\d s {said} this machine's", message)


@pytest.mark.parametrize("offset", [120, -120])
def test_clock_that_is_off_is_told_by_test_connection(sandbox, hook, offset):
    sandbox.clock_offset = offset
    works, text = hook.test_connection()
    assert works
    sign = "-" if offset > 0 else "+"
    assert any(f"{sign}{seconds} s off" in text for seconds in (119, 120, 121))


@pytest.fixture
def serve(connect):
    """Answer every call with what a function makes of its headers: a ``Date`` and a document."""
    servers = []

    def serve(answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                asked.append(dict(self.headers))
                date, document = answer(self.headers)
                body = json.dumps(document).encode()
                self.send_response_only(200)
                if date is not None:
                    self.send_header("Date", date)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        asked: list[dict] = []
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        connect(host=f"http://127.0.0.1:{server.server_port}", extra={"max_attempts": ATTEMPTS})
        return asked

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("date", [None, "", "nonsense", "Mon, 23 Nov 99999999999999999999 12:00:00 GMT"])
def test_clock_without_usable_date_is_reported_at_once(serve, hook, date):
    asked = serve(lambda _: (date, {"code": 1004, "message": "expired", "data": None}))
    assert type(failure(lambda: hook.get_media(MEDIA_ID))) is NxCloudClockError
    assert len(asked) == 1


@pytest.mark.parametrize("before", [0, 180])
def test_signature_echoed_in_an_answer_is_not_in_the_error(serve, hook, before):
    asked = serve(lambda headers: (None, {"code": 1003, "message": "x" * before + headers["sign"]}))
    error = failure(lambda: hook.get_media(MEDIA_ID))
    assert asked[0]["sign"][:8] not in str(error)


def test_url_in_the_words_of_an_answer_loses_its_query(sandbox, hook):
    words = "cannot read https://b.aliyuncs.com/a?Expires=1&Signature=canary-url"
    sandbox.inject("api.code", code=-1, message=words, times=None)
    assert "canary-url" not in str(failure(lambda: hook.get_media(MEDIA_ID)))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("api.none", {}),
        ("api.code", {"code": 1003}),
        ("api.code", {"code": 1004}),
        ("api.status", {"status": 503}),
        ("api.status", {"status": 404}),
        ("api.redirect", {"location": "/elsewhere?Signature=canary"}),
        ("api.reset", {}),
        ("api.html", {}),
        ("api.hang", {}),
        ("api.broken_json", {}),
        ("api.no_url", {}),
    ],
)
def test_secrets_are_in_no_log_error_or_repr(sandbox, hook, caplog, name, options):
    caplog.set_level(logging.DEBUG)
    if name != "api.none":
        sandbox.inject(name, times=None, **options)
    seen = [str(hook.test_connection()), repr(hook.client.settings), repr(hook.get_conn().auth), repr(hook)]
    for ask in (hook.get_media, hook.client.is_available, hook.delete_media):
        try:
            seen.append(repr(ask(MEDIA_ID)))
        except NxCloudError as error:
            seen += [repr(error), *traceback.format_exception(error)]
    seen += [caplog.text, *(str(vars(record)) for record in caplog.records)]
    signatures = {call.headers["sign"] for call in sandbox.calls()}
    assert signatures
    assert "nxcloud_default" in "".join(seen)
    for secret in ("canary-secret", "Signature=", "OSSAccessKeyId", *signatures):
        assert secret not in "".join(seen)


@pytest.mark.parametrize("argument", ["8613800138000", "+86 138-0013 (8000)"])
def test_business_phone_argument_beats_the_connection(sandbox, hook, connect, argument):
    connect(extra={"business_phone": "4912345678"})
    assert NxCloudHook(business_phone=argument).get_media(MEDIA_ID).url
    assert json.loads(sandbox.calls()[0].body)["business_phone"] == "8613800138000"


def test_business_phone_missing_is_refused_before_asking(sandbox, connect):
    connect(extra={"business_phone": None})
    with pytest.raises(NxCloudInputError, match="business_phone"):
        NxCloudHook().get_media(MEDIA_ID)
    assert sandbox.requests == []
    assert NxCloudHook().call("getPhone", PHONE)


def test_test_connection_good_one_names_what_it_proved(sandbox, hook, connect):
    assert hook.test_connection() == (
        True,
        "NXCloud accepts access key, secret and business_phone 8613800138000",
    )
    connect(extra={"business_phone": None})
    assert NxCloudHook().test_connection() == (True, "NXCloud accepts access key, secret")


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"login": "other"}, 1005),
        ({"password": "other"}, 1003),
        ({"extra": {"business_phone": "4912345678"}}, 9002),
        ({"extra": {"business_phone": "4987654321"}}, 9006),
    ],
)
def test_test_connection_wrong_field_is_told_by_its_code(sandbox, connect, wrong, code):
    sandbox.unbound_phones = ["4987654321"]
    connect(**wrong)
    works, text = NxCloudHook().test_connection()
    assert not works
    assert text.startswith(f"NXCloud {code}, ")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": "other"}, "NXCloud 1003, invalid signature; check login"),
        ({"password": ""}, "password (access secret) is missing"),
        ({"host": "http://127.0.0.1:x"}, "host is not a host name or URL"),
        ({"extra": {"timeout": -1}}, "timeout (in extra) must be a number"),
        ({"host": "http://127.0.0.1:1"}, "NXCloud cannot be reached: Connection refused; check network"),
    ],
)
def test_test_connection_leaves_out_the_id_that_airflow_makes_up_for_the_test(connect, wrong, said):
    connect(**wrong)
    text = NxCloudHook().test_connection()[1]
    assert text.startswith(said)
    assert "nxcloud_default" not in text


@pytest.mark.parametrize("fault", ["api.html", "api.reset", "api.status"])
def test_test_connection_names_the_host_when_who_answers_may_not_be_nxcloud(sandbox, hook, fault):
    sandbox.inject(fault)
    works, text = hook.test_connection()
    assert not works
    assert sandbox.base_url in text


def test_connection_that_does_not_exist_is_named():
    assert NxCloudHook("nowhere").test_connection()[0] is False
    assert "nowhere" in NxCloudHook("nowhere").test_connection()[1]
    with pytest.raises(AirflowNotFoundException, match="nowhere"):
        NxCloudHook("nowhere").get_conn()


@pytest.mark.parametrize(
    ("retry_after", "expected"), [(7, [7, 7]), ("date:60", [pytest.approx(59.5, abs=1.5)] * 2), (301, [])]
)
def test_retry_after_is_waited_for_or_left_to_airflow(sandbox, hook, waits, retry_after, expected):
    sandbox.inject("api.status", status=429, retry_after=retry_after, times=None)
    error = failure(lambda: hook.get_media(MEDIA_ID))
    assert type(error) is NxCloudUnavailableError
    assert f"HTTP 429 (Retry-After: {error.retry_after:.0f} s)" in str(error)
    # No time has passed in the waits of the retries, so the pace waits once more after each.
    assert waits[::2] == expected


def test_retry_after_of_one_call_holds_the_others_back(sandbox, hook, waits):
    sandbox.inject("api.status", status=429, retry_after=7)
    hook.get_media(MEDIA_ID)
    del waits[:]
    hook.get_media("1000000002")
    assert len(waits) == 1
    assert waits[0] > 6


def test_api_that_cannot_be_reached_is_told_without_url(sandbox, hook, waits):
    sandbox.stop()
    error = failure(lambda: hook.get_media(MEDIA_ID))
    assert type(error) is NxCloudUnavailableError
    assert str(error).startswith("NXCloud cannot be reached: Connection refused")
    assert len(waits) == ATTEMPTS - 1


def test_settings_that_were_read_are_masked_in_airflows_logs(hook, connect, masker):
    connect(extra={"proxies": {"https": "http://me:canary-proxy@proxy.example:3128"}})
    assert hook.client.settings.proxies
    assert masker.redact("canary-secret and canary-proxy") == "*** and ***"
