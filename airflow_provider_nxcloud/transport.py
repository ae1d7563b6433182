"""HTTP for the API and the downloads: requests' pools, TLS and proxies, without its cost per request."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, Retry, Timeout

from airflow_provider_nxcloud import __version__
from airflow_provider_nxcloud.connection import ConnectionSettings
from airflow_provider_nxcloud.exchange import CheckPeer, exchanging, watched


class _QueryFilter(logging.Filter):
    """urllib3 logs whole URLs, at DEBUG and of broken headers, and the query of a signed one is a secret."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = None  # its text repeats the arguments'
        if isinstance(record.args, tuple):
            record.args = tuple(
                re.sub(r"\?\S*", "?...", str(arg)) if isinstance(arg, (str, Exception)) else arg
                for arg in record.args
            )
        return True


for _logger in ("urllib3.connection", "urllib3.connectionpool"):
    logging.getLogger(_logger).addFilter(_QueryFilter())

_NO_RETRIES = Retry(False)
USER_AGENT = f"airflow-provider-nxcloud/{__version__}"


@dataclass(frozen=True)
class _Route:
    """
    How requests to one origin are sent.

    :param pool: the connections, to the origin or to a proxy.
    :param prefix: what goes before the path: a proxy for plain http wants the whole URL.
    :param headers: what each request says of itself.
    """

    pool: HTTPConnectionPool
    prefix: str
    headers: Mapping[str, str]


class Transport:
    """
    Send requests as they are: nothing is retried or redirected, no cookie and no netrc is looked at.

    Its connection pools are those of a requests session, what goes through them is not
    (:mod:`airflow_provider_nxcloud.exchange`). May be used by many threads at once.

    :param settings: the connection's settings.
    :param connections: how many connections to one host are kept open.
    """

    def __init__(self, settings: ConnectionSettings, *, connections: int) -> None:
        self._settings = settings
        self._timeout = Timeout(connect=settings.timeout, read=settings.timeout)
        self._verify = tls_verification(settings)
        self._routes: dict[str, _Route] = {}
        self._adapter = HTTPAdapter(pool_maxsize=connections, max_retries=0)

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        until: float,
        check_peer: CheckPeer | None = None,
    ) -> BaseHTTPResponse:
        """
        Send one request.

        :param method: the HTTP method.
        :param url: where to.
        :param headers: the headers.
        :param body: the body, None for none.
        :param until: when, by :func:`time.monotonic`, the last byte of the response must have come, however
            steadily it drips: reading on raises :class:`TimeoutError` as urllib3's ``ReadTimeoutError``.
        :param check_peer: called with the IP address of a new connection before anything is sent over it; raises
            to refuse it. Default: no check.
        :return: the response, its body unread, for the caller to close.
        :raises urllib3.exceptions.HTTPError: when no response comes.
        :raises OSError: when a CA bundle cannot be read.
        :raises requests.RequestException: when the URL or the proxy cannot be used.
        """
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        route = self._routes.get(origin) or self._routes.setdefault(origin, self._route(origin))
        with watched(until, check_peer):
            return route.pool.urlopen(
                method,
                f"{route.prefix}{parts.path or '/'}{'?' + parts.query if parts.query else ''}",
                body=body,
                headers={**route.headers, **headers},
                retries=_NO_RETRIES,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
                timeout=self._timeout,
            )

    def _route(self, origin: str) -> _Route:
        proxies = dict(proxies_for(self._settings, origin))
        request = requests.Request("GET", origin).prepare()
        pool = self._adapter.get_connection_with_tls_context(request, self._verify, proxies=proxies)
        if not isinstance(pool, HTTPConnectionPool):
            raise requests.exceptions.InvalidSchema(f"no way to send HTTP to {origin}")
        self._adapter.cert_verify(pool, origin, self._verify, None)  # type: ignore[no-untyped-call]
        pool.ConnectionCls = exchanging(pool.ConnectionCls)
        whole_url = self._adapter.request_url(request, proxies) != request.path_url
        host = urlsplit(str(request.url)).netloc.rpartition("@")[2]
        headers = {"Host": host, "User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        return _Route(pool, origin if whole_url else "", headers)


def tls_verification(settings: ConnectionSettings) -> bool | str:
    """
    Return requests' ``verify``: the connection's, and only where that asks for the default the environment's.

    :param settings: the connection's settings.
    :return: True, False, or the path of a CA bundle.
    """
    if settings.verify is not True:
        return settings.verify
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True


def proxies_for(settings: ConnectionSettings, url: str) -> Mapping[str, str]:
    """
    Return requests' ``proxies`` for a URL: the connection's, or else those of the environment.

    :param settings: the connection's settings.
    :param url: where the request goes, because ``no_proxy`` decides by host.
    :return: scheme to proxy URL.
    """
    return settings.proxies if settings.proxies is not None else get_environ_proxies(url)


def network_cause(error: BaseException) -> str:
    """
    Say why a request failed, without the URL that the libraries' own texts carry.

    :param error: what requests or urllib3 raised.
    :return: the innermost cause in a few words, for example ``Connection refused``.
    """
    cause: BaseException = error
    while True:
        context = None if cause.__suppress_context__ else cause.__context__
        inner = cause.__cause__ or context or getattr(cause, "reason", None)
        if not isinstance(inner, BaseException) or inner is cause:
            break
        cause = inner
    # Only the operating system's own texts are known to hold no URL; requests' errors are OSErrors too.
    if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException):
        return cause.strerror or str(cause)
    return type(cause).__name__
