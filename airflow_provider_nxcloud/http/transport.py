"""HTTP for the API and the downloads: requests' pools, TLS and proxies, each exchange within its limits."""

from __future__ import annotations

import http.client
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, select_proxy
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, Retry, Timeout
from urllib3.exceptions import ProxyError

from airflow_provider_nxcloud import __version__
from airflow_provider_nxcloud.connection.settings import ConnectionSettings
from airflow_provider_nxcloud.exceptions import NxCloudError
from airflow_provider_nxcloud.http.connection import CheckPeer, Exchange, limited_by, with_limits
from airflow_provider_nxcloud.text import printable

_NO_RETRIES = Retry(False)
USER_AGENT = f"airflow-provider-nxcloud/{__version__}"
#: What may stand in a query; a percent sign belongs to what is encoded already.
_QUERY_SAFE = "!$%&'()*+,/:;=?@[]~"
_MAX_CAUSE_LENGTH = 150
#: What to do, by a pattern of the cause.
_REMEDIES = {
    "certificate verify failed|NO_CERTIFICATE|CA certificate bundle": "check the certificate there, and the CA "
    "file that verify of the connection or REQUESTS_CA_BUNDLE names",
    "WRONG_VERSION_NUMBER": "what answers speaks no TLS: http:// in place of https://?",
}
#: The parser's errors whose text is the server's bytes.
_WORDS: dict[type[BaseException], str] = {
    http.client.BadStatusLine: "the response does not begin with HTTP's status line",
    http.client.IncompleteRead: "the response is incomplete",
    http.client.UnknownProtocol: "the response is of an unknown version of HTTP",
}


class TransportError(Exception):
    """
    There is no response, or not all of one; the text is the cause, without a query or credentials.

    ``remedy`` is what to do, where that is known better here than by who sent the request.
    """

    def __init__(self, cause: str, *, remedy: str = "") -> None:
        super().__init__(cause)
        self.remedy = remedy


class Response:
    """A response of urllib3's, its body unread; to be closed. The proxy is for errors."""

    def __init__(self, raw: BaseHTTPResponse, exchange: Exchange, proxy: str | None) -> None:
        self._raw = raw
        self._exchange = exchange
        self._proxy = proxy
        self.status = raw.status
        self.headers: Mapping[str, str] = raw.headers

    @property
    def is_delimited(self) -> bool:
        """Whether, once fully read, it ended where it said itself that it would, and nothing followed."""
        return self._exchange.is_delimited and not self._exchange.has_surplus

    def read1(self, size: int, *, decode_content: bool = False) -> bytes:
        """Read what has come of the body, at most ``size`` bytes, none at its end; or raise TransportError."""
        try:
            return self._raw.read1(size, decode_content=decode_content)
        except Exception as error:  # noqa: BLE001, as in send
            raise _transport_error(error, self._proxy) from None

    def close(self) -> None:
        """Close it, and its connection unless the whole body was read."""
        self._raw.close()

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class _Route:
    """How requests to one origin, or to its proxy, are sent."""

    pool: HTTPConnectionPool
    #: Scheme, host and port.
    proxy: str | None
    #: What goes before the path: a proxy for plain http wants the whole URL.
    prefix: str
    headers: Mapping[str, str]


