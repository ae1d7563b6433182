"""What both drivers of the form tell of it."""

from __future__ import annotations

from typing import NamedTuple

#: The fields that every type of connection can have.
STANDARD = ("description", "host", "login", "password", "port", "schema")


class Shown(NamedTuple):
    """A field of the form, as a user sees it."""

    label: str
    help: str
    placeholder: str
    required: bool
