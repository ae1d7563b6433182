"""The hook: an Airflow Connection becomes signed calls to NXCloud's API."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import requests
from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_nxcloud.api.client import NxCloudClient
from airflow_provider_nxcloud.connection.form import get_connection_form_widgets, get_ui_field_behaviour
from airflow_provider_nxcloud.connection.settings import ConnectionSettings, explain_missing_connection
from airflow_provider_nxcloud.exceptions import NxCloudUnavailableError
from airflow_provider_nxcloud.http.transport import USER_AGENT, proxy_for, tls_verification
from airflow_provider_nxcloud.media import Media


class NxCloudHook(BaseHook):
    """
    Call NXCloud's WhatsApp API with the credentials of an Airflow Connection.

    Retries, signatures, rate and clock are those of :class:`~airflow_provider_nxcloud.api.client.NxCloudClient`.

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

    @cached_property
    def client(self) -> NxCloudClient:
        """
        The client that all calls of this hook go through; the connection is looked up and checked at first use.

        :raises NxCloudConnectionNotFoundError: when there is no such connection.
        :raises NxCloudInputError: when a field of it is wrong.
        """
        with explain_missing_connection(self.nxcloud_conn_id):
            connection = self.get_connection(self.nxcloud_conn_id)
        settings = ConnectionSettings.from_connection(connection, business_phone=self.business_phone)
        settings.mask_secrets()
        return NxCloudClient(settings, sleep=self._sleep)

    @cached_property
    def _session(self) -> requests.Session:
        settings = self.client.settings
        session = requests.Session()
        session.auth = self.client.auth
        session.headers["User-Agent"] = USER_AGENT
        session.verify = tls_verification(settings)
        if proxy := proxy_for(settings, settings.base_url):
            session.proxies = {"all": proxy}
        # The environment was asked above; left on, it would overrule the connection's verify.
        session.trust_env = False
        # A redirect would carry the signature to another host, so following one is an error.
        session.max_redirects = 0
        return session

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
        :return: the response's ``data``; empty where NXCloud sends none.
        :raises NxCloudInputError: when the action is not a word.
        :raises NxCloudError: the subclass that fits the response, see :mod:`airflow_provider_nxcloud.exceptions`.
        """
        return self.client.call(action, payload)

    def get_media(self, media_id: str) -> Media:
        """
        Ask where a media file can be downloaded, with retries.

        Source: NXCloud, "WhatsApp API getMedia".

        :param media_id: the media ID.
        :return: MIME type, file name and the URL, which lives for minutes.
        :raises NxCloudMediaNotReadyError: when NXCloud cannot serve this media file now.
        :raises NxCloudError: the subclass that fits the response otherwise.
        """
        return self.client.get_media(media_id)

    def delete_media(self, media_id: str) -> bool:
        """
        Delete a media file at NXCloud.

        Retried only while NXCloud cannot be reached or returns an invalid response. -1 and 9001 are final here:
        NXCloud does not document what it answers when the media file is deleted already, so a retry would tell
        nothing.

        Source: NXCloud, "WhatsApp API deleteMedia".

        :param media_id: the media ID.
        :return: ``data.success``: whether NXCloud says that it deleted the media file.
        :raises NxCloudInputError: when this cannot be a media ID.
        :raises NxCloudMediaNotReadyError: on -1, 9001 and a response without ``success``: nobody knows whether it
            is deleted.
        :raises NxCloudError: the subclass that fits the response otherwise.
        """
        return self.client.delete_media(media_id)

    def test_connection(self) -> tuple[bool, str]:
        """
        Try the connection with a read-only call, for the Test button.

        :return: whether it works, and what is wrong or was proven; it never raises.
        """
        try:
            self.client.probe()
        except Exception as error:  # noqa: BLE001, the UI can show a text and nothing else
            # Airflow tests the connection under an ID that it makes up, which would only confuse.
            place = f"connection {self.nxcloud_conn_id!r}"
            text = str(error).replace(f"{place}, ", "").replace(f" ({place})", "") or repr(error)
            if isinstance(error, NxCloudUnavailableError) and self.client.settings.base_url not in text:
                text += f"; host is {self.client.settings.base_url}"
            return False, text
        phone = self.client.settings.business_phone
        proven = "access key, secret" + (f" and business_phone {phone}" if phone else "")
        offset = self.client.auth.clock_offset
        clock = f"; the clock of this machine is {-offset:+.0f} s off, which is corrected" if offset else ""
        return True, f"NXCloud accepts {proven}{clock}"
