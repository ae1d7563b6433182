"""From an HTTP response of NXCloud's API to ``data``, or to the error that fits."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_nxcloud.exceptions import (
    TEMPORARY,
    NxCloudError,
    NxCloudRequestError,
    NxCloudUnavailableError,
    describe_code,
)
from airflow_provider_nxcloud.http.retries import RETRYABLE_STATUSES, parse_retry_after
from airflow_provider_nxcloud.http.transport import Response, TransportError

#: Larger responses are not NXCloud's, in bytes; theirs have a few hundred.
MAX_RESPONSE_BYTES = 1024 * 1024
_CHUNK_BYTES = 64 * 1024
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
        self, kind: type[NxCloudError], cause: str, remedy: str = "", *, said: str = "", **details: Any
    ) -> NxCloudError:
        """Return an error about this call; ``said`` are NXCloud's own words, ``details`` its attributes."""
        words = f"; NXCloud says {said!r}" if said.lower() not in cause.lower() else ""
        return kind(cause, remedy=remedy, place=f"{self}{words}", media_id=self.media_id, **details)


@dataclass(frozen=True)
class ApiResponse:
    """NXCloud's envelope."""

    code: int
    data: dict[str, Any]
    message: str
    date: str | None


def parse_response(response: Response, call: ApiCall, *, secrets: tuple[str, ...]) -> ApiResponse:
    """Read a response, its body unread, whatever its code; no echo of the secrets in it gets into a log."""
    with response:
        status = response.status
        if status >= 500 or status in RETRYABLE_STATUSES:
            wait = parse_retry_after(response.headers.get("Retry-After"))
            asks = f" (Retry-After: {wait:.0f} s)" if wait else ""
            raise call.error(
                NxCloudUnavailableError,
                f"NXCloud answered HTTP {status}{asks}",
                TEMPORARY,
                # A 429 without it asks for fewer calls all the same.
                retry_after=wait or (0.0 if status == 429 else None),
            )
        if 300 <= status < 400:
            raise call.error(
                NxCloudRequestError,
                f"NXCloud answered HTTP {status}, a redirect",
                "check host of the connection; a signed call follows no redirect",
            )
        try:
            answer = _parse(_read_body(response, call), response, call, secrets)
        except NxCloudUnavailableError:
            if status < 400:
                raise
            answer = None
        if answer is None or (status >= 400 and describe_code(answer.code).error is NxCloudUnavailableError):
            raise call.error(
                NxCloudRequestError, f"NXCloud answered HTTP {status}", "check host of the connection"
            )
        if answer.code == 0:
            return answer  # its message is shown nowhere
        return replace(answer, message=redact(answer.message, secrets))


def data_or_raise(answer: ApiResponse, call: ApiCall) -> dict[str, Any]:
    """Return the data of a successful response, or raise the error that belongs to its code."""
    if answer.code == 0:
        return answer.data
    meaning, remedy, kind = describe_code(answer.code)
    raise call.error(kind, f"NXCloud {answer.code}, {meaning}", remedy, said=answer.message, code=answer.code)


def _read_body(response: Response, call: ApiCall) -> bytes:
    body = bytearray()
    try:
        while chunk := response.read1(_CHUNK_BYTES, decode_content=True):
            body += chunk
            if len(body) > MAX_RESPONSE_BYTES:
                raise call.error(
                    NxCloudUnavailableError,
                    f"NXCloud's response is larger than {MAX_RESPONSE_BYTES} bytes",
                    _NOT_NXCLOUD,
                )
    except TransportError as error:
        raise call.error(
            NxCloudUnavailableError, f"NXCloud's response broke off: {error}", TEMPORARY
        ) from None
    return bytes(body)


def _parse(body: bytes, response: Response, call: ApiCall, secrets: tuple[str, ...]) -> ApiResponse:
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError):
        kind = redact(response.headers.get("Content-Type", "no type"), secrets)[:50]
        raise call.error(
            NxCloudUnavailableError,
            f"NXCloud's response is not JSON but {len(body)} bytes of {kind!r}",
            _NOT_NXCLOUD,
        ) from None
    envelope = envelope if isinstance(envelope, dict) else {}
    code, data = envelope.get("code"), envelope.get("data")
    if isinstance(code, str) and re.fullmatch(r"-?[0-9]{1,9}", code.strip()):
        code = int(code)
    # What comes with an error is read by nobody.
    if type(code) is not int or (code == 0 and not isinstance(data, dict | None)):
        raise call.error(
            NxCloudUnavailableError,
            "NXCloud's response does not have the documented shape (code, message, data)",
            _NOT_NXCLOUD,
        )
    data = data if isinstance(data, dict) else {}
    return ApiResponse(code, data, str(envelope.get("message") or ""), response.headers.get("Date"))


def redact(text: str, secrets: tuple[str, ...]) -> str:
    """Make a text from outside fit for a log: no secret, no query of a URL, printable and short."""
    text = re.sub("|".join(map(re.escape, secrets)), "***", text, flags=re.IGNORECASE)
    text = re.sub(r"\?\S*", "?...", text)
    return "".join(character for character in text if character.isprintable())[:200]
