"""Dates, waits, hashes and encodings as HTTP headers carry them."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timezone
from email.utils import parsedate_to_datetime

_ETAG_MD5 = re.compile(r'"?([0-9A-Fa-f]{32})"?')
#: Objects whose ETag looks like an MD5 and is none: appended, uploaded in parts, encrypted with a key of its own.
_NO_MD5 = re.compile(
    r"^x-\w+-object-type: (?!normal)|^x-\w+-server-side-encryption: \S*kms|-encryption-customer-algorithm:",
    re.IGNORECASE | re.MULTILINE,
)
_ENCODINGS = re.compile(
    "(x-)?(gzip|compress|deflate|br|brotli|zstd|bzip2?|bz2|xz|lzma|lz4|snappy|zip|zlib|sdch|dcb|dcz|exi"
    "|pack200-gzip|aes128gcm)"
)
_NO_ENCODINGS = frozenset(
    {"", "identity", "none", "null", "binary", "7bit", "8bit", "aws-chunked", "chunked"}
)


def parse_http_date(value: str | None) -> float | None:
    """Read an HTTP date (RFC 9110, 5.6.7)."""
    try:
        date = parsedate_to_datetime(value or "")
        # One without a zone comes back naive, and HTTP dates are always GMT.
        return date.replace(tzinfo=date.tzinfo or timezone.utc).timestamp()
    except (ValueError, OverflowError):
        return None


def parse_retry_after(value: str | None) -> float | None:
    """Read a ``Retry-After`` header (RFC 9110, 10.2.3): seconds to wait, None where it cannot be read."""
    if value is None:
        return None
    if seconds := re.match(r"\s*([0-9]+(\.[0-9]+)?)\s*(,|\Z)", value):  # two of them come joined
        return float(seconds[1])
    at = parse_http_date(value)
    return None if at is None else max(0.0, at - time.time())


def content_md5(headers: Mapping[str, str]) -> str | None:
    """Return the MD5 that ``Content-MD5`` announces, in hex."""
    with suppress(ValueError):
        announced = base64.b64decode(headers.get("Content-MD5", "").strip(), validate=True)
        if len(announced) == 16:
            return announced.hex()
    return None


def etag_md5(headers: Mapping[str, str]) -> str | None:
    """Return the MD5 that the ETag is, in hex: that of an object uploaded in one part, as S3 and OSS do."""
    found = _ETAG_MD5.fullmatch(headers.get("ETag", ""))
    if found is None or _NO_MD5.search("\n".join(f"{name}: {value}" for name, value in headers.items())):
        return None
    return found[1].lower()


def real_encoding(words: str, *, proven: bool = False) -> str | None:
    """Return the first listed encoding that really encodes the content; if ``proven``, only a known one."""
    for word in map(str.strip, words.lower().split(",")):
        if _ENCODINGS.fullmatch(word) or not (proven or word in _NO_ENCODINGS or _is_charset(word)):
            return word
    return None


def _is_charset(word: str) -> bool:
    with suppress(LookupError, ValueError):
        "".encode(word)
        return True
    return False
