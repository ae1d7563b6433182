"""What the API and the downloads share of HTTP: TLS and proxy settings, and errors that show no URL."""

from __future__ import annotations

import os
from collections.abc import Mapping

from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException
from requests.utils import get_environ_proxies

from airflow_provider_nxcloud import __version__
from airflow_provider_nxcloud.connection import ConnectionSettings

USER_AGENT = f"airflow-provider-nxcloud/{__version__}"


def make_adapter(connections: int) -> HTTPAdapter:
    """
    Return a connection pool that never retries on its own, since each attempt needs a signature of its own.

    :param connections: how many connections to one host it keeps.
    :return: the adapter.
    """
    return HTTPAdapter(pool_connections=4, pool_maxsize=connections, max_retries=0)


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
        inner = cause.__cause__ or cause.__context__ or getattr(cause, "reason", None)
        if not isinstance(inner, BaseException) or inner is cause:
            break
        cause = inner
    # Only the operating system's own texts are known to hold no URL; requests' errors are OSErrors too.
    if isinstance(cause, OSError) and not isinstance(cause, RequestException):
        return cause.strerror or str(cause)
    return type(cause).__name__
