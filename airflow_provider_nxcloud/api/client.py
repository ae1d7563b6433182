"""The client: signed calls to NXCloud's API, retried and limited to the rate that NXCloud accepts."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_nxcloud.api.rate_limiter import AdaptiveRateLimiter
from airflow_provider_nxcloud.api.response import ApiCall, ApiResponse, data_or_raise, parse_response
from airflow_provider_nxcloud.auth import TIMESTAMP_EXPIRED, NxCloudAuth
from airflow_provider_nxcloud.connection.base_url import origin
from airflow_provider_nxcloud.connection.settings import ConnectionSettings
from airflow_provider_nxcloud.exceptions import (
    TEMPORARY,
    NxCloudError,
    NxCloudInputError,
    NxCloudMediaNotReadyError,
    NxCloudRequestError,
    NxCloudUnavailableError,
    describe_code,
)
from airflow_provider_nxcloud.http.retries import RETRY_LOG_INTERVAL, call_with_retries
from airflow_provider_nxcloud.http.transport import Transport, TransportError
from airflow_provider_nxcloud.media import Media, check_media_id
from airflow_provider_nxcloud.text import OncePerCause, printable

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Connections to the API kept open; further callers do not wait, they open new ones.
API_CONNECTIONS = 256
#: A call may take this many times the connection's ``timeout`` in all, so that a response that drips ends too.
RESPONSE_TIMEOUTS = 2
#: An ID that NXCloud never gives, for a read-only call whose response proves the connection.
_PROBE_MEDIA_ID = "0"
_BODY_PARAMETER_MISSING = 9000
_TRANSIENT = (NxCloudUnavailableError, NxCloudMediaNotReadyError)


class NxCloudClient:
    """
    Call NXCloud's API with checked settings. May be used by many threads at once.

    Transient failures (no connection, time-out, 429 with its ``Retry-After``, 5xx, invalid responses,
    codes -1 and 9001) are retried up to ``max_attempts``, each attempt signed again. After a response with
    ``Retry-After`` all calls of this client wait and slow down
    (:mod:`airflow_provider_nxcloud.api.rate_limiter`).
    When NXCloud calls the timestamp expired (1004), the client learns its clock from the response and repeats
    the call.

    :param settings: the connection's settings.
    :param sleep: waits between attempts, that many seconds; may raise, which ends the call.
    :param log_once: chooses which failures are logged; default: one a minute and cause.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        *,
        sleep: Callable[[float], None] = time.sleep,
        log_once: OncePerCause | None = None,
    ) -> None:
        self.settings = settings
        self.auth = NxCloudAuth(settings.access_key, settings.access_secret)
        self._transport = Transport(settings, connections=API_CONNECTIONS)
        self._rate_limiter = AdaptiveRateLimiter(sleep)
        self._sleep = sleep
        self._log_once = log_once or OncePerCause(RETRY_LOG_INTERVAL)

    def call(self, action: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """
        Call a JSON action of bizType 2 (WhatsApp), with retries.

        Source: NXCloud, "API Interface Invocation Convention".

        :param action: the action, for example ``deleteMedia``; the last segment of the URL.
        :param payload: the body, JSON-serialisable.
        :return: the response's ``data``; empty where NXCloud sends none.
        :raises NxCloudInputError: when the action is not a word.
        :raises NxCloudError: the subclass that fits the response, see :mod:`airflow_provider_nxcloud.exceptions`.
        """
        if not (action.isascii() and action.isalnum()):
            raise NxCloudInputError(f"action must be the name of an NXCloud action, not {action!r:.100}")
        call = ApiCall(action, self.settings.conn_id)
        return self._with_retries(lambda: data_or_raise(self._ask(call, payload), call))

    def get_media(self, media_id: str, business_phone: str | None = None) -> Media:
        """
        Ask where a media file can be downloaded, with retries.

        Source: NXCloud, "WhatsApp API getMedia".

        :param media_id: the media ID.
        :param business_phone: the merchant number it was sent to; None for the one in the settings.
        :return: MIME type, file name and the URL, which lives for minutes.
        :raises NxCloudMediaNotReadyError: when NXCloud cannot serve this media file now.
        :raises NxCloudError: the subclass that fits the response otherwise.
        """
        return self._with_retries(lambda: self._get_media_once(media_id, business_phone))

    def delete_media(self, media_id: str, business_phone: str | None = None) -> bool:
        """
        Delete a media file at NXCloud, as ``NxCloudHook.delete_media`` describes.

        :param media_id: the media ID.
        :param business_phone: the merchant number it was sent to; None for the one in the settings.
        :return: ``data.success``.
        :raises NxCloudError: the subclass that fits the response.
        """
        check_media_id(media_id, "media_id")

        def delete() -> bool:
            call, data = self._ask_about_media("deleteMedia", media_id, business_phone)
            if not isinstance(success := data.get("success"), bool):
                raise call.error(
                    NxCloudMediaNotReadyError,
                    "NXCloud did not say whether it deleted the media file",
                    TEMPORARY,
                )
            return success

        return self._with_retries(delete, NxCloudUnavailableError)

    def is_available(self, media_id: str, business_phone: str | None = None) -> bool:
        """
        Ask once, without retries, whether a media file is available.

        :param media_id: the media ID.
        :param business_phone: the merchant number it was sent to; None for the one in the settings.
        :return: False also, with a log line, while the API cannot be reached or returns an invalid response.
        :raises NxCloudError: the subclass that fits, when waiting can never help.
        """
        try:
            self._get_media_once(media_id, business_phone)
        except NxCloudMediaNotReadyError:
            return False
        except (NxCloudUnavailableError, NxCloudRequestError) as error:
            if isinstance(error, NxCloudRequestError) and error.code is not None:
                raise
            if self._log_once.is_due(error.summary):
                log.warning("Cannot check whether media files are available: %s", error)
            return False
        return True

    def probe(self) -> None:
        """
        Prove the settings with a read-only call: getMedia for an ID that does not exist.

        :raises NxCloudError: the subclass that says what is wrong; any other response proves the settings.
        """
        phone = self.settings.business_phone
        call = ApiCall("getMedia", self.settings.conn_id, business_phone=self._phone_text(None))
        payload = {"messaging_product": "whatsapp", "Media-ID": _PROBE_MEDIA_ID}
        answer = self._ask(call, {"business_phone": phone, **payload} if phone else payload)
        # Asked without a number, NXCloud misses one only after it has accepted the signature.
        if answer.code == _BODY_PARAMETER_MISSING and not phone:
            return
        # Any code proves a connection but those that say what is wrong with it.
        if issubclass(describe_code(answer.code).error, AirflowFailException):
            data_or_raise(answer, call)

    def _phone_text(self, given: str | None) -> str | None:
        """Return the number that getMedia is called with, and who gave it."""
        settings = self.settings
        phone, source = (given, "media_ids") if given else (settings.business_phone, settings.phone_source)
        return phone and f"{phone} ({source})"

    def _with_retries(self, attempt: Callable[[], T], *transient: type[NxCloudError]) -> T:
        return call_with_retries(
            lambda: self._rate_limiter.call(attempt),
            *(transient or _TRANSIENT),
            max_attempts=self.settings.max_attempts,
            sleep=self._sleep,
            log_once=self._log_once,
        )

    def _ask_about_media(
        self, action: str, media_id: str, business_phone: str | None
    ) -> tuple[ApiCall, dict[str, Any]]:
        call = ApiCall(action, self.settings.conn_id, media_id, self._phone_text(business_phone))
        phone = business_phone or self.settings.business_phone
        if phone is None:
            raise call.error(
                NxCloudInputError,
                "business_phone is missing",
                "give it as an argument or in the extra of the connection",
            )
        payload = {"business_phone": phone, "messaging_product": "whatsapp", "Media-ID": media_id}
        return call, data_or_raise(self._ask(call, payload), call)

    def _get_media_once(self, media_id: str, business_phone: str | None) -> Media:
        call, data = self._ask_about_media("getMedia", media_id, business_phone)
        url, mime_type, file_name = (data.get(key) for key in ("url", "mime_type", "file_name"))
        if not isinstance(url, str) or not url:
            raise call.error(NxCloudMediaNotReadyError, "NXCloud answered success without a url", TEMPORARY)
        return Media(
            media_id,
            printable(mime_type) if isinstance(mime_type, str) else None,
            printable(file_name) if isinstance(file_name, str) else None,
            url,
        )

    def _ask(self, call: ApiCall, payload: Mapping[str, Any]) -> ApiResponse:
        body = json.dumps(payload).encode()
        answer = self._post(call, body)
        if answer.code == TIMESTAMP_EXPIRED and self.auth.learn_clock(answer.date):
            offset = self.auth.clock_offset
            log.warning(
                "NXCloud's clock is %.0f s %s this machine's; signing with NXCloud's time",
                abs(offset),
                "ahead of" if offset > 0 else "behind",
            )
            answer = self._post(call, body)
        return answer

    def _post(self, call: ApiCall, body: bytes) -> ApiResponse:
        settings = self.settings
        url = f"{settings.base_url}/api/wa/{call.action}"
        until = time.monotonic() + RESPONSE_TIMEOUTS * settings.timeout
        headers = {"Content-Type": "application/json"}

        def sign() -> dict[str, str]:
            headers.update(self.auth.headers(call.action, body))
            return headers

        try:
            response = self._transport.send("POST", url, sign, body, until=until)
        except TransportError as error:
            raise call.error(
                NxCloudUnavailableError,
                f"NXCloud cannot be reached: {error}",
                error.remedy
                or f"check network, proxies and host of the connection, {origin(settings.base_url)}",
            ) from None
        return parse_response(response, call, secrets=(headers["sign"], settings.access_secret))
