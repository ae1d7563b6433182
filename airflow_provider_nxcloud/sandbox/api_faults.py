"""The faults of API calls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from airflow_provider_nxcloud.sandbox.api import json_reply
from airflow_provider_nxcloud.sandbox.common_faults import common_faults
from airflow_provider_nxcloud.sandbox.faults import FaultContext
from airflow_provider_nxcloud.sandbox.http import Reply

API_FAULTS = common_faults("api")

_HUGE = 64 * 1_048_576
_HUGE_PIECE = b"x" * 65_536


def _body(reply: Reply) -> bytes:
    """Return the body of an API answer, which is always bytes."""
    return bytes(reply.body) if isinstance(reply.body, (bytes, memoryview)) else b"".join(reply.body)


def _data_of(reply: Reply) -> dict[str, Any]:
    """Return the data of an API answer, nothing for an error."""
    try:
        return json.loads(_body(reply))["data"] or {}
    except ValueError:
        return {}


def _success(data: dict[str, Any] | None) -> Reply:
    return json_reply({"code": 0, "message": "success", "data": data})


@API_FAULTS.add("api.code", transient=True)
def _code(context: FaultContext, *, code: int = -1, message: str = "request failed") -> Reply:
    """Answer one of NXCloud's codes."""
    return json_reply({"code": code, "message": message, "data": None})


@API_FAULTS.add("api.reset_after_headers", transient=True)
def _reset_after_headers(context: FaultContext) -> Reply:
    """Send the headers, then reset the connection."""
    reply = context.answer()
    reply.stop_at, reply.ending = 0, "reset"
    return reply


@API_FAULTS.add("api.broken_json", transient=True)
def _broken_json(context: FaultContext) -> Reply:
    """Answer the first half of the JSON, as if it were all."""
    reply = context.answer()
    body = _body(reply)
    reply.body = body[: len(body) // 2]
    return reply


@API_FAULTS.add("api.empty", transient=True)
def _empty(context: FaultContext) -> Reply:
    """Answer 200 with an empty body."""
    return Reply(200, {"Content-Type": "application/json"})


@API_FAULTS.add("api.huge")
def _huge(context: FaultContext) -> Reply:
    """Answer 64 MB of valid JSON."""

    def pieces() -> Iterator[bytes]:
        yield b'{"code": 0, "message": "'
        for _ in range(_HUGE // len(_HUGE_PIECE)):
            yield _HUGE_PIECE
        yield b'", "data": {}}'

    return Reply(200, {"Content-Type": "application/json"}, pieces(), framing="chunked")


@API_FAULTS.add("api.shape")
def _shape(context: FaultContext, *, value: Any) -> Reply:
    """Answer this JSON value instead of NXCloud's object."""
    return json_reply(value)


@API_FAULTS.add("api.no_data")
def _no_data(context: FaultContext) -> Reply:
    """Answer success with null for data."""
    return _success(None)


@API_FAULTS.add("api.no_url")
def _no_url(context: FaultContext) -> Reply:
    """Leave the url out of data."""
    reply = context.answer()
    data = _data_of(reply)
    return _success({key: data[key] for key in data if key != "url"}) if data else reply


@API_FAULTS.add("api.url")
def _url(context: FaultContext, *, url: str) -> Reply:
    """Answer with this url in data."""
    return _data(context, url=url)


@API_FAULTS.add("api.data")
def _data(context: FaultContext, **data: Any) -> Reply:
    """Answer success with these values in data, beside the others."""
    return _success({**_data_of(context.answer()), **data})