class Transport:
    """
    Send requests as they are: nothing is retried or redirected, no cookie and no netrc is looked at.

    May be used by many threads at once. ``connections`` to one host are kept open.
    """

    def __init__(self, settings: ConnectionSettings, *, connections: int) -> None:
        self._settings = settings
        self._verify = tls_verification(settings)
        self._routes: dict[str, _Route] = {}
        self._adapter = HTTPAdapter(pool_maxsize=connections, max_retries=0)

    def send(
        self,
        method: str,
        url: str,
        headers: Callable[[], Mapping[str, str]],
        body: bytes | None = None,
        *,
        deadline: float,
        check_peer: CheckPeer | None = None,
    ) -> Response:
        """
        Send one request; again over a new connection where one that was used before turns out to be dead.

        ``headers`` is called each time. By ``deadline``, of :func:`time.monotonic`, the last byte of the response
        must have come. ``check_peer`` gets the IP address of a new connection, but not of one to a proxy, before
        anything is sent over it, and raises to refuse it. Raises :class:`TransportError` when no response comes.
        """
        proxy = None
        try:
            parts = urlsplit(url)
            route = self._route(f"{parts.scheme}://{parts.netloc}")
            proxy = route.proxy
            exchange = Exchange(deadline, None if proxy else check_peer, _encoded(parts.query))
            target = f"{route.prefix}{parts.path or '/'}"
            try:
                raw = self._send_once(exchange, route, method, target, headers(), body)
            except Exception as error:
                if not exchange.can_be_repeated(_innermost(error)):
                    raise
                exchange.fresh = True
                raw = self._send_once(exchange, route, method, target, headers(), body)
            if raw.status == 407:
                raw.close()
                raise _proxy_asks_for_credentials(proxy or "on the way")
        except (NxCloudError, TransportError):
            raise  # the former of check_peer
        # What a library raises at odd bytes must not end the whole task.
        except Exception as error:  # noqa: BLE001
            raise _transport_error(error, proxy) from None
        return Response(raw, exchange, proxy)

    def _send_once(
        self,
        exchange: Exchange,
        route: _Route,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> BaseHTTPResponse:
        idle = self._settings.timeout
        # A second more than is left: connecting is ended at the deadline, and the error says so.
        connect = min(idle, exchange.time_left() + 1)
        with limited_by(exchange):
            return route.pool.urlopen(
                method,
                target,
                body=body,
                headers={**route.headers, **headers},
                retries=_NO_RETRIES,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
                timeout=Timeout(connect=connect, read=idle),
            )

    def _route(self, origin: str) -> _Route:
        return self._routes.get(origin) or self._routes.setdefault(origin, self._new_route(origin))

    def _new_route(self, origin: str) -> _Route:
        proxy = proxy_for(self._settings, origin)
        proxies = {"all": proxy} if proxy else {}
        request = requests.Request("GET", origin).prepare()
        try:
            if proxy and "\\" in proxy:
                raise ValueError  # urllib3 would take what stands before it for the host
            whole_url = self._adapter.request_url(request, proxies) != request.path_url
            pool: Any = self._adapter.get_connection_with_tls_context(request, self._verify, proxies=proxies)
        except ValueError as error:
            if not proxy or isinstance(error, requests.exceptions.InvalidSchema):
                raise
            # The library's own words may be a part of the password.
            raise TransportError(
                "the proxy's URL cannot be read",
                remedy="percent-encode what is special in its user and password; "
                "it has to be like http://me:password@proxy.example.com:3128, in connection or environment",
            ) from None
        # By the pool's scheme: requests itself would not verify an https proxy for plain http.
        self._adapter.cert_verify(pool, f"{pool.scheme}://", self._verify, None)  # type: ignore[no-untyped-call]
        pool.ConnectionCls = with_limits(pool.ConnectionCls)
        host = urlsplit(str(request.url)).netloc.rpartition("@")[2]
        headers = {"Host": host, "User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        return _Route(pool, proxy and re.sub("//.*@", "//", proxy), origin if whole_url else "", headers)


def origin(url: str) -> str:
    """Return scheme, host and port of a URL for error texts, nothing of the rest: it may be secret."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, LookupError):
        return ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{port}" if host else ""


def tls_verification(settings: ConnectionSettings) -> bool | str:
    """Return requests' ``verify``: the connection's, or where that is the default the environment's."""
    if settings.verify is not True:
        return settings.verify
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True


def proxy_for(settings: ConnectionSettings, url: str) -> str | None:
    """Return the proxy's URL as requests selects it: among the connection's, or else those of the environment."""
    proxies = settings.proxies if settings.proxies is not None else get_environ_proxies(url)
    return select_proxy(url, proxies) or None


def _encoded(query: str) -> str:
    return query and "?" + quote(query, safe=_QUERY_SAFE)


def _transport_error(error: Exception, proxy: str | None) -> TransportError:
    cause = _describe(_innermost(error))
    if proxy and cause.startswith("Tunnel connection failed: 407"):
        return _proxy_asks_for_credentials(proxy)
    if proxy and (isinstance(error, ProxyError) or proxy.startswith("socks")):
        cause = f"{cause} (proxy {proxy})"
    remedies = (remedy for pattern, remedy in _REMEDIES.items() if re.search(pattern, cause))
    return TransportError(cause, remedy=next(remedies, ""))


def _proxy_asks_for_credentials(proxy: str) -> TransportError:
    return TransportError(
        f"the proxy {proxy} asks for credentials (HTTP 407)",
        remedy="set the right user and password in the proxy's URL, in connection or environment",
    )


def _innermost(error: BaseException) -> BaseException:
    """Return the root cause of an error, or the HTTP parser's own error on the way to it."""
    while not isinstance(error, http.client.HTTPException):
        context = None if error.__suppress_context__ else error.__context__
        inner = error.__cause__ or context or getattr(error, "reason", None)
        if not isinstance(inner, BaseException) or inner is error:
            break
        error = inner
    return error


def _describe(error: BaseException) -> str:
    for kind, words in _WORDS.items():
        if isinstance(error, kind) and not isinstance(error, OSError):
            return words
    if isinstance(error, requests.exceptions.InvalidSchema) and "SOCKS" in str(error):
        return "a SOCKS proxy needs PySocks: pip install 'airflow-provider-nxcloud[socks]'"
    text = (
        getattr(error, "strerror", None) or str(error) or f"an error without a text ({type(error).__name__})"
    )
    text = re.sub(r"^(\[SSL: CERTIFICATE_VERIFY_FAILED\]|_ssl\.c:\d+:) |\.? \(_ssl\.c:\d+\)$", "", text)
    return printable(re.sub(r"//[^/\s]*@", "//", re.sub(r"\?\S*", "?...", text)))[:_MAX_CAUSE_LENGTH]
