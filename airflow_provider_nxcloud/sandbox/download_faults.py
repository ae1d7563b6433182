"""The faults of downloads."""

from __future__ import annotations

import base64
import gzip
import itertools
from typing import Any

from airflow_provider_nxcloud.sandbox.common_faults import PAGE, common_faults
from airflow_provider_nxcloud.sandbox.downloads import content_range, expired_reply, media_reply
from airflow_provider_nxcloud.sandbox.faults import FaultContext, Seconds, Share, Shift
from airflow_provider_nxcloud.sandbox.http import Reply

DOWNLOAD_FAULTS = common_faults("download")
_CHANGES = itertools.cycle(range(1, 256))


def _body(reply: Reply) -> bytes | memoryview:
    """Return the body of a download, which never comes in pieces."""
    return reply.body if isinstance(reply.body, (bytes, memoryview)) else b"".join(reply.body)


def _cut(reply: Reply, at: float) -> Reply:
    """Stop after a share of the body, at the latest before its last byte."""
    size = len(_body(reply))
    reply.stop_at = max(0, min(int(size * at), size - 1))
    return reply


@DOWNLOAD_FAULTS.add("download.expired", transient=True)
def _expired(context: FaultContext) -> Reply:
    """Answer 403 as if the URL had expired."""
    return expired_reply()


@DOWNLOAD_FAULTS.add("download.reset_at", transient=True)
def _reset_at(context: FaultContext, *, at: Share = 0.5) -> Reply:
    """Reset the connection after this share of the body."""
    reply = _cut(context.answer(), at)
    reply.ending = "reset"
    return reply


@DOWNLOAD_FAULTS.add("download.cut", transient=True)
def _cut_length(context: FaultContext, *, at: Share = 0.5) -> Reply:
    """Close after this share of the body, with the Content-Length of all of it."""
    reply = _cut(context.answer(), at)
    reply.ending = "close"
    return reply


@DOWNLOAD_FAULTS.add("download.cut_chunked", transient=True)
def _cut_chunked(context: FaultContext, *, at: Share = 0.5) -> Reply:
    """Close after this share of a chunked body, without the last chunk."""
    reply = _cut(context.answer(), at)
    reply.framing, reply.ending = "chunked", "close"
    return reply


@DOWNLOAD_FAULTS.add("download.chunked")
def _chunked(context: FaultContext) -> Reply:
    """Send everything in chunks, without a Content-Length."""
    reply = context.answer()
    reply.framing = "chunked"
    return reply


@DOWNLOAD_FAULTS.add("download.cut_close_delimited", transient=True)
def _cut_close_delimited(context: FaultContext, *, at: Share = 0.5) -> Reply:
    """Close after this share of a body that only the end of the connection delimits."""
    reply = _cut(context.answer(), at)
    reply.framing = "close"
    return reply


@DOWNLOAD_FAULTS.add("download.close_delimited")
def _close_delimited(context: FaultContext) -> Reply:
    """Send everything, delimited by the end of the connection only."""
    reply = context.answer()
    reply.framing = "close"
    return reply


@DOWNLOAD_FAULTS.add("download.wrong_length")
def _wrong_length(context: FaultContext, *, delta: Shift = 10) -> Reply:
    """Announce a Content-Length that is off by delta bytes, then close."""
    reply = context.answer()
    reply.set_header("Content-Length", str(max(0, len(_body(reply)) + delta)))
    reply.ending = "close"
    return reply


@DOWNLOAD_FAULTS.add("download.corrupt", transient=True)
def _corrupt(context: FaultContext) -> Reply:
    """Change the middle byte, each time to another value; length and ETag stay."""
    reply = context.answer()
    content = bytearray(_body(reply))
    if content:
        content[len(content) // 2] ^= next(_CHANGES)
    reply.body = memoryview(content)
    return reply


@DOWNLOAD_FAULTS.add("download.page_as_media")
def _page_as_media(context: FaultContext) -> Reply:
    """Answer an HTML page under the announced Content-Type, without an ETag."""
    mime_type = context.media.mime_type if context.media else "application/octet-stream"
    return Reply(200, {"Content-Type": mime_type}, PAGE)


@DOWNLOAD_FAULTS.add("download.gzip")
def _gzip(context: FaultContext) -> Reply:
    """Send the body with Content-Encoding gzip, whatever the request accepts."""
    reply = context.answer()
    reply.body = gzip.compress(_body(reply), compresslevel=1)
    reply.set_header("Content-Encoding", "gzip")
    return reply


@DOWNLOAD_FAULTS.add("download.redirect_loop")
def _redirect_loop(context: FaultContext) -> Reply:
    """Redirect to the same URL; follow it forever with times=None."""
    return Reply(302, {"Location": context.request.target})


@DOWNLOAD_FAULTS.add("download.stall")
def _stall(context: FaultContext, *, at: Share = 0.5, seconds: Seconds = 3600) -> Reply:
    """Send this share of the body, then nothing for so many seconds, then close."""
    reply = _cut(context.answer(), at)
    reply.hold, reply.ending = seconds, "close"
    return reply


@DOWNLOAD_FAULTS.add("download.ignore_range", needs="Range")
def _ignore_range(context: FaultContext) -> Reply:
    """Answer 200 with everything although a Range was asked for."""
    reply = context.answer()
    if reply.status not in (206, 416) or context.media is None:
        return reply
    return media_reply(context.media, {})


@DOWNLOAD_FAULTS.add("download.wrong_range", needs="Range")
def _wrong_range(context: FaultContext, *, shift: Shift = 1, honest: bool = True) -> Reply:
    """Send bytes shift bytes off; honest=False keeps the Content-Range and the length that were asked."""
    reply = context.answer()
    if reply.status != 206 or context.media is None:
        return reply
    content = context.media.content
    length = len(_body(reply))
    asked = int(reply.headers["Content-Range"].removeprefix("bytes ").partition("-")[0])
    start = (asked + shift) % len(content)
    if honest:
        part = range(start, min(start + length, len(content)))
        reply.headers["Content-Range"] = content_range(part, len(content))
        reply.body = memoryview(content)[part.start : part.stop]
    else:
        reply.body = (content[start : start + length] + content)[:length]
    return reply


@DOWNLOAD_FAULTS.add("download.no_etag")
def _no_etag(context: FaultContext) -> Reply:
    """Leave the ETag out."""
    reply = context.answer()
    reply.set_header("ETag", None)
    return reply


@DOWNLOAD_FAULTS.add("download.headers")
def _headers(context: FaultContext, *, headers: dict[str, Any]) -> Reply:
    """Set these headers; None removes one."""
    reply = context.answer()
    for name, value in headers.items():
        reply.set_header(name, value)
    return reply


@DOWNLOAD_FAULTS.add("download.content_md5")
def _content_md5(context: FaultContext) -> Reply:
    """Send a Content-MD5 instead of the ETag."""
    reply = context.answer()
    if context.media is not None:
        reply.set_header("ETag", None)
        reply.set_header("Content-MD5", base64.b64encode(bytes.fromhex(context.media.md5)).decode())
    return reply
