"""From the host, schema and port of a connection to one base URL, however they are spelled."""

from __future__ import annotations

import ipaddress
import re

DEFAULT_HOST = "api2.nxcloud.com"

_EXAMPLE = f"https://{DEFAULT_HOST}"
_AUTHORITY = re.compile(r"(?P<name>\[[^\[\]]*\]|[^:\[\]]*)(:(?P<port>[0-9]*))?")
_HOST_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")


def parse_scheme(value: object) -> str | None:
    """Return what the connection's field ``schema`` says."""
    if value is None:
        return None
    scheme = value.strip().lower() if isinstance(value, str) else ""
    if scheme not in {"http", "https"}:
        raise ValueError(f"must be http, https or empty, not {value!r:.100}; a path belongs behind the host")
    return scheme


def parse_port(value: object) -> int | None:
    """Return what the connection's field ``port`` says; Airflow's form sends 0 for one that nobody entered."""
    if value is None:
        return None
    text = str(value).strip()
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > 65535:
        raise ValueError(f"must be a number from 1 to 65535 or empty, not {value!r:.100}")
    return int(text) or None


def build_base_url(host: object, scheme: str | None, port: int | None) -> str:
    """Put the base URL together; a full URL and a bare host with the same parts give the same."""
    text = DEFAULT_HOST if host is None else host
    if not isinstance(text, str):
        raise ValueError(f"must be text such as {_EXAMPLE}")
    scheme, address = _split_scheme(text.strip(), scheme)
    if re.search("[@?#]", address):  # not shown: what belongs there is secret
        raise ValueError(
            f"must be a URL without user name, password, query and fragment, such as {_EXAMPLE}; "
            "the keys belong in login and password"
        )
    if not address.isprintable() or re.search(r"[ \\]", address):
        raise ValueError(f"has white space, a backslash or an invisible character in it: {text!r:.100}")
    authority, slash, path = address.partition("/")
    name, own_port = _split_authority(authority)
    if own_port and port and own_port != port:
        raise ValueError(f"has port {own_port} but the field port says {port}; clear one of the two")
    number = own_port or port
    return f"{scheme}://{name}{f':{number}' if number else ''}{slash}{path}".rstrip("/")


def _split_scheme(text: str, named: str | None) -> tuple[str, str]:
    """Return the scheme and what follows it."""
    written, separator, address = text.partition("://")
    if not separator:
        return named or "https", text
    written = written.lower()
    if written not in {"http", "https"}:
        raise ValueError(f"must be an http or https URL, such as {_EXAMPLE}")
    if named and named != written:
        raise ValueError(f"starts with {written}:// but the field schema says {named}; clear one of the two")
    return written, address


def _split_authority(authority: str) -> tuple[str, int | None]:
    """Return name and port; the name in lower case and ASCII, an IPv6 address in brackets."""
    # Airflow takes the brackets away when it reads a connection URI.
    if _is_ipv6(authority):
        return f"[{authority.lower()}]", None
    match = _AUTHORITY.fullmatch(authority)
    name = _ascii_name(match["name"]) if match else None
    if match is None or name is None or name in {"http", "https"}:  # what a typo leaves of a scheme
        raise ValueError(f"is not a host name or URL such as {_EXAMPLE}: {authority!r:.100}")
    return name, parse_port(match["port"] or None)


def _ascii_name(name: str) -> str | None:
    """Return a host name or a bracketed IPv6 address as it stands in a URL; None when it is neither."""
    if name.startswith("["):
        return name.lower() if _is_ipv6(name[1:-1]) else None
    try:
        name = name.encode("idna").decode().lower()
    except UnicodeError:
        return None
    return name if _HOST_NAME.fullmatch(name) else None


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.IPv6Address(text).scope_id is None
    except ValueError:
        return False
