"""The hook: an Airflow Connection becomes signed calls to NXCloud's API."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import requests
from airflow.providers.common.compat.sdk import AirflowFailException, BaseHook
from urllib3.exceptions import HTTPError

from airflow_provider_nxcloud.answers import Answer, Question, read_answer, unwrap
from airflow_provider_nxcloud.auth import TIMESTAMP_EXPIRED, NxCloudAuth
from airflow_provider_nxcloud.connection import ConnectionSettings, named_connection
from airflow_provider_nxcloud.connection_form import get_connection_form_widgets, get_ui_field_behaviour
from airflow_provider_nxcloud.exceptions import (
    NxCloudInputError,
    NxCloudMediaNotReadyError,
    NxCloudRequestError,
    NxCloudUnavailableError,
    describe_code,
)
from airflow_provider_nxcloud.media import Media, presentable
from airflow_provider_nxcloud.pace import Pace
from airflow_provider_nxcloud.retries import call_with_retries
from airflow_provider_nxcloud.transport import (
    USER_AGENT,
    Transport,
    network_cause,
    proxies_for,
    tls_verification,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Connections to the API kept open; more callers than that wait for no one, they only connect anew.
API_CONNECTIONS = 256
#: A call may take this many times the connection's ``timeout`` in all, so that an answer that drips ends too.
ANSWER_TIMEOUTS = 2
#: An ID that NXCloud never gives, for a read-only question whose answer proves the connection.
_PROBE_MEDIA_ID = "0"
_BODY_PARAMETER_MISSING = 9000


class NxCloudHook(BaseHook):
    """
    Call NXCloud's WhatsApp API with the credentials of an Airflow Connection.

    Transient failures (no connection, time-out, 429 with its ``Retry-After``, 5xx, answers that make no sense,
    codes -1 and 9001) are retried up to the connection's ``max_attempts``, each attempt signed anew. After an
    answer with ``Retry-After`` all calls of this hook wait and slow down (:mod:`airflow_provider_nxcloud.pace`).
    When NXCloud calls the timestamp expired (1004), the hook learns its clock from the answer and repeats the
    call.

    :param nxcloud_conn_id: the Airflow Connection, default ``nxcloud_default``.
    :param business_phone: the merchant number; default: ``business_phone`` in the connection's extra.
    :param sleep: waits between attempts, that many seconds; default :func:`time.sleep`.
    """

    conn_name_attr = "nxcloud_conn_id"
    default_conn_name = "nxcloud_default"
    conn_type = "nxcloud"
    hook_name = "NXCloud"

    get_connection_form_widgets = staticmethod(get_connection_form_widgets)
    get_ui_field_behaviour = staticmethod(get_ui_field_behaviour)

    def __init__(
        self,
        nxcloud_conn_id: str = default_conn_name,
        business_phone: str | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__()
        self.nxcloud_conn_id = nxcloud_conn_id
        self.business_phone = business_phone
        self._sleep = sleep
        self._pace = Pace(sleep)

    @cached_property
    def settings(self) -> ConnectionSettings:
        """
        The connection, checked; looked up at first use, unless it was set before.

        :raises NxCloudConnectionNotFoundError: when there is no such connection.
        :raises NxCloudInputError: when a field of it is wrong.
        """
        with named_connection(self.nxcloud_conn_id):
            connection = self.get_connection(self.nxcloud_conn_id)
        settings = ConnectionSettings.from_connection(connection, business_phone=self.business_phone)
        settings.mask_secrets()
        return settings

    @cached_property
    def _auth(self) -> NxCloudAuth:
        return NxCloudAuth(self.settings.access_key, self.settings.access_secret)

    @cached_property
    def _session(self) -> requests.Session:
        settings = self.settings
        session = requests.Session()
        session.auth = self._auth
        session.headers["User-Agent"] = USER_AGENT
        session.verify = tls_verification(settings)
        session.proxies = dict(proxies_for(settings, settings.base_url))
        # The environment was asked above; left on, it would overrule the connection's verify.
        session.trust_env = False
        # A redirect would carry the signature to another host, so following one is an error.
        session.max_redirects = 0
        return session

    @cached_property
    def _transport(self) -> Transport:
        return Transport(self.settings, connections=API_CONNECTIONS)

    def get_conn(self) -> requests.Session:
        """
        Return the session that signs every request it sends.

        It knows the connection's ``verify`` and proxies, follows no redirect
        (:class:`requests.TooManyRedirects`) and never retries on its own. A time-out has to be given with each
        request, as always with ``requests``.

        :return: one session for the life of this hook.
        :raises NxCloudConnectionNotFoundError: when there is no such connection.
        :raises NxCloudInputError: when a field of it is wrong.
        """
        return self._session

    def call(self, action: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """
        Call a JSON action of bizType 2 (WhatsApp), with retries.

        Source: NXCloud, "API Interface Invocation Convention".

        :param action: the action, for example ``deleteMedia``; the last segment of the URL.
        :param payload: the body, JSON-serialisable.
        :return: the answer's ``data``; empty where NXCloud sends none.
        :raises NxCloudInputError: when the action is not a word.
        :raises NxCloudError: the subclass that fits the answer, see :mod:`airflow_provider_nxcloud.exceptions`.
        """
        if not (action.isascii() and action.isalnum()):
            raise NxCloudInputError(f"action must be the name of one of NXCloud's actions, not {action!r}")
        question = Question(action, self.nxcloud_conn_id)
        return self._with_retries(lambda: unwrap(self._ask(question, payload), question))

    def get_media(self, media_id: str) -> Media:
        """
        Ask where a media can be downloaded, with retries.

        Source: NXCloud, "WhatsApp API getMedia".

        :param media_id: the media ID.
        :return: MIME type, file name and the URL, which lives for minutes.
        :raises NxCloudMediaNotReadyError: when NXCloud cannot serve this media now.
        :raises NxCloudError: the subclass that fits the answer otherwise.
        """
        return self._with_retries(lambda: self._get_media_once(media_id))

    def is_available(self, media_id: str) -> bool:
        """
        Ask once, without retries, whether a media can be had.

        :param media_id: the media ID.
        :return: False also, with a log line, while the API cannot be reached or makes no sense.
        :raises NxCloudError: the subclass that fits, when waiting can never help.
        """
        try:
            self._get_media_once(media_id)
        except NxCloudMediaNotReadyError:
            return False
        except (NxCloudUnavailableError, NxCloudRequestError) as error:
            if isinstance(error, NxCloudRequestError) and error.code is not None:
                raise
            log.warning("Cannot tell whether media %s is available: %s", media_id, error)
            return False
        return True

    def test_connection(self) -> tuple[bool, str]:
        """
        Try the connection with a read-only question, for the Test button.

        :return: whether it works, and what is wrong or was proven; it never raises.
        """
        question = Question("getMedia", self.nxcloud_conn_id)
        try:
            phone = self.settings.business_phone
            payload = {"messaging_product": "whatsapp", "Media-ID": _PROBE_MEDIA_ID}
            answer = self._ask(question, {"business_phone": phone, **payload} if phone else payload)
            # Asked without a number, NXCloud misses one only after it has accepted the signature.
            if not (answer.code == _BODY_PARAMETER_MISSING and not phone):
                _raise_if_wrong(answer, question)
        except Exception as error:  # noqa: BLE001, the UI can show a text and nothing else
            # Airflow tries the connection under an ID of its own making, which would only confuse.
            text = str(error).removeprefix(f"{question}: ")
            text = text.removeprefix(f"Connection {self.nxcloud_conn_id!r}, ") or type(error).__name__
            if isinstance(error, NxCloudUnavailableError):
                text += f"; if it stays so, check host: {self.settings.base_url}"
            return False, text
        proven = "access key, secret" + (f" and business_phone {phone}" if phone else "")
        offset = self._auth.clock_offset
        clock = f"; the clock of this machine is {-offset:+.0f} s off, which is corrected" if offset else ""
        return True, f"NXCloud accepts {proven}{clock}"

    def _with_retries(self, attempt: Callable[[], T]) -> T:
        return call_with_retries(
            lambda: self._pace.call(attempt),
            NxCloudUnavailableError,
            NxCloudMediaNotReadyError,
            max_attempts=self.settings.max_attempts,
            sleep=self._sleep,
        )

    def _get_media_once(self, media_id: str) -> Media:
        question = Question("getMedia", self.nxcloud_conn_id, media_id)
        phone = self.settings.business_phone
        if phone is None:
            raise question.error(
                NxCloudInputError,
                "business_phone is missing; give it as an argument or in the extra of the connection",
            )
        payload = {"business_phone": phone, "messaging_product": "whatsapp", "Media-ID": media_id}
        data = unwrap(self._ask(question, payload), question)
        url, mime_type, file_name = (data.get(key) for key in ("url", "mime_type", "file_name"))
        if not isinstance(url, str) or not url:
            raise question.error(NxCloudMediaNotReadyError, "NXCloud answered success without a url")
        return Media(
            media_id,
            presentable(mime_type) if isinstance(mime_type, str) else None,
            presentable(file_name) if isinstance(file_name, str) else None,
            url,
        )

    def _ask(self, question: Question, payload: Mapping[str, Any]) -> Answer:
        body = json.dumps(payload).encode()
        answer = self._post(question, body)
        if answer.code == TIMESTAMP_EXPIRED and self._auth.learn_clock(answer.date):
            offset = self._auth.clock_offset
            log.warning(
                "NXCloud's clock is %.0f s %s this machine's; signing with NXCloud's time",
                abs(offset),
                "ahead of" if offset > 0 else "behind",
            )
            answer = self._post(question, body)
        return answer

    def _post(self, question: Question, body: bytes) -> Answer:
        settings = self.settings
        url = f"{settings.base_url}/api/wa/{question.action}"
        until = time.monotonic() + ANSWER_TIMEOUTS * settings.timeout
        headers = {"Content-Type": "application/json", **self._auth.headers(question.action, body)}
        try:
            response = self._transport.send("POST", url, headers, body, until=until)
        except (HTTPError, OSError) as error:  # OSError takes in requests' own
            raise question.error(
                NxCloudUnavailableError, f"NXCloud cannot be reached: {network_cause(error)}"
            ) from None
        return read_answer(response, question, secrets=(headers["sign"], settings.access_secret))


def _raise_if_wrong(answer: Answer, question: Question) -> None:
    """Any code proves a connection but those that say what is wrong with it."""
    if issubclass(describe_code(answer.code).error, AirflowFailException):
        unwrap(answer, question)
