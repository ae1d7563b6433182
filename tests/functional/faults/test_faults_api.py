"""What can go wrong between the operator and NXCloud's API: one row a fault, healed or refused."""

from __future__ import annotations

import re
import socket
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_nxcloud.exceptions import (
    NxCloudClockError,
    NxCloudCredentialsError,
    NxCloudMediaFailedError,
    NxCloudPhoneNumberError,
    NxCloudRequestError,
)

pytestmark = pytest.mark.usefixtures("no_backoff")

ATTEMPTS = 2


class Fault(NamedTuple):
    """A fault of the sandbox, with what the error must say when it never heals."""

    name: str
    options: dict[str, Any]
    says: str


#: One of each way to go wrong; tests/unit/api/test_response.py has every status and shape.
TRANSIENT = {
    "429": Fault("api.status", {"status": 429}, "HTTP 429; this may be temporary"),
    "503": Fault("api.status", {"status": 503}, "HTTP 503; this may be temporary"),
    "reset": Fault("api.reset", {}, "cannot be reached: Connection reset by peer"),
    "reset after headers": Fault("api.reset_after_headers", {}, "broke off: Connection reset by peer"),
    "hang": Fault("api.hang", {}, "cannot be reached: timed out"),
    "drip": Fault("api.drip", {"interval": 0.02}, "response broke off: it took too long in all"),
    "drip of headers": Fault(
        "api.drip_head", {"interval": 0.02}, "cannot be reached: it took too long in all"
    ),
    "html": Fault("api.html", {}, "not JSON but .* of 'text/html"),
    "broken json": Fault("api.broken_json", {}, "not JSON but"),
    "huge": Fault("api.huge", {}, "larger than 1048576 bytes"),
    "no data": Fault("api.no_data", {}, "success without a url"),
    "no url": Fault("api.no_url", {}, "success without a url"),
    "code -1": Fault(
        "api.code",
        {"code": -1},
        "^NXCloud -1, request failed; this may be temporary, or the media ID is wrong",
    ),
    "code 9001": Fault(
        "api.code", {"code": 9001}, "^NXCloud 9001, system business error; this may be temporary"
    ),
    "unknown code": Fault("api.code", {"code": 4242}, "^NXCloud 4242, a code NXCloud does not document"),
    "shape": Fault("api.shape", {"value": []}, "does not have the documented shape"),
}

PERMANENT = {
    1000: (NxCloudCredentialsError, "authentication trouble", "check login"),
    1001: (NxCloudRequestError, "a common header is missing", "check whether a proxy removes headers"),
    1002: (NxCloudRequestError, "bizType, action or a body parameter is wrong", "check the action"),
    1003: (NxCloudCredentialsError, "invalid signature", "check login"),
    1005: (NxCloudCredentialsError, "access key wrong or without the permission", "check login"),
    1007: (NxCloudCredentialsError, "authentication trouble", "check login"),
    9000: (NxCloudRequestError, "a body parameter is missing", "check the parameters"),
    9002: (NxCloudPhoneNumberError, "not a WhatsApp number", "fix business_phone"),
    9006: (NxCloudPhoneNumberError, "not bound to the application", "have NXCloud bind business_phone"),
}


@pytest.fixture
def impatient(connect: Callable[..., None], request: pytest.FixtureRequest) -> None:
    """Wait long for nothing but where the test is about that."""
    waits = {"hang", "drip", "drip of headers", "stall at 0 %", "stall at 50 %"} & set(
        request.node.callspec.id.split("-") if hasattr(request.node, "callspec") else ()
    )
    connect(extra={"timeout": 0.25 if waits else 5, "max_attempts": ATTEMPTS})


def assert_stored(run, media, target) -> None:
    assert run.error is None
    assert (run.record["status"], run.record["error"]) == ("stored", None)
    assert target.read_bytes() == media.content


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
@pytest.mark.usefixtures("impatient")
def test_transient_fault_heals_within_the_attempts(fault, sandbox, photo, fetch, target):
    sandbox.inject(fault.name, times=ATTEMPTS - 1, **fault.options)

    assert_stored(fetch([photo.media_id]), photo, target)
    assert len(sandbox.calls()) == ATTEMPTS
    assert len(sandbox.downloads()) == 1


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
@pytest.mark.usefixtures("impatient")
def test_transient_fault_that_stays_fails_the_media_and_can_be_retried(fault, sandbox, photo, fetch, kept):
    sandbox.inject(fault.name, times=None, **fault.options)

    run = fetch([photo.media_id])

    assert type(run.error) is NxCloudMediaFailedError
    assert not isinstance(run.error, AirflowFailException)
    assert run.record["status"] == "failed"
    assert run.record["error"] in str(run.error)
    assert "(connection 'nxcloud_default', media file 'photo-1', business_phone" in run.record["error"]
    assert re.search(fault.says, run.record["error"])
    assert len(sandbox.calls()) == ATTEMPTS
    assert sandbox.downloads() == []
    kept()


