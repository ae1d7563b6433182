"""Which hosts media files may be downloaded from, since the URL comes from outside."""

from __future__ import annotations

import re
import socket
from fnmatch import fnmatchcase
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from airflow_provider_nxcloud.connection.settings import ConnectionSettings
from airflow_provider_nxcloud.exceptions import NxCloudMediaRefusedError
from airflow_provider_nxcloud.http.transport import proxy_for

_HOST = re.compile(r"[a-z0-9._-]*|[0-9a-f:.]+")


class DownloadHostPolicy:
    """
    Decide whether a download URL may be followed.

    With ``allowed_media_hosts`` in the connection a host has to match one of its globs. Without, any host is
    fine but those inside one's own network (loopback, link-local, private), and those too when the API's base
    URL itself is inside.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self._public_hosts: set[tuple[str, str]] = set()

    def check(self, url: str, *, redirected_from: str | None = None) -> None:
        """Refuse a URL that must not be followed."""
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
            # A URL that an HTTP client could read in another way would get around every rule below.
            if not _HOST.fullmatch(host) or "\\" in url or parts.port == 0:
                raise ValueError
        except ValueError:
            raise NxCloudMediaRefusedError("the download URL cannot be read") from None
        if parts.scheme not in ("http", "https"):
            raise NxCloudMediaRefusedError(f"the download URL is {parts.scheme!r}, not http or https")
        if not host:
            raise NxCloudMediaRefusedError("the download URL names no host")
        if redirected_from and urlsplit(redirected_from).scheme == "https" and parts.scheme == "http":
            raise NxCloudMediaRefusedError(
                "the download is redirected from https to plain http", place=f"host {host!r}"
            )
        if parts.username is not None:
            raise NxCloudMediaRefusedError("the download URL carries credentials", place=f"host {host!r}")
        self._check_host(parts.scheme, host, url)

    def check_peer(self, url: str, address: str) -> None:
        """Refuse an address that the host's name led to after all; a name can mean another address each time."""
        if self._settings.allowed_media_hosts or self._base_url_is_private or not _is_private(address):
            return
        raise self._private_host_error(urlsplit(url).hostname or "")

    def _private_host_error(self, host: str) -> NxCloudMediaRefusedError:
        return NxCloudMediaRefusedError(
            "the download host resolves to a private or loopback address",
            remedy=f"if it is right, list it in allowed_media_hosts of connection {self._settings.conn_id!r}",
            place=f"host {host!r}",
        )

    def _check_host(self, scheme: str, host: str, url: str) -> None:
        settings = self._settings
        if settings.allowed_media_hosts:
            if not any(fnmatchcase(host, glob) for glob in settings.allowed_media_hosts):
                raise NxCloudMediaRefusedError(
                    "the download host matches none of allowed_media_hosts",
                    remedy="if it is right, list it there",
                    place=f"host {host!r}, connection {settings.conn_id!r}",
                )
        elif (scheme, host) not in self._public_hosts and not self._base_url_is_private:
            # Behind a proxy only the proxy resolves names, so there only literal addresses can be judged.
            addresses = _literal_address(host) if proxy_for(settings, url) else _resolve(host)
            if any(map(_is_private, addresses)):
                raise self._private_host_error(host)
            if addresses:
                self._public_hosts.add((scheme, host))

    @cached_property
    def _base_url_is_private(self) -> bool:
        return any(map(_is_private, _resolve(urlsplit(self._settings.base_url).hostname or "")))


#: NAT64 (RFC 6052) and the old IPv4-compatible addresses.
_CARRYING_IPV4 = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))


def _is_private(address: str) -> bool:
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
