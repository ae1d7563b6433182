"""Signing at send time: the ``requests`` auth that signs each attempt with a timestamp of its own."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from requests import PreparedRequest, Response
from requests.auth import AuthBase

from airflow_provider_nxcloud.http.headers import parse_http_date
from airflow_provider_nxcloud.signature import sign

__all__ = ["NxCloudAuth", "sign"]

#: NXCloud's code for a timestamp more than a minute off its clock.
TIMESTAMP_EXPIRED = 1004


class NxCloudAuth(AuthBase):
    """
    Sign a prepared request the way NXCloud's "API Interface Invocation Convention" asks.

    The action is the last segment of the URL's path. ``ts`` and ``sign`` are new each time the auth is
    applied, so every attempt of a retried call carries its own. A call whose timestamp NXCloud calls expired
    (1004) is repeated once with NXCloud's clock, which is kept for the calls that follow.

    :param access_key: who calls, the ``accessKey`` header.
    :param access_secret: the secret that belongs to the access key; never sent.
    :param biz_type: the business type, default ``"2"`` (WhatsApp).
    :param clock: returns seconds since the epoch, default :func:`time.time`.
    """

    def __init__(
        self,
        access_key: str,
        access_secret: str,
        *,
        biz_type: str = "2",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._access_key = access_key
        self._access_secret = access_secret
        self._biz_type = biz_type
        self._clock = clock
        #: Seconds that NXCloud's clock is ahead of this machine's, as far as :meth:`learn_clock` was told.
        self.clock_offset = 0.0

    def learn_clock(self, date: str | None) -> bool:
        """
        Take NXCloud's time from an answer, so that the next signature carries a timestamp it accepts.

        :param date: the ``Date`` header of the answer, None where it has none.
        :return: whether it could be read.
        """
        theirs = parse_http_date(date)
        if theirs is not None:
            self.clock_offset = theirs - self._clock()
        return theirs is not None

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """
        Add the five headers to a request that is about to be sent.

        :param request: the prepared request; its body must be in memory, because its bytes are signed.
        :return: the same request.
        :raises TypeError: when the body is a stream.
        """
        body = _signed_body(request)
        action = urlsplit(request.url or "").path.rstrip("/").rpartition("/")[2]
        request.headers.update(self.headers(action, body))
        request.register_hook("response", self._repeat_with_their_clock)  # type: ignore[no-untyped-call]
        return request

    def _repeat_with_their_clock(self, response: Response, **kwargs: Any) -> Response:
        """Repeat a call once whose timestamp NXCloud called expired, as requests' digest auth does with a 401."""
        if not _timestamp_expired(response) or not self.learn_clock(response.headers.get("Date")):
            return response
        response.close()
        request = response.request.copy()
        request.deregister_hook("response", self._repeat_with_their_clock)  # type: ignore[no-untyped-call]
        request.headers.update(self.headers(request.headers["action"], _signed_body(request)))
        repeated: Response = response.connection.send(request, **kwargs)
        repeated.history.append(response)
        return repeated

    def headers(self, action: str, body: str | bytes | None) -> dict[str, str]:
        """
        Sign a call now.

        :param action: the action.
        :param body: the body as it is sent, None for ``multipart/form-data``.
        :return: the five headers.
        """
        ts = str(round((self._clock() + self.clock_offset) * 1000))
        return {
            "accessKey": self._access_key,
            "ts": ts,
            "bizType": self._biz_type,
            "action": action,
            "sign": sign(
                access_key=self._access_key,
                action=action,
                biz_type=self._biz_type,
                ts=ts,
                body=body,
                access_secret=self._access_secret,
            ),
        }


def _signed_body(request: PreparedRequest) -> str | bytes | None:
    body = request.body
    if body is not None and not isinstance(body, str | bytes):
        raise TypeError("NXCloud signs the bytes of the body: give it as str or bytes, not as a stream")
    # NXCloud leaves multipart bodies out of the signature.
    multipart = str(request.headers.get("Content-Type", "")).startswith("multipart/form-data")
    return None if multipart else body


def _timestamp_expired(response: Response) -> bool:
    # An answer of NXCloud's is short; a long one, or one without a length, is none and stays unread.
    if not re.fullmatch("[0-9]{1,5}", response.headers.get("Content-Length", "")):
        return False
    try:
        answer = response.json()
    except ValueError:
        return False
    return isinstance(answer, dict) and str(answer.get("code")).strip() == str(TIMESTAMP_EXPIRED)
