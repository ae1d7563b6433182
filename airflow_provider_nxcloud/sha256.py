"""The two spellings of a SHA-256: hex in NXCloud's examples, base64 in WhatsApp's own messages."""

from __future__ import annotations

import base64
import re


def parse_sha256(value: object) -> str:
    """
    Return a SHA-256 in the one spelling that this provider uses.

    :param value: 64 hexadecimal digits of either case, or the base64 of the 32 bytes (44 characters).
    :return: 64 lower-case hexadecimal digits.
    :raises ValueError: it is neither.
    """
    if isinstance(value, str) and re.fullmatch("[0-9A-Fa-f]{64}", value):
        return value.lower()
    if isinstance(value, str) and re.fullmatch("[0-9A-Za-z+/]{43}=", value):
        return base64.b64decode(value).hex()
    raise ValueError(f"a SHA-256 is 64 hexadecimal digits or 44 characters of base64, not {value!r:.100}")
