"""What text from outside means, what of it is fit for logs, XCom and names, and how logs put things."""

from __future__ import annotations

import base64
import logging
import re
import reprlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

#: Controls, bidi marks and overrides, line separators, surrogates, noncharacters. A table, because
#: ``str.isprintable`` differs between Python versions and refuses the joiners of Persian, Hindi and emoji and the
#: spaces of Chinese and French.
UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff\ufdd0-\ufdef\ufeff\ufff9-\ufffb"
    r"\ufffe\uffff]"
)
#: What begins a Jinja template.
TEMPLATE_MARKER = re.compile(r"\{[{%#]")
_PHONE_SEPARATORS = re.compile(r"[+\s()\[\]\u2010-\u2015\u2212-]")
#: How many media files one text names.
MAX_NAMED = 20
#: How many causes get a visible line.
_MAX_CAUSES = 20
_MAX_NAME = 64


def printable(text: str) -> str:
    """Replace what is fit for no log, XCom or name; letters of every script, joiners, spaces and emoji stay."""
    return UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text)


def shorten(value: object) -> str:
    """Show some of whatever it is; a plain ``repr`` fails on endless nesting and on thousands of digits."""
    try:
        return f"{repr(value) if isinstance(value, str) else reprlib.repr(value):.100}"
    except ValueError:
        return type(value).__name__


def parse_sha256(value: object) -> str:
    """Return a SHA-256 in the one spelling that this provider uses."""
    text = value.strip() if isinstance(value, str) else ""
    if re.fullmatch("[0-9A-Fa-f]{64}", text):
        return text.lower()
    if re.fullmatch("[0-9A-Za-z+/_-]{43}=?", text):
        return base64.urlsafe_b64decode(text[:43].replace("+", "-").replace("/", "_") + "=").hex()
    raise ValueError(f"must be 64 hexadecimal digits or 44 characters of base64, not {shorten(value)}")


def parse_phone(value: object) -> str:
    """Return a phone number as NXCloud wants it."""
    text = str(value) if isinstance(value, str | int) else ""
    digits = _PHONE_SEPARATORS.sub("", text)
    if not re.fullmatch("[0-9]{5,20}", digits):
        raise ValueError(f"must be 5 to 20 digits, country code included, not {shorten(value)}")
    return digits


def parse_detail(value: object, parse: Callable[[Any], T], name: str, problems: list[str]) -> T | None:
    """Read a detail; None where it is missing, empty or makes no sense, of which ``problems`` gets a line."""
    if value is None or value == "":
        return None
    try:
        return parse(value)
    except ValueError as error:
        problems.append(f"{name} {error}")
        return None


def warn_of(log: logging.Logger, what: str, problems: Sequence[str]) -> None:
    """Log one warning for many problems, the first 20 of them by name."""
    if problems:
        more = f"; and {len(problems) - MAX_NAMED} more" if len(problems) > MAX_NAMED else ""
        log.warning("%s: %s%s", what, printable("; ".join(problems[:MAX_NAMED])), more)


class OncePerCause:
    """Tell which failures get a visible log line, so that hundreds with one cause do not fill the log."""

    def __init__(self, every: float = float("inf")) -> None:
        self._every = every
        self._lock = threading.Lock()
        self._logged: dict[str, float] = {}

    def is_due(self, cause: str) -> bool:
        """Return whether a failure with this cause is to be logged, and remember that it was."""
        now = time.monotonic()
        with self._lock:
            self._logged = {each: at for each, at in self._logged.items() if now - at < self._every}
            if cause in self._logged or len(self._logged) >= _MAX_CAUSES:
                return False
            self._logged[cause] = now
            return True


def format_bytes(size: float) -> str:
    """Return a number of bytes with the unit that people read: ``44 kB``, ``1.5 MB``."""
    if size < 999.5:
        return f"{size:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.5 or unit == "GB":
            break
    return f"{size:.1f} {unit}" if size < 9.95 else f"{size:.0f} {unit}"


def format_duration(seconds: float) -> str:
    """Return a duration in the two largest units it has: ``0.4 s``, ``12 s``, ``1 min 12 s``, ``2 h 5 min``."""
    if seconds < 0.95:
        return f"{seconds:.1f} s"
    rest, parts = round(seconds), []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, rest = divmod(rest, length)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2])


def name_some(names: Sequence[str], most: int = MAX_NAMED) -> str:
    """Return the first of some IDs or names, each quoted, and how many more there are."""
    named = ", ".join(
        name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]}..." for name in map(repr, names[:most])
    )
    return f"{named} and {len(names) - most:,} more" if len(names) > most else named
