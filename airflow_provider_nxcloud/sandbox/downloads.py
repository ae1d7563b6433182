"""Downloads as Alibaba Cloud OSS serves them: signed URLs that expire, ETag, Range."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from email.utils import formatdate
from urllib.parse import parse_qs, quote, unquote, urlencode

from airflow_provider_nxcloud.sandbox.http import Reply, Request
from airflow_provider_nxcloud.sandbox.media import SandboxMedia
from airflow_provider_nxcloud.sandbox.state import SandboxState

PREFIX = "/media/"
# A fixed date in the past: it only has to stay the same from one request to the next.
_LAST_MODIFIED = formatdate(1_700_000_000, usegmt=True)


def media_id_of(request: Request) -> str:
    """Return the media ID in the path of a download."""
    return unquote(request.path.removeprefix(PREFIX))


def signed_url(sandbox: SandboxState, media_id: str) -> str:
    """Return a URL that gives whoever holds it access to a media file until it expires."""
    expires = str(int(sandbox.now() + sandbox.url_lifetime))
    query = {
        "Expires": expires,
        "OSSAccessKeyId": "sandbox-oss-key",
        "Signature": _signature(sandbox, media_id, expires),
    }
    return f"{sandbox.base_url}{PREFIX}{quote(media_id, safe='')}?{urlencode(query)}"


def answer(sandbox: SandboxState, request: Request) -> Reply:
    """Answer a request for a path under ``/media/``."""
    media_id = media_id_of(request)
    query = {name: values[0] for name, values in parse_qs(request.query).items()}
    expires, signature = query.get("Expires", ""), query.get("Signature", "")
    if request.method not in ("GET", "HEAD"):
        return oss_error(405, "MethodNotAllowed", "The specified method is not allowed.")
    if not expires or not signature:
        return oss_error(403, "AccessDenied", "You have no right to access this object.")
    if not hmac.compare_digest(_signature(sandbox, media_id, expires).encode(), signature.encode()):
        return oss_error(403, "SignatureDoesNotMatch", "The request signature does not match.")
    if sandbox.now() >= int(expires):
        return expired_reply()
    media = sandbox.media.get(media_id)
    if media is None:
        return oss_error(404, "NoSuchKey", "The specified key does not exist.")
    return media_reply(media, request.headers)


def media_reply(media: SandboxMedia, headers: Mapping[str, str]) -> Reply:
    """Return a media file or the ``Range`` of it; 416 if that is outside of it, malformed or multiple."""
    view = memoryview(media.content)
    etag = f'"{media.md5.upper()}"'
    reply = Reply(
        200,
        {
            "Content-Type": media.mime_type,
            "ETag": etag,
            "Accept-Ranges": "bytes",
            "Last-Modified": _LAST_MODIFIED,
        },
        view,
    )
    if "Range" not in headers or headers.get("If-Range", etag) not in (etag, _LAST_MODIFIED):
        return reply
    part = _parse_range(headers["Range"], len(view))
    if part is None:
        reply = oss_error(416, "InvalidRange", "The requested range cannot be satisfied.")
        reply.headers["Content-Range"] = f"bytes */{len(view)}"
        return reply
    reply.status = 206
    reply.body = view[part.start : part.stop]
    reply.headers["Content-Range"] = content_range(part, len(view))
    return reply


def content_range(part: range, size: int) -> str:
    """Return the Content-Range header of a part, given the positions of its bytes."""
    return f"bytes {part.start}-{part.stop - 1}/{size}"


def expired_reply() -> Reply:
    """Return OSS's answer to a URL after its ``Expires``."""
    return oss_error(403, "AccessDenied", "Request has expired.")


def oss_error(status: int, code: str, message: str) -> Reply:
    """Return an error in OSS's XML."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error>\n  <Code>{code}</Code>\n  <Message>{message}</Message>\n</Error>\n"
    )
    return Reply(status, {"Content-Type": "application/xml"}, body.encode())


def _parse_range(value: str, size: int) -> range | None:
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", value)
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if first:
        part = range(int(first), min(int(last) + 1, size) if last else size)
    else:
        part = range(max(0, size - int(last)), size)
    return part or None


def _signature(sandbox: SandboxState, media_id: str, expires: str) -> str:
    text = f"{PREFIX}{media_id}\n{expires}".encode()
    return base64.b64encode(hmac.digest(sandbox.url_key, text, hashlib.sha256)).decode()
