"""The faults there are, as methods: their keyword arguments are the options, their docstrings the help."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import re
from dataclasses import replace
from email.utils import formatdate
from typing import Annotated, Any

from airflow_provider_nxcloud.sandbox.api import json_reply
from airflow_provider_nxcloud.sandbox.downloads import expired_reply, media_reply
from airflow_provider_nxcloud.sandbox.fault_plan import Fault, FaultContext
from airflow_provider_nxcloud.sandbox.http import Reply

# The types of options that take not every value of their type, each with what it takes.
Share = Annotated[float, lambda share: 0 <= share <= 1]
Seconds = Annotated[float, lambda seconds: seconds > 0]
Shift = Annotated[int, lambda shift: shift != 0]
Status = Annotated[int, lambda status: 200 <= status <= 599]
RetryAfter = Annotated[int | str | None, lambda value: re.fullmatch(r"\d+|date:\d+|None", str(value))]

_PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>\n"
_HUGE_PIECE = b"x" * 65_536
_CHANGES = itertools.cycle(range(1, 256))
#: The faults that a client gets over if it retries, so that they may be random.
_TRANSIENT = (
    {"status", "reset", "html"}
    | {"code", "reset_after_headers", "broken_json", "empty"}
    | {"expired", "reset_at", "cut", "cut_chunked", "cut_close_delimited", "corrupt"}
)
#: The faults that cannot happen to a request without a Range.
_NEED_RANGE = {"ignore_range", "wrong_range"}


class _CommonFaults(FaultContext):
    """What can happen to an API call and to a download."""

    def status(self, *, status: Status = 503, retry_after: RetryAfter = None, body: str = "") -> Reply:
        """Answer an HTTP status; retry_after is seconds or "date:5" for the HTTP date 5 seconds ahead."""
        reply = Reply.of_text(status, body)
        if isinstance(retry_after, str) and retry_after.startswith("date:"):
            retry_after = formatdate(self.now + int(retry_after.removeprefix("date:")), usegmt=True)
        if retry_after is not None:
            reply.headers["Retry-After"] = str(retry_after)
        return reply

    def reset(self) -> Reply:
        """Reset the connection before any byte."""
        return Reply(0, ending="reset")

    def html(self) -> Reply:
        """Answer an HTML page with status 200, as captive portals and maintenance pages do."""
        return Reply(200, {"Content-Type": "text/html; charset=utf-8"}, _PAGE)

    def hang(self, *, seconds: Seconds = 3600) -> Reply:
        """Send nothing for so many seconds, then close."""
        return Reply(0, hold=seconds, ending="close")

    def drip(self, *, interval: Seconds = 1.0) -> Reply:
        """Send the body one byte at a time, one each interval (seconds)."""
        return replace(self.answer(), pace=interval)

    def drip_head(self, *, interval: Seconds = 1.0) -> Reply:
        """Send the status line and the headers one byte at a time, one each interval (seconds)."""
        return replace(self.answer(), head_pace=interval)

    def redirect(self, *, location: str, status: Status = 302) -> Reply:
        """Redirect to another address."""
        return Reply(status, {"Location": location})


class ApiFaults(_CommonFaults):
    """What can happen to an API call."""

    def code(self, *, code: int = -1, message: str = "request failed") -> Reply:
        """Answer one of NXCloud's codes."""
        return json_reply({"code": code, "message": message, "data": None})

    def reset_after_headers(self) -> Reply:
        """Send the headers, then reset the connection."""
        return replace(self.answer(), share=0, ending="reset")

    def broken_json(self) -> Reply:
        """Answer the first half of the JSON, as if it were all."""
        reply = self.answer()
        return replace(reply, body=reply.body[: len(reply.body) // 2])

    def empty(self) -> Reply:
        """Answer 200 with an empty body."""
        return Reply(200, {"Content-Type": "application/json"})

    def huge(self) -> Reply:
        """Answer 64 MB of valid JSON."""
        start, end = b'{"code": 0, "message": "', b'", "data": {}}'
        more = itertools.chain(itertools.repeat(_HUGE_PIECE, 1024), [end])
        return Reply(200, {"Content-Type": "application/json"}, start, more, framing="chunked")

    def shape(self, *, value: Any) -> Reply:
        """Answer this JSON value instead of NXCloud's object."""
        return json_reply(value)

    def no_data(self) -> Reply:
        """Answer success with null for data."""
        return _success(None)

    def no_url(self) -> Reply:
        """Leave the url out of data."""
        reply = self.answer()
        data = _data_of(reply)
        return _success({key: data[key] for key in data if key != "url"}) if data else reply

    def url(self, *, url: str) -> Reply:
        """Answer with this url in data."""
        return self.data(url=url)

    def data(self, **data: Any) -> Reply:
        """Answer success with these values in data, beside the others."""
        return _success({**_data_of(self.answer()), **data})


def _success(data: dict[str, Any] | None) -> Reply:
    return json_reply({"code": 0, "message": "success", "data": data})


def _data_of(reply: Reply) -> dict[str, Any]:
    """Return the data of an API answer, nothing for an error."""
    try:
        return json.loads(bytes(reply.body))["data"] or {}
    except ValueError:
        return {}


class DownloadFaults(_CommonFaults):
    """What can happen to a download."""

    def expired(self) -> Reply:
        """Answer 403 as if the URL had expired."""
        return expired_reply()

    def reset_at(self, *, at: Share = 0.5) -> Reply:
        """Reset the connection after this share of the body."""
        return replace(self.answer(), share=at, ending="reset")

    def cut(self, *, at: Share = 0.5) -> Reply:
        """Close after this share of the body, with the Content-Length of all of it."""
        return replace(self.answer(), share=at, ending="close")

    def cut_chunked(self, *, at: Share = 0.5) -> Reply:
        """Close after this share of a chunked body, without the last chunk."""
        return replace(self.answer(), share=at, framing="chunked", ending="close")

    def chunked(self) -> Reply:
        """Send everything in chunks, without a Content-Length."""
        return replace(self.answer(), framing="chunked")

    def cut_close_delimited(self, *, at: Share = 0.5) -> Reply:
        """Close after this share of a body that only the end of the connection delimits."""
        return replace(self.answer(), share=at, framing="close")

    def close_delimited(self) -> Reply:
        """Send everything, delimited by the end of the connection only."""
        return replace(self.answer(), framing="close")

    def wrong_length(self, *, delta: Shift = 10) -> Reply:
        """Announce a Content-Length that is off by delta bytes, then close."""
        reply = self.answer()
        reply.headers["Content-Length"] = str(max(0, len(reply.body) + delta))
        return replace(reply, ending="close")

    def corrupt(self) -> Reply:
        """Change the middle byte, each time to another value; length and ETag stay."""
        reply = self.answer()
        content = bytearray(reply.body)
        if content:
            content[len(content) // 2] ^= next(_CHANGES)
        return replace(reply, body=memoryview(content))

    def page_as_media(self) -> Reply:
        """Answer an HTML page under the announced Content-Type, without an ETag."""
        mime_type = self.media.mime_type if self.media else "application/octet-stream"
        return Reply(200, {"Content-Type": mime_type}, _PAGE)

    def gzip(self) -> Reply:
        """Send the body with Content-Encoding gzip, whatever the request accepts."""
        reply = self.headers(headers={"Content-Encoding": "gzip"})
        return replace(reply, body=gzip.compress(reply.body, compresslevel=1))

    def redirect_loop(self) -> Reply:
        """Redirect to the same URL; follow it forever with times=None."""
        return self.redirect(location=f"{self.request.path}?{self.request.query}")

    def stall(self, *, at: Share = 0.5, seconds: Seconds = 3600) -> Reply:
        """Send this share of the body, then nothing for so many seconds, then close."""
        return replace(self.answer(), share=at, hold=seconds, ending="close")

    def ignore_range(self) -> Reply:
        """Answer 200 with everything although a Range was asked for."""
        reply = self.answer()
        return media_reply(self.media) if self.media and reply.status in (206, 416) else reply

    def wrong_range(self, *, shift: Shift = 1, honest: bool = True) -> Reply:
        """Send bytes shift bytes off; honest=False keeps the Content-Range and the length that were asked."""
        reply = self.answer()
        if reply.status != 206 or self.media is None:
            return reply
        content = self.media.content
        length = len(reply.body)
        asked = int(reply.headers["Content-Range"].removeprefix("bytes ").partition("-")[0])
        start = (asked + shift) % len(content)
        if honest:
            other = media_reply(self.media, f"bytes={start}-{start + length - 1}")
            reply.headers["Content-Range"] = other.headers["Content-Range"]
            reply.body = other.body
        else:
            reply.body = (content[start : start + length] + content)[:length]
        return reply

    def no_etag(self) -> Reply:
        """Leave the ETag out."""
        return self.headers(headers={"ETag": None})

    def headers(self, *, headers: dict[str, Any]) -> Reply:
        """Set these headers; None removes one."""
        reply = self.answer()
        names = {name.lower() for name in headers}
        kept = {name: value for name, value in reply.headers.items() if name.lower() not in names}
        new = {name: value for name, value in headers.items() if value is not None}
        return replace(reply, headers={**kept, **new})

    def content_md5(self) -> Reply:
        """Send a Content-MD5 instead of the ETag."""
        if self.media is None:
            return self.answer()
        md5 = base64.b64encode(bytes.fromhex(self.media.md5)).decode()
        return self.headers(headers={"ETag": None, "Content-MD5": md5})


#: Every fault there is, by name.
FAULTS = {
    f"{kind}.{name}": Fault(f"{kind}.{name}", apply, name in _TRANSIENT, name in _NEED_RANGE)
    for kind, faults in (("api", ApiFaults), ("download", DownloadFaults))
    for name, apply in {**vars(_CommonFaults), **vars(faults)}.items()
    if not name.startswith("_")
}
