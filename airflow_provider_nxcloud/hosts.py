"""Which hosts a media may be downloaded from, since the URL comes from outside."""

from __future__ import annotations

import re
import socket
from fnmatch import fnmatchcase
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from airflow_provider_nxcloud.connection import ConnectionSettings
from airflow_provider_nxcloud.exceptions import NxCloudMediaRefusedError
from airflow_provider_nxcloud.transport import proxies_for

_HOST = re.compile(r"[a-z0-9._-]*|[0-9a-f:.]+")


class MediaHosts:
    """
    Decide whether a download URL may be followed.

    With ``allowed_media_hosts`` in the connection a host has to match one of its globs. Without, any host is
    fine but those inside one's own network (loopback, link-local, private), and those too when the API's base
    URL itself is inside.

    :param settings: the connection's settings.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self._outside: set[tuple[str, str]] = set()

    def check(self, url: str, *, came_from: str | None = None) -> None:
        """
        Refuse a URL that must not be followed.

        :param url: where the download would go.
        :param came_from: the URL that redirected there, None for NXCloud's own.
        :raises NxCloudMediaRefusedError: naming scheme or host, never the query.
        """
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
            # What is read one way here and another way by whoever connects would get around every rule below.
            if not _HOST.fullmatch(host) or "\\" in url or parts.port == 0:
                raise ValueError
        except ValueError:
            raise NxCloudMediaRefusedError("the download URL cannot be read") from None
        if parts.scheme not in ("http", "https"):
            raise NxCloudMediaRefusedError(f"the download URL is {parts.scheme!r}, not http or https")
        if not host:
            raise NxCloudMediaRefusedError("the download URL names no host")
        if came_from and urlsplit(came_from).scheme == "https" and parts.scheme == "http":
            raise NxCloudMediaRefusedError(f"the download is redirected from https to plain http ({host!r})")
        if parts.username is not None:
            raise NxCloudMediaRefusedError(f"the download URL carries credentials for {host!r}")
        self._check_host(parts.scheme, host, url)

    def check_peer(self, url: str, address: str) -> None:
        """
        Refuse an address that the host's name led to after all; a name can mean another address each time.

        :param url: where the download goes, accepted by :meth:`check`.
        :param address: the IP address that was connected to.
        :raises NxCloudMediaRefusedError: naming the host.
        """
        if self._settings.allowed_media_hosts or self._base_url_is_inside or not _is_inside(address):
            return
        parts = urlsplit(url)
        if not proxies_for(self._settings, url).get(parts.scheme):  # else it is the proxy's address
            raise self._inside(parts.hostname or "")

    def _inside(self, host: str) -> NxCloudMediaRefusedError:
        return NxCloudMediaRefusedError(
            f"the download host {host!r} is inside your own network, where a URL from outside must not lead; if "
            f"it is right, list it in allowed_media_hosts of connection {self._settings.conn_id!r}"
        )

    def _check_host(self, scheme: str, host: str, url: str) -> None:
        settings = self._settings
        if settings.allowed_media_hosts:
            if not any(fnmatchcase(host, glob.lower()) for glob in settings.allowed_media_hosts):
                raise NxCloudMediaRefusedError(
                    f"the download host {host!r} matches none of allowed_media_hosts of connection "
                    f"{settings.conn_id!r}"
                )
        elif (scheme, host) not in self._outside and not self._base_url_is_inside:
            # Behind a proxy only the proxy resolves names, so there only literal addresses can be judged.
            proxied = proxies_for(settings, url).get(scheme)
            addresses = _literal_address(host) if proxied else _resolve(host)
            if any(map(_is_inside, addresses)):
                raise self._inside(host)
            if addresses:
                self._outside.add((scheme, host))

    @cached_property
    def _base_url_is_inside(self) -> bool:
        return any(map(_is_inside, _resolve(urlsplit(self._settings.base_url).hostname or "")))


#: NAT64 (RFC 6052) and the old IPv4-compatible addresses.
_CARRYING_IPV4 = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))


def _is_inside(address: str) -> bool:
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        carries_ipv4 = any(ip in network for network in _CARRYING_IPV4)
        if ip.is_site_local:
            return True
        ip = ip.ipv4_mapped or ip.sixtofour or (IPv4Address(int(ip) & 0xFFFFFFFF) if carries_ipv4 else ip)
    return not ip.is_global or ip.is_multicast


def _literal_address(host: str) -> list[str]:
    host = host.rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return ["127.0.0.1"]
    # inet_aton also knows the short and the decimal spellings, which a resolver takes too.
    for read in (ip_address, lambda text: ip_address(socket.inet_aton(text))):
        try:
            return [str(read(host))]
        except (ValueError, OSError):
            continue
    return []


def _resolve(host: str) -> list[str]:
    try:
        return [str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        return []  # the download itself will say that the name does not resolve
