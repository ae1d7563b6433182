"""What the options of faults may be."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any


def is_usable(name: str, value: Any) -> bool:
    """
    Check the value of an option; options mean the same in every fault that has them.

    :param name: the name of the option.
    :param value: its value.
    :return: whether a fault can use it.
    """
    check = _CHECKS.get(name)
    return check is None or check(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or _is_whole(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_shift(value: Any) -> bool:
    return _is_whole(value) and value != 0


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "at": lambda value: _is_number(value) and 0 <= value <= 1,
    "body": _is_text,
    "code": _is_whole,
    "delta": _is_shift,
    "headers": lambda value: isinstance(value, dict),
    "honest": lambda value: isinstance(value, bool),
    "interval": _is_positive,
    "location": _is_text,
    "message": _is_text,
    "retry_after": lambda value: (
        value is None
        or (_is_whole(value) and value >= 0)
        or (_is_text(value) and re.fullmatch(r"date:\d+", value) is not None)
    ),
    "seconds": _is_positive,
    "shift": _is_shift,
    "status": lambda value: _is_whole(value) and 200 <= value <= 599,
    "url": _is_text,
}
