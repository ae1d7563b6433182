"""From an HTTP response of NXCloud's API to ``data``, or to the error that fits."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from airflow_provider_nxcloud.api.codes import describe_code
from airflow_provider_nxcloud.exceptions import (
    TEMPORARY,
    NxCloudError,
    NxCloudRequestError,
    NxCloudUnavailableError,
)
from airflow_provider_nxcloud.http.headers import parse_retry_after
from airflow_provider_nxcloud.http.retries import RETRYABLE_STATUSES
from airflow_provider_nxcloud.http.transport import Response, TransportError, origin
from airflow_provider_nxcloud.text import printable

#: Larger responses are not NXCloud's, in bytes; theirs have a few hundred.
MAX_RESPONSE_BYTES = 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_CHECK_HOST = "check host of the connection"
_NOT_NXCLOUD = f"{TEMPORARY}, or something else answers at host of the connection"


@dataclass(frozen=True)
class ApiCall:
    """What was called, for the texts of errors."""

    action: str
    conn_id: str
    media_id: str | None = None
    business_phone: str | None = None

    def __str__(self) -> str:
        """Begin with what can be changed: Airflow's UI cuts long lines."""
        media = f", media file {self.media_id!r}" if self.media_id is not None else ""
        phone = f", business_phone {self.business_phone}" if self.business_phone else ""
        return f"connection {self.conn_id!r}{media}{phone}, action {self.action}"

    def error(
        self, kind: type[NxCloudError], cause: str, remedy: str, *, message: str = "", **details: Any
    ) -> NxCloudError:
        """Return an error about this call, with what NXCloud says of it."""
        words = f"; NXCloud says {message!r}" if message.lower() not in cause.lower() else ""
        return kind(cause, remedy=remedy, place=f"{self}{words}", media_id=self.media_id, **details)

    def unavailable(self, cause: str, remedy: str = TEMPORARY, **details: Any) -> NxCloudError:
        """Return the error of a call without an answer that NXCloud documents."""
        return self.error(NxCloudUnavailableError, cause, remedy, **details)


@dataclass(frozen=True)
class ApiResponse:
    """NXCloud's envelope."""

    code: int
    data: Any
    message: str
    date: str | None


def parse_response(response: Response, call: ApiCall, *, secrets: tuple[str, ...]) -> ApiResponse:
    """Read a response, its body unread, whatever its code; no echo of the secrets in it gets into a log."""
    with response:
        status = response.status
        said = f"NXCloud answered HTTP {status}"
        if status >= 500 or status in RETRYABLE_STATUSES:
            wait = parse_retry_after(response.headers.get("Retry-After"))
            asks = f" (Retry-After: {wait:.0f} s)" if wait else ""
            # A 429 without it asks for fewer calls all the same.
            raise call.unavailable(said + asks, retry_after=wait or (0.0 if status == 429 else None))
        if 300 <= status < 400:
            to = printable(origin(response.headers.get("Location", "")))[:100]
            remedy = f"{_CHECK_HOST}; a signed call follows no redirect{f', to {to}' if to else ''}"
            raise call.error(NxCloudRequestError, f"{said}, a redirect", remedy)
        try:
            answer = _parse(_read_body(response, call), response, call, secrets)
        except NxCloudUnavailableError:
            if status < 400:
                raise
            raise call.error(NxCloudRequestError, said, _CHECK_HOST) from None
        if status < 400 or describe_code(answer.code).error is not NxCloudUnavailableError:
            return answer
        raise call.error(NxCloudRequestError, said, _CHECK_HOST, message=answer.message)


def data_or_raise(answer: ApiResponse, call: ApiCall) -> dict[str, Any]:
    """Return the data of a successful response, or raise the error that belongs to its code."""
    if answer.code == 0:
        return answer.data or {}
    meaning, remedy, kind = describe_code(answer.code)
    cause = f"NXCloud {answer.code}, {meaning}"
    raise call.error(kind, cause, remedy, message=answer.message, code=answer.code)


def _read_body(response: Response, call: ApiCall) -> bytes:
    body = bytearray()
    try:
        while chunk := response.read1(_CHUNK_BYTES, decode_content=True):
            body += chunk
            if len(body) > MAX_RESPONSE_BYTES:
                cause = f"NXCloud's response is larger than {MAX_RESPONSE_BYTES} bytes"
                raise call.unavailable(cause, _NOT_NXCLOUD)
    except TransportError as error:
        raise call.unavailable(f"NXCloud's response broke off: {error}") from None
    return bytes(body)


def _parse(body: bytes, response: Response, call: ApiCall, secrets: tuple[str, ...]) -> ApiResponse:
    try:
        # Words in another encoding, or with a line break in them, hide no code.
        envelope = json.loads(body.decode(json.detect_encoding(body), "replace"), strict=False)
    except (ValueError, RecursionError):
        kind = _redact(response.headers.get("Content-Type", "no type"), secrets)[:50]
        cause = f"NXCloud's response is not JSON but {len(body)} bytes of {kind!r}"
        raise call.unavailable(cause, _NOT_NXCLOUD) from None
    envelope = envelope if isinstance(envelope, dict) else {}
    number = re.fullmatch(r"\s*(-?[0-9]{1,9})(\.0+)?\s*", str(envelope.get("code")))
    code, data = number and int(number[1]), envelope.get("data")
    # What comes with an error is read by nobody.
    if code is None or (code == 0 and not isinstance(data, dict | None)):
        cause = "NXCloud's response does not have the documented shape (code, message, data)"
        raise call.unavailable(cause, _NOT_NXCLOUD)
    # With success it is shown nowhere.
    message = _redact(str(envelope.get("message") or ""), secrets) if code else ""
    return ApiResponse(code, data, message, response.headers.get("Date"))


def _redact(text: str, secrets: tuple[str, ...]) -> str:
    """Make a text from outside fit for a log: no secret, no query of a URL, printable and short."""
    text = re.sub("|".join(map(re.escape, secrets)), "***", text, flags=re.IGNORECASE)
    return printable(re.sub(r"\?\S*", "?...", text))[:200]
