"""Downloads as Alibaba Cloud OSS serves them: signed URLs that expire, ETag, Range."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from email.utils import formatdate
from urllib.parse import parse_qs, quote, urlencode

from airflow_provider_nxcloud.sandbox.http import Reply
from airflow_provider_nxcloud.sandbox.media import SandboxMedia
from airflow_provider_nxcloud.sandbox.state import MEDIA_PATH, SandboxRequest, SandboxState

# A fixed date in the past: it only has to stay the same from one request to the next.
_LAST_MODIFIED = formatdate(1_700_000_000, usegmt=True)


def signed_url(sandbox: SandboxState, media_id: str) -> str:
    """Return a URL that gives whoever holds it access to a media file until it expires."""
    expires = str(int(sandbox.now() + sandbox.url_lifetime))
    query = {
        "Expires": expires,
        "OSSAccessKeyId": "sandbox-oss-key",
        "Signature": _signature(sandbox, media_id, expires),
    }
    return f"{sandbox.base_url}{MEDIA_PATH}{quote(media_id, safe='')}?{urlencode(query)}"


def answer(sandbox: SandboxState, request: SandboxRequest) -> Reply:
    """Answer a request for a path under ``/media/``."""
    media_id = request.media_id or ""
    query = {name: values[0] for name, values in parse_qs(request.query).items()}
    expires, signature = query.get("Expires", ""), query.get("Signature", "")
    if request.method not in ("GET", "HEAD"):
        return _error(405, "MethodNotAllowed", "The specified method is not allowed.")
    if not expires or not signature:
        return _error(403, "AccessDenied", "You have no right to access this object.")
    if not hmac.compare_digest(_signature(sandbox, media_id, expires).encode(), signature.encode()):
        return _error(403, "SignatureDoesNotMatch", "The request signature does not match.")
    if sandbox.now() >= int(expires):
        return expired_reply()
    media = sandbox.media.get(media_id)
    if media is None:
        return _error(404, "NoSuchKey", "The specified key does not exist.")
    is_same = request.headers.get("If-Range") in (None, _etag(media), _LAST_MODIFIED)
    return media_reply(media, request.headers.get("Range") if is_same else None)


def expired_reply() -> Reply:
    """Return OSS's answer to a URL after its ``Expires``."""
    return _error(403, "AccessDenied", "Request has expired.")


def media_reply(media: SandboxMedia, wanted: str | None = None) -> Reply:
    """Return a media file or the wanted ``Range``; 416 if that is outside of it, malformed or multiple."""
    size = len(media.content)
    headers = {
        "Content-Type": media.mime_type,
        "ETag": _etag(media),
        "Accept-Ranges": "bytes",
        "Last-Modified": _LAST_MODIFIED,
    }
    if wanted is None:
        return Reply(200, headers, media.content)
    part = _parse_range(wanted, size)
    if not part:
        reply = _error(416, "InvalidRange", "The requested range cannot be satisfied.")
        reply.headers["Content-Range"] = f"bytes */{size}"
        return reply
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    return Reply(206, headers, memoryview(media.content)[part.start : part.stop])


def _etag(media: SandboxMedia) -> str:
    return f'"{media.md5.upper()}"'


def _parse_range(value: str, size: int) -> range | None:
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", value)
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if first:
        return range(int(first), min(int(last) + 1, size) if last else size)
    return range(max(0, size - int(last)), size)


def _error(status: int, code: str, message: str) -> Reply:
    """Return an error in OSS's XML."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error>\n  <Code>{code}</Code>\n  <Message>{message}</Message>\n</Error>\n"
    )
    return Reply(status, {"Content-Type": "application/xml"}, body.encode())


def _signature(sandbox: SandboxState, media_id: str, expires: str) -> str:
    text = f"{MEDIA_PATH}{media_id}\n{expires}".encode()
    return base64.b64encode(hmac.digest(sandbox.url_key, text, hashlib.sha256)).decode()
