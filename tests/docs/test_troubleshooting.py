"""The log lines that the page on troubleshooting quotes are real."""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest
from airflow.providers.common.compat.sdk import AirflowException
from pages import Block, blocks

from airflow_provider_nxcloud.connection.settings import ConnectionSettings
from airflow_provider_nxcloud.http.allowed_hosts import DownloadHostPolicy
from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator
from airflow_provider_nxcloud.sensors.nxcloud import NxCloudMediaSensor

PHOTO = "1000000001"
QUOTES = [block for block in blocks("text") if block.page == "docs/troubleshooting.md"]


class Case(NamedTuple):
    """What to change before the operator fetches a photo: a fault forever, the connection, the sandbox."""

    fault: str = ""
    options: Mapping[str, Any] = {}
    connection: Mapping[str, Any] = {}
    sandbox: Mapping[str, Any] = {}
    arguments: Mapping[str, Any] = {}


#: Those with a test of their own.
OTHERS = {"The download host has a private address", "The sensor stays deferred", "The task was killed"}
CASES = {
    "The access key is wrong": [Case(connection={"login": "wrong"})],
    "The access secret is wrong": [Case(connection={"password": "wrong-secret"})],
    "The phone number is wrong": [
        Case(arguments={"business_phone": "8613800138001"}),
        Case(
            sandbox={"unbound_phones": ["8613800138002"]},
            connection={"extra": {"business_phone": "8613800138002"}},
        ),
        Case(connection={"extra": {"business_phone": None}}),
    ],
    "The clock is wrong": [
        Case(sandbox={"clock_offset": 600}),
        Case("api.code", {"code": 1004, "message": "timestamp expired"}),
    ],
    "NXCloud cannot be reached": [
        Case(connection={"host": "http://127.0.0.1:9"}),
        Case("api.status", {"status": 404}),
        Case("api.redirect", {"location": "https://login.example.com/"}),
        Case("api.html"),
    ],
    "NXCloud limits the rate (429)": [
        Case("api.status", {"status": 429, "retry_after": 1}),
        Case("api.status", {"status": 503, "retry_after": 900}),
    ],
    "The media file is not there yet": [Case("api.code")],
    "The URL has expired": [Case("download.expired")],
    "The file is gone": [Case("download.status", {"status": 404})],
    "A web page instead of the media file": [Case("download.html"), Case("download.page_as_media")],
    "The hash does not match": [
        Case("download.corrupt"),
        Case("download.gzip"),
        Case("download.headers", {"headers": {"ETag": f'"{"ab" * 16}"'}}),  # last, because it is stored
    ],
    "The download host is refused": [Case(connection={"extra": {"allowed_media_hosts": ["*.aliyuncs.com"]}})],
    "The file is not what the webhook announced": [
        Case(arguments={"media_ids": [{"media_id": PHOTO, "sha256": "0" * 64}]})
    ],
    "No filesystem for the destination": [Case(arguments={"destination": "gs://bucket/x"})],
    "The storage connection is not there": [Case(arguments={"destination": "s3://nowhere@bucket/x"})],
    "No media IDs": [Case(arguments={"media_ids": "None"})],
    "The connection is not there": [Case(arguments={"nxcloud_conn_id": "nowhere"})],
}


@pytest.fixture
def provoke(sandbox, connect, destination, caplog, no_backoff):
    """Return what the log holds after a case, the error at its end included."""
    caplog.set_level(logging.INFO)

    def provoke(case: Case) -> str:
        connect(**{**case.connection, "extra": {"max_attempts": 2, **case.connection.get("extra", {})}})
        for name, value in case.sandbox.items():
            setattr(sandbox, name, value)
        sandbox.reset()
        if case.fault:
            sandbox.inject(case.fault, times=None, **case.options)
        arguments = {"media_ids": [PHOTO], "destination": str(destination), **case.arguments}
        error = error_of(lambda: operator(**arguments).execute(context={}))
        return caplog.text + error

    return provoke


def operator(**arguments) -> NxCloudGetMediaOperator:
    return NxCloudGetMediaOperator(task_id="get_media", **arguments)


def error_of(work: Callable[[], object]) -> str:
    try:
        work()
    except AirflowException as error:
        return str(error)
    return ""


def is_in(quote: Block, text: str) -> bool:
    """Return whether each line of a quote, its dots standing for anything, is in a text."""
    lines = (".*".join(map(re.escape, line.split("..."))) for line in quote.code.splitlines())
    return all(re.search(line, text) for line in lines)


@pytest.mark.parametrize("quote", [quote for quote in QUOTES if quote.heading in CASES], ids=str)
def test_quoted_line_is_in_the_log(quote, provoke):
    if quote.heading == "No filesystem for the destination" and importlib.util.find_spec("gcsfs"):
        pytest.skip("here it is installed")
    assert any(is_in(quote, provoke(case)) for case in CASES[quote.heading])


def test_every_quote_is_provoked_or_says_where_it_was_seen():
    elsewhere = {quote.heading for quote in QUOTES if quote.note.startswith("seen: ")}
    assert {quote.heading for quote in QUOTES} - elsewhere - OTHERS == set(CASES)


def quotes_of(heading: str) -> list[Block]:
    return [quote for quote in QUOTES if quote.heading == heading and not quote.note]


def test_host_inside_the_own_network():
    settings = ConnectionSettings("nxcloud_default", "https://8.8.8.8", "key", "secret")
    text = error_of(lambda: DownloadHostPolicy(settings).check("http://localhost/photo"))
    (quote,) = quotes_of("The download host has a private address")
    assert is_in(quote, text)


def test_sensor_without_a_triggerer():
    sensor = NxCloudMediaSensor(task_id="wait", media_ids=[PHOTO, "1000000004"], deferrable=True)
    text = error_of(lambda: sensor.resume_execution("__fail__", {"error": "Trigger timeout"}, {}))
    (quote,) = quotes_of("The sensor stays deferred")
    assert is_in(quote, text)


def test_task_that_is_killed(sandbox, destination):
    fetching = operator(media_ids=[PHOTO], destination=str(destination))
    sandbox.inject("download.hang", times=None)
    sandbox.observer = lambda request: request.kind == "download" and fetching.on_kill()
    (quote,) = quotes_of("The task was killed")
    assert is_in(quote, error_of(lambda: fetching.execute(context={})))
