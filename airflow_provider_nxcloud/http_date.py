"""Dates as HTTP headers carry them."""

from __future__ import annotations

from datetime import timezone
from email.utils import parsedate_to_datetime


def parse_http_date(value: str | None) -> float | None:
    """
    Read an HTTP date (RFC 9110, 5.6.7).

    :param value: the header, None where there is none.
    :return: seconds since the epoch, None where it is no date.
    """
    try:
        date = parsedate_to_datetime(value or "")
        # One without a zone comes back naive, and HTTP dates are always GMT.
        return date.replace(tzinfo=date.tzinfo or timezone.utc).timestamp()
    except (ValueError, OverflowError):
        return None
