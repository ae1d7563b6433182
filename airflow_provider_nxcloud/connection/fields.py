"""
The fields of a connection's extra: what each takes, its default, and how the form shows it.

The functions take a value as JSON gives it or, from a connection URI and from text inputs of the form, as text.
"""

from __future__ import annotations

import json
import math
import os.path
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_nxcloud.text import parse_phone

MAX_TIMEOUT = 3600
MAX_ATTEMPTS = 100

# What requests looks up: a scheme or "all", alone or with a host, but never with a port.
_PROXY_KEY = re.compile(r"(https?|all)(://(?![^:]*:\d+\Z)[^/\s\[]+)?")
_PROXY_SCHEMES = {"http", "https", "socks4", "socks4a", "socks5", "socks5h"}
_HOST_GLOB = re.compile(r"[a-z0-9_*?!\[\].:-]+")


def parse_timeout(value: object) -> float:
    """Return a time limit."""
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= MAX_TIMEOUT:
        raise ValueError(
            f"must be a number of seconds, more than 0 and at most {MAX_TIMEOUT}, not {value!r:.100}"
        )
    return seconds


def parse_max_attempts(value: object) -> int:
    """Return a number of attempts."""
    text = str(value).strip()
    if not re.fullmatch("[0-9]{1,3}", text) or not 1 <= int(text) <= MAX_ATTEMPTS:
        raise ValueError(f"must be a whole number from 1 to {MAX_ATTEMPTS}, not {value!r:.100}")
    return int(text)


def parse_verify(value: object) -> bool | str:
    """Return how to check TLS certificates."""
    text = str(value).strip()
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if not os.path.exists(text):
        raise ValueError(
            f"must be true, false or the path of a CA file or directory on this machine, not {value!r:.100}"
        )
    return text


def parse_proxies(value: object) -> dict[str, str] | None:
    """Return the proxies to use; an error never shows them, for they may carry credentials."""
    proxies = _from_json(value)
    if not isinstance(proxies, dict):
        raise ValueError('must be a JSON object such as {"https": "http://proxy.example.com:3128"}')
    for scheme, url in proxies.items():
        if not isinstance(scheme, str) or not _PROXY_KEY.fullmatch(scheme.lower()):
            raise ValueError("must have the keys http, https or all, alone or as in https://api2.nxcloud.com")
        if not _is_proxy_url(url):
            raise ValueError(f"must map {scheme} to a URL such as http://proxy.example.com:3128")
    return {scheme.lower(): url for scheme, url in proxies.items()} or None


def parse_media_hosts(value: object) -> tuple[str, ...]:
    """Return the hosts that media files may come from."""
    globs = _from_json(value)
    if isinstance(globs, str):
        globs = globs.split(",")
    if not isinstance(globs, list):
        raise ValueError(f'must be a list such as ["*.aliyuncs.com"], not {value!r:.100}')
    # Airflow 3's form makes an item of every line, also of an empty last one.
    return tuple(_host_glob(glob) for glob in globs if str(glob).strip())


def _from_json(value: object) -> object:
    """Return what JSON text stands for; anything else, also text that is no JSON, as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _is_proxy_url(url: object) -> bool:
    if not isinstance(url, str) or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in _PROXY_SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _host_glob(value: object) -> str:
    glob = value.strip().lower() if isinstance(value, str) else ""
    if glob.count(":") > 1:  # a URL's brackets would be a set of characters
        glob = glob.strip("[]")
    # One colon is a port, more are an IPv6 address.
    if not _HOST_GLOB.fullmatch(glob) or glob.count(":") == 1:
        raise ValueError(
            "must hold host names or globs like *.aliyuncs.com, without scheme, port and path, "
            f"not {value!r:.100}"
        )
    return glob


@dataclass(frozen=True)
class ExtraField:
    """How one field of the connection's extra is read and shown."""

    parse: Callable[[object], Any]
    label: str
    help: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ExtraSettings:
    """
    The connection's extra, checked; what each field takes and how the form shows it stands here and nowhere else.

    The form requires none and fills in no default, so that saving an untouched form changes nothing.
    """

    business_phone: str | None = field(
        default=None,
        metadata={
            "parse": parse_phone,
            "label": "Business phone",
            "help": "Default merchant number, with country code: 8613800000000. A task may name another one.",
            "schema": {"type": "string"},
        },
    )
    timeout: float = field(
        default=30.0,
        metadata={
            "parse": parse_timeout,
            "label": "Timeout",
            "help": "Seconds to wait for a connection and for each read. Empty: 30.",
            "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_TIMEOUT},
        },
    )
    max_attempts: int = field(
        default=5,
        metadata={
            "parse": parse_max_attempts,
            "label": "Attempts",
            "help": "How often one call is tried in all. Empty: 5.",
            "schema": {"type": "integer", "minimum": 1, "maximum": MAX_ATTEMPTS},
        },
    )
    # Text in the form, because it is a switch and a path in one, and because an untouched switch would be saved.
    verify: bool | str = field(
        default=True,
        metadata={
            "parse": parse_verify,
            "label": "Verify TLS",
            "help": "true, false, or the path of a CA file or directory on the workers. Empty: true.",
            "schema": {"type": "string", "examples": ["true", "false"]},
        },
    )
    proxies: dict[str, str] | None = field(
        default=None,
        repr=False,  # proxy URLs may carry credentials
        metadata={
            "parse": parse_proxies,
            "label": "Proxies",
            "help": 'JSON object of proxy URLs: {"https": "http://proxy.example.com:3128"}. '
            "Empty: the proxy variables of the worker's environment.",
            "schema": {"type": "object"},
        },
    )
    allowed_media_hosts: tuple[str, ...] = field(
        default=(),
        metadata={
            "parse": parse_media_hosts,
            "label": "Allowed media hosts",
            "help": "Globs such as *.aliyuncs.com of the hosts that media files may be downloaded from: one per "
            "line, or, where there is a single line, with commas. Empty: any host but loopback and private "
            "addresses.",
            "schema": {"type": "array", "items": {"type": "string"}},
        },
    )


#: The fields of the extra, by name.
EXTRA_FIELDS: Mapping[str, ExtraField] = {
    each.name: ExtraField(**each.metadata) for each in fields(ExtraSettings)
}
