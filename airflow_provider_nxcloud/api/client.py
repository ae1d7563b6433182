"""The client: signed calls to NXCloud's API, retried and limited to the rate that NXCloud accepts."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_nxcloud.api.codes import describe_code
from airflow_provider_nxcloud.api.rate_limiter import AdaptiveRateLimiter
from airflow_provider_nxcloud.api.response import ApiCall, ApiResponse, data_or_raise, parse_response
from airflow_provider_nxcloud.auth import TIMESTAMP_EXPIRED, NxCloudAuth
from airflow_provider_nxcloud.connection.settings import ConnectionSettings
from airflow_provider_nxcloud.exceptions import (
    TEMPORARY,
    NxCloudError,
    NxCloudInputError,
    NxCloudMediaNotReadyError,
    NxCloudRequestError,
    NxCloudUnavailableError,
)
from airflow_provider_nxcloud.http.retries import RETRY_LOG_INTERVAL, call_with_retries
from airflow_provider_nxcloud.http.transport import Transport, TransportError, origin
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


class NxCloudClient:
    """
    Call NXCloud's API with checked settings. May be used by many threads at once.

    Transient failures (no connection, time-out, 429 with its ``Retry-After``, 5xx, invalid responses,
    codes -1 and 9001) are retried up to ``max_attempts``, each attempt signed again. After a response with
    ``Retry-After`` all calls of this client wait and slow down
    (:mod:`airflow_provider_nxcloud.api.rate_limiter`).
    When NXCloud calls the timestamp expired (1004), the client learns its clock from the response and repeats
    the call.
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
        """Call a JSON action of bizType 2 (WhatsApp), with retries."""
        if not (action.isascii() and action.isalnum()):
            raise NxCloudInputError(f"action must be the name of an NXCloud action, not {action!r:.100}")
        call = ApiCall(action, self.settings.conn_id)
        return self._with_retries(lambda: data_or_raise(self._ask(call, payload), call))

    def get_media(self, media_id: str, business_phone: str | None = None) -> Media:
        """Ask where a media file can be downloaded, with retries."""
        return self._with_retries(lambda: self._get_media_once(media_id, business_phone))

    def delete_media(self, media_id: str) -> bool:
        """Delete a media file at NXCloud, with retries only while it does not answer."""
        check_media_id(media_id, "media_id")

        def delete() -> bool:
            call, data = self._ask_about_media("deleteMedia", media_id, None)
            if not isinstance(success := data.get("success"), bool):
                cause = "NXCloud did not say whether it deleted the media file"
                raise call.error(NxCloudMediaNotReadyError, cause, TEMPORARY)
            return success

        return self._with_retries(delete, NxCloudUnavailableError)

    def is_available(self, media_id: str, business_phone: str | None = None) -> bool:
        """Ask once whether a media file is available; what waiting can never fix is raised."""
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
        """Prove the settings with a read-only call, or raise what is wrong with them."""
        call, payload = self._about_media("getMedia", _PROBE_MEDIA_ID, None)
        call = replace(call, media_id=None)
        answer = self._ask(call, payload)
        # NXCloud says that the number is missing only after it has accepted the signature.
        if answer.code == _BODY_PARAMETER_MISSING and not self.settings.business_phone:
            return
        # Any code proves a connection but those that say what is wrong with it.
        if issubclass(describe_code(answer.code).error, AirflowFailException):
            data_or_raise(answer, call)

    def _with_retries(self, attempt: Callable[[], T], *transient: type[NxCloudError]) -> T:
        return call_with_retries(
            lambda: self._rate_limiter.call(attempt),
            *(transient or (NxCloudUnavailableError, NxCloudMediaNotReadyError)),
            max_attempts=self.settings.max_attempts,
            sleep=self._sleep,
            log_once=self._log_once,
        )

    def _about_media(
        self, action: str, media_id: str, business_phone: str | None
    ) -> tuple[ApiCall, dict[str, str]]:
        """Return a call about one media file and its body."""
        phone, source = business_phone, "media_ids"
        if not phone:
            phone, source = self.settings.business_phone, self.settings.phone_source
        call = ApiCall(action, self.settings.conn_id, media_id, phone and f"{phone} ({source})")
        payload = {"messaging_product": "whatsapp", "Media-ID": media_id}
        return call, {"business_phone": phone, **payload} if phone else payload

    def _ask_about_media(
        self, action: str, media_id: str, business_phone: str | None
    ) -> tuple[ApiCall, dict[str, Any]]:
        call, payload = self._about_media(action, media_id, business_phone)
        if "business_phone" not in payload:
            remedy = "give it as an argument or in the extra of the connection"
            raise call.error(NxCloudInputError, "business_phone is missing", remedy)
        return call, data_or_raise(self._ask(call, payload), call)

    def _get_media_once(self, media_id: str, business_phone: str | None) -> Media:
        call, data = self._ask_about_media("getMedia", media_id, business_phone)
        url, mime_type, file_name = (
            value if isinstance(value := data.get(key), str) else ""
            for key in ("url", "mime_type", "file_name")
        )
        if not (url := url.strip()):
            raise call.error(NxCloudMediaNotReadyError, "NXCloud answered success without a url", TEMPORARY)
        return Media(media_id, printable(mime_type) or None, printable(file_name) or None, url)

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
        deadline = time.monotonic() + RESPONSE_TIMEOUTS * settings.timeout
        headers = {"Content-Type": "application/json"}

        def sign() -> dict[str, str]:
            headers.update(self.auth.headers(call.action, body))
            return headers

        try:
            response = self._transport.send("POST", url, sign, body, deadline=deadline)
        except TransportError as error:
            check = f"check network, proxies and host of the connection, {origin(settings.base_url)}"
            raise call.unavailable(f"NXCloud cannot be reached: {error}", error.remedy or check) from None
        return parse_response(response, call, secrets=(headers["sign"], settings.access_secret))