def test_every_attempt_is_signed_anew(sandbox, photo, fetch, connect):
    connect(extra={"max_attempts": 4})
    sandbox.api_latency = 0.01
    sandbox.inject("api.status", times=3)

    assert fetch([photo.media_id]).error is None

    stamps = [int(call.headers["ts"]) for call in sandbox.calls()]
    assert len(stamps) == 4
    assert stamps == sorted(set(stamps))
    assert len({call.headers["sign"] for call in sandbox.calls()}) == 4


@pytest.mark.parametrize(("retry_after", "at_least"), [(1, 1.0), ("date:2", 0.9)], ids=["seconds", "date"])
def test_retry_after_is_waited_for(retry_after, at_least, sandbox, photo, fetch, target):
    sandbox.inject("api.status", status=429, retry_after=retry_after)

    assert_stored(fetch([photo.media_id]), photo, target)
    first, second = sandbox.calls()
    assert at_least <= second.at - first.at < 4


def test_retry_after_of_an_hour_is_left_to_airflow(sandbox, photo, fetch, kept):
    sandbox.inject("api.status", times=None, status=429, retry_after=3600)

    run = fetch([photo.media_id])

    assert type(run.error) is NxCloudMediaFailedError
    assert "HTTP 429" in run.record["error"]
    assert len(sandbox.calls()) == 1
    kept()


def test_refused_connection_fails_the_media_and_can_be_retried(connect, photo, fetch, kept):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port meanwhile
        connect(host=f"http://127.0.0.1:{bound.getsockname()[1]}", extra={"max_attempts": 2})
        run = fetch([photo.media_id])

    assert type(run.error) is NxCloudMediaFailedError
    assert "'photo-1'" in run.record["error"]
    assert "NXCloud cannot be reached: Connection refused" in run.record["error"]
    kept()


@pytest.mark.usefixtures("impatient")
def test_huge_answer_is_not_read_into_memory(sandbox, photo, fetch):
    sandbox.inject("api.huge", times=None)

    tracemalloc.start()
    try:
        run = fetch([photo.media_id])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert run.record["status"] == "failed"
    assert peak < 12_000_000


@pytest.mark.parametrize("code", PERMANENT)
@pytest.mark.usefixtures("impatient")
def test_permanent_code_ends_the_task_at_the_first_answer(code, sandbox, photo, fetch, kept):
    kind, meaning, remedy = PERMANENT[code]
    sandbox.inject("api.code", times=None, code=code, message="in NXCloud's words")

    run = fetch([photo.media_id])

    assert type(run.error) is kind
    assert isinstance(run.error, AirflowFailException)
    assert run.error.code == code
    assert run.error.media_id == "photo-1"
    text = str(run.error)
    assert text in run.record["error"]
    assert run.record["status"] == "failed"
    for part in ("'photo-1'", "'nxcloud_default'", str(code), meaning, "in NXCloud's words", remedy):
        assert part in text
    assert len(sandbox.calls()) == 1
    kept()


def test_wrong_clock_is_learned_from_the_answer(sandbox, photo, fetch, target):
    sandbox.clock_offset = 1000

    assert_stored(fetch([photo.media_id]), photo, target)
    assert len(sandbox.calls()) == 2


def test_clock_that_stays_wrong_ends_the_task(sandbox, photo, fetch, kept):
    sandbox.inject("api.code", times=None, code=1004, message="timestamp expired")

    run = fetch([photo.media_id])

    assert type(run.error) is NxCloudClockError
    assert isinstance(run.error, AirflowFailException)
    assert "correct the clock" in str(run.error)
    assert len(sandbox.calls()) == 2
    kept()


@pytest.mark.parametrize("status", [400, 404])
def test_http_status_that_no_retry_mends_ends_the_task(status, sandbox, photo, fetch, kept):
    sandbox.inject("api.status", times=None, status=status, body="<html>")

    run = fetch([photo.media_id])

    assert type(run.error) is NxCloudRequestError
    assert f"HTTP {status}; check host of the connection" in str(run.error)
    assert len(sandbox.calls()) == 1
    kept()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_api_redirect_is_never_followed(status, sandbox, photo, fetch, kept):
    # The redirect leads to where the call would work, so following it would succeed.
    sandbox.inject(
        "api.redirect", times=1, status=status, location=f"{sandbox.base_url}/api/wa/getMedia?followed"
    )

    run = fetch([photo.media_id])

    assert type(run.error) is NxCloudRequestError
    assert f"HTTP {status}, a redirect; check host of the connection" in str(run.error)
    assert len(sandbox.requests) == 1
    kept()
