"""What NXCloud's API answers: from an HTTP response to ``data``, or to the error that fits."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from airflow_provider_nxcloud.exceptions import (
    NxCloudError,
    NxCloudRequestError,
    NxCloudUnavailableError,
    describe_code,
)
from airflow_provider_nxcloud.retries import TRY_AGAIN_STATUSES, parse_retry_after
from airflow_provider_nxcloud.transport import network_cause

#: More than this is no answer of NXCloud's, in bytes; theirs have some hundred.
MAX_ANSWER_BYTES = 1024 * 1024
_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Question:
    """
    What was asked, for the texts of errors.

    :param action: the action called.
    :param conn_id: the Airflow Connection it went through.
    :param media_id: the media asked for, None where the action is not about one.
    """

    action: str
    conn_id: str
    media_id: str | None = None

    def __str__(self) -> str:
        media = f" of media {self.media_id!r}" if self.media_id is not None else ""
        return f"{self.action}{media} through connection {self.conn_id!r}"

    def error(self, kind: type[NxCloudError], problem: str, **details: Any) -> NxCloudError:
        """Return an error of that kind about this question; ``details`` are the error's own attributes."""
        return kind(f"{self}: {problem}", media_id=self.media_id, **details)


@dataclass(frozen=True)
class Answer:
    """
    NXCloud's envelope.

    :param code: 0 for success.
    :param data: what was asked for; empty where NXCloud sends null.
    :param message: NXCloud's own words, fit for a log where the code is not 0.
    :param date: the ``Date`` header, NXCloud's clock.
    """

    code: int
    data: dict[str, Any]
    message: str
    date: str | None


def read_answer(response: BaseHTTPResponse, question: Question, *, secrets: tuple[str, ...]) -> Answer:
    """
    Read a response that has not been read yet.

    :param response: the response, its body unread.
    :param question: what was asked.
    :param secrets: what an echo of it in the answer must not bring into a log.
    :return: the answer, whatever its code.
    :raises NxCloudUnavailableError: when it is none (overload, broken, too large, too slow): may pass.
    :raises NxCloudRequestError: when the HTTP status says that the request itself is wrong.
    """
    with response:
        status = response.status
        if status >= 500 or status in TRY_AGAIN_STATUSES:
            wait = parse_retry_after(response.headers.get("Retry-After"))
            asks = f" and asks to wait {wait:.0f} s" if wait else ""
            raise question.error(
                NxCloudUnavailableError,
                f"NXCloud answered HTTP {status}{asks}; it may pass later",
                # A 429 without it asks for fewer calls all the same.
                retry_after=wait or (0.0 if status == 429 else None),
            )
        if 300 <= status < 400:
            raise question.error(
                NxCloudRequestError,
                f"NXCloud answered HTTP {status}, a redirect, which a signed call never follows; "
                "check host of the connection",
            )
        try:
            answer = _parse(_read_body(response, question), response, question, secrets)
        except NxCloudUnavailableError:
            if status < 400:
                raise
            answer = None
        if answer is None or (status >= 400 and describe_code(answer.code).error is NxCloudUnavailableError):
            raise question.error(
                NxCloudRequestError, f"NXCloud answered HTTP {status}; check host of the connection"
            )
        if answer.code == 0:
            return answer  # its message is shown nowhere
        return replace(answer, message=_presentable(answer.message, secrets))


def unwrap(answer: Answer, question: Question) -> dict[str, Any]:
    """
    Return the data of a successful answer.

    :param answer: NXCloud's answer.
    :param question: what was asked.
    :return: its ``data``.
    :raises NxCloudError: the subclass that belongs to its code when that is not 0.
    """
    if answer.code == 0:
        return answer.data
    meaning, remedy, kind = describe_code(answer.code)
    said = f"; NXCloud says {answer.message!r}" if answer.message else ""
    raise question.error(
        kind, f"NXCloud answered {answer.code} ({meaning}{said}); {remedy}", code=answer.code
    )


def _read_body(response: BaseHTTPResponse, question: Question) -> bytes:
    body = bytearray()
    try:
        while chunk := response.read1(_CHUNK_BYTES, decode_content=True):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise question.error(
                    NxCloudUnavailableError, f"the answer is over {MAX_ANSWER_BYTES} bytes, so not NXCloud's"
                )
    except (HTTPError, OSError) as error:
        raise question.error(
            NxCloudUnavailableError, f"the answer broke off: {network_cause(error)}"
        ) from None
    return bytes(body)


def _parse(body: bytes, response: BaseHTTPResponse, question: Question, secrets: tuple[str, ...]) -> Answer:
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError):
        kind = _presentable(response.headers.get("Content-Type", "no type"), secrets)[:50]
        raise question.error(
            NxCloudUnavailableError, f"the answer is not JSON but {len(body)} bytes of {kind!r}"
        ) from None
    code = envelope.get("code") if isinstance(envelope, dict) else None
    data = envelope.get("data") if isinstance(envelope, dict) else None
    if not isinstance(code, int) or isinstance(code, bool) or not isinstance(data, dict | None):
        raise question.error(
            NxCloudUnavailableError, "the answer has not the documented shape (code, message, data)"
        )
    return Answer(code, data or {}, str(envelope.get("message") or ""), response.headers.get("Date"))


def _presentable(text: str, secrets: tuple[str, ...]) -> str:
    """Make a text from outside fit for a log: no secret, no query of a URL, printable and short."""
    text = re.sub("|".join(map(re.escape, secrets)), "***", text, flags=re.IGNORECASE)
    text = re.sub(r"\?\S*", "?...", text)
    return "".join(character for character in text if character.isprintable())[:200]
