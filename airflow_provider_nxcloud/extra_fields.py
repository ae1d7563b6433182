"""
The fields of a connection's extra, each with the function that checks it.

Each takes the value as JSON gives it or, from a connection URI and from text inputs of the form, as text.
"""

from __future__ import annotations

import json
import math
import os.path
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

MAX_TIMEOUT = 3600
MAX_ATTEMPTS = 100

_PHONE_SEPARATORS = re.compile(r"[+\s()\[\]\u2010-\u2015\u2212-]")
# What requests looks up: a scheme or "all", alone or with a host.
_PROXY_KEY = re.compile(r"(https?|all)(://[^/\s]+)?")
_PROXY_SCHEMES = {"http", "https", "socks4", "socks4a", "socks5", "socks5h"}
_HOST_GLOB = re.compile(r"[a-z0-9_*?!\[\].:-]+")


def parse_phone(value: object) -> str:
    """
    Return a phone number as NXCloud wants it.

    :param value: the number; ``+``, spaces, dashes and brackets are taken out.
    :return: 5 to 20 ASCII digits.
    :raises ValueError: something else remains.
    """
    digits = _PHONE_SEPARATORS.sub("", _scalar_text(value))
    if not re.fullmatch("[0-9]{5,20}", digits):
        raise ValueError(f"must be 5 to 20 digits, country code included, not {value!r:.100}")
    return digits


def parse_timeout(value: object) -> float:
    """
    Return a time limit.

    :param value: seconds.
    :return: seconds, more than 0 and at most an hour.
    :raises ValueError: it is no such number.
    """
    try:
        seconds = float(value if isinstance(value, float) else _scalar_text(value))
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= MAX_TIMEOUT:
        raise ValueError(
            f"must be a number of seconds, more than 0 and at most {MAX_TIMEOUT}, not {value!r:.100}"
        )
    return seconds


def parse_max_attempts(value: object) -> int:
    """
    Return a number of attempts.

    :param value: how often to try in all.
    :return: 1 to 100.
    :raises ValueError: it is no such whole number.
    """
    text = _scalar_text(value).strip()
    if not re.fullmatch("[0-9]{1,3}", text) or not 1 <= int(text) <= MAX_ATTEMPTS:
        raise ValueError(f"must be a whole number from 1 to {MAX_ATTEMPTS}, not {value!r:.100}")
    return int(text)


def parse_verify(value: object) -> bool | str:
    """
    Return how to check TLS certificates.

    :param value: whether to, or the CAs to trust.
    :return: True, False or the path of an existing file or directory.
    :raises ValueError: it is none of these.
    """
    if isinstance(value, bool):
        return value
    text = value.strip() if isinstance(value, str) else ""
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if not os.path.exists(text):
        raise ValueError(
            f"must be true, false or the path of a CA file or directory on this machine, not {value!r:.100}"
        )
    return text


def parse_proxies(value: object) -> dict[str, str] | None:
    """
    Return the proxies to use; an error never shows them, for they may carry credentials.

    :param value: proxy URL per scheme.
    :return: the same; None when there is none.
    :raises ValueError: it is no mapping of schemes to proxy URLs.
    """
    proxies = _from_json(value)
    if not isinstance(proxies, dict):
        raise ValueError('must be a JSON object such as {"https": "http://proxy.example.com:3128"}')
    for scheme, url in proxies.items():
        if not isinstance(scheme, str) or not _PROXY_KEY.fullmatch(scheme):
            raise ValueError("must have the keys http, https or all")
        if not _is_proxy_url(url):
            raise ValueError(f"the value of {scheme} must be a URL such as http://proxy.example.com:3128")
    return proxies or None


def parse_media_hosts(value: object) -> tuple[str, ...]:
    """
    Return the hosts that media may come from.

    :param value: globs, as a list or as text with commas.
    :return: the globs in lower case.
    :raises ValueError: one of them can never match a host name.
    """
    globs = _from_json(value)
    if isinstance(globs, str):
        globs = globs.split(",")
    if not isinstance(globs, list):
        raise ValueError(f'must be a list such as ["*.aliyuncs.com"], not {value!r:.100}')
    # Airflow 3's form makes an item of every line, also of an empty last one.
    return tuple(_host_glob(glob) for glob in globs if str(glob).strip())


EXTRA_FIELDS: dict[str, Callable[[object], Any]] = {
    "business_phone": parse_phone,
    "timeout": parse_timeout,
    "max_attempts": parse_max_attempts,
    "verify": parse_verify,
    "proxies": parse_proxies,
    "allowed_media_hosts": parse_media_hosts,
}


def _scalar_text(value: object) -> str:
    """Return text or a whole number as text; anything else, True included, as text that no check accepts."""
    return str(value) if isinstance(value, (str, int)) else ""


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
    # One colon is a port, more are an IPv6 address.
    if not _HOST_GLOB.fullmatch(glob) or glob.count(":") == 1:
        raise ValueError(
            "must hold host names or globs like *.aliyuncs.com, without scheme, port and path, "
            f"not {value!r:.100}"
        )
    return glob
