"""
From NXCloud's webhook callbacks to the media files in them.

Source: NXCloud, "WhatsApp API webhook".
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from datetime import timezone
from typing import Any, TypeVar

from airflow_provider_nxcloud.exceptions import NxCloudInputError
from airflow_provider_nxcloud.media import check_media_id, complete
from airflow_provider_nxcloud.text import parse_detail, parse_phone, parse_sha256, shorten, warn_of

log = logging.getLogger(__name__)

T = TypeVar("T")

_MEDIA_TYPES = frozenset({"image", "video", "voice", "audio", "document", "sticker"})
#: Units of timestamps in a second, each with the least seconds; the most are ten digits, until the year 2286.
_UNITS = ((1, 0), (1e3, 1e8), (1e6, 1e8), (1e9, 1e8))
#: The end of the year 9999, the last that Python's dates know.
_LAST_SECOND = 253_402_300_799
#: What no database keeps.
_NOT_STORABLE = re.compile(r"[\x00\ud800-\udfff]")


def media_from_webhook(payload: object) -> list[dict[str, Any]]:
    """
    List the media files of webhook callbacks, ready for the operator's and the sensor's ``media_ids``.

    Messages without a media file and status callbacks give nothing. A media file that was delivered again is
    listed once, as it came first, completed by what later deliveries add. What is odd does not hold up the rest:
    a callback or message that makes no sense is left out, a detail that makes no sense becomes None, each with a
    warning in the log that names it.

    :param payload: a callback as dict or JSON text (str or bytes), or a list of those.
    :return: one dict per media file, in order of first appearance: ``media_id``, ``sha256`` (lower-case hex),
        ``mime_type``, ``file_name``, ``caption``, ``message_id``, ``message_type``, ``from_number``, ``user_id``
        (NXCloud's ID of a sender, also of one without a number), ``timestamp`` (epoch seconds) and
        ``business_phone``; texts as sent, None for what the callback does not say.
    :raises NxCloudInputError: (a ValueError) it is no callback at all: not JSON, no object, no list with objects.
    """
    reader = _Reader()
    media: dict[str, dict[str, Any]] = {}
    for item in reader.media_in(payload):
        media[item["media_id"]] = complete(media.get(item["media_id"], {}), item)
    warn_of(log, "Left out of the webhook's messages", reader.left_out)
    warn_of(log, "Not understood and set to None", reader.not_understood)
    return list(media.values())


class _Reader:
    """Reads callbacks and remembers what made no sense in them."""

    def __init__(self) -> None:
        self.left_out: list[str] = []
        self.not_understood: list[str] = []

    def media_in(self, payload: object) -> Iterator[dict[str, Any]]:
        entries = _entries_of(payload)
        callbacks = 0
        for where, entry in entries.items():
            with self._leaving_out(where):
                callback = _callback(entry)
                callbacks += 1
                yield from self._media_of(callback, _messages_of(callback), where)
        if entries and not callbacks:
            raise NxCloudInputError(self.left_out[0], remedy="give a webhook callback, or a list of them")

    @contextmanager
    def _leaving_out(self, where: str) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            self.left_out.append(f"{where} {getattr(error, 'cause', error)}")

    def _media_of(
        self, callback: dict[str, Any], messages: list[Any], where: str
    ) -> Iterator[dict[str, Any]]:
        merchant = self._merchant(callback, where)
        contacts = callback.get("contacts")
        contacts = [each for each in contacts if isinstance(each, dict)] if isinstance(contacts, list) else []
        for index, message in enumerate(messages):
            place = f"{where}.messages[{index}]"
            if isinstance(message, dict) and message.get("id"):
                place += f" ({shorten(message['id'])})"
            with self._leaving_out(place):
                if item := self._media(message, contacts, place):
                    yield {**item, "business_phone": merchant}

    def _media(self, message: Any, contacts: list[dict[str, Any]], where: str) -> dict[str, Any] | None:
        kind = _type_of(message)
        media = message.get(kind)
        if kind not in _MEDIA_TYPES:
            names = _MEDIA_TYPES | {kind}
            if _has_media({name: message.get(name) for name in names}, names):
                raise ValueError(f"has the unknown type {kind!r:.50}, with a media ID")
            return None
        if not isinstance(media, dict) or not media.get("id"):
            errors = f"; errors: {shorten(message['errors'])}" if message.get("errors") else ""
            raise ValueError(f"has no {kind} with an id{errors}")
        sender = self._detail(message, "from", _number, where)
        theirs = [each for each in contacts if _digits(each.get("wa_id")) == sender] if sender else contacts
        contact = theirs[0] if len(theirs) == 1 else None
        return {
            "media_id": check_media_id(_digits(media["id"]), f"{kind}.id"),
            "sha256": self._detail(media, "sha256", parse_sha256, where),
            "mime_type": self._detail(media, "mime_type", _text, where),
            "file_name": self._detail(media, "filename", _text, where),
            "caption": self._detail(media, "caption", _text, where),
            "message_id": self._detail(message, "id", _number, where),
            "message_type": kind,
            "from_number": sender,
            "user_id": self._detail(message, "user_id", _number, where)
            or self._detail(contact, "user_id", _number, where),
            "timestamp": self._detail(message, "timestamp", _timestamp, where),
        }

    def _merchant(self, callback: dict[str, Any], where: str) -> str | None:
        return (
            self._detail(callback, "business_phone", _phone, where)
            or self._detail(callback, "merchant_phone", _phone, where)
            or self._detail(callback.get("metadata"), "display_phone_number", _phone, where)
        )

    def _detail(self, source: object, field: str, parse: Callable[[Any], T], where: str) -> T | None:
        value = source.get(field) if isinstance(source, dict) else None
        return parse_detail(value, parse, f"{where} {field}", self.not_understood)


def _load(value: object) -> Any:
    """Return what JSON text stands for, whatever bytes its captions have, and anything else as it is."""
    if isinstance(value, bytes):
        value = value.decode(json.detect_encoding(value), "replace")
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value.removeprefix("\ufeff"), parse_int=_int, strict=False)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from error


def _int(digits: str) -> int | float:
    # Python refuses thousands of digits, and with them the whole text.
    return int(digits) if len(digits) < 100 else math.inf


def _entries_of(payload: object) -> dict[str, Any]:
    """Return what may be callbacks, by where they are."""
    try:
        loaded = _load(payload)
    except ValueError as error:
        raise NxCloudInputError(f"payload {error}") from error
    # What a mapped task gave is a sequence, but no list.
    if isinstance(loaded, Sequence) and not isinstance(loaded, str | bytes | bytearray | tuple):
        return {f"payload[{index}]": entry for index, entry in enumerate(loaded)}
    return {"payload": loaded}


def _callback(entry: object) -> dict[str, Any]:
    callback = _load(entry)
    if not isinstance(callback, dict):
        raise ValueError(f"must be a webhook callback (a JSON object), not {_kind(callback)}")
    return callback


def _messages_of(callback: dict[str, Any]) -> list[Any]:
    name = "statuses" if callback.get("messages") is None else "messages"
    found = callback.get(name)
    if found is None:
        raise ValueError("is no callback: it has neither messages nor statuses")
    if not isinstance(found, list):
        raise ValueError(f"has {name} that are no list but {_kind(found)}")
    return found if name == "messages" else []


def _type_of(message: Any) -> str:
    if not isinstance(message, dict):
        raise ValueError(f"must be an object, not {_kind(message)}")
    kind = message.get("type")
    if not isinstance(kind, str) or not kind:
        raise ValueError(f"has a type that is {_kind(kind)}" if kind else "has no type")
    return kind


def _has_media(value: object, names: Set[str], depth: int = 3) -> bool:
    """Tell whether there is a media ID under one of some names; edits have theirs two levels down."""
    return isinstance(value, dict) and any(
        (name in names and isinstance(each, dict) and each.get("id"))
        or (depth and _has_media(each, names, depth - 1))
        for name, each in value.items()
    )


def _timestamp(value: object) -> int:
    """Read seconds, milliseconds, microseconds or nanoseconds since the epoch, as number or text, or ISO 8601."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
        found = (number / unit for unit, least in _UNITS if least <= number / unit < 1e10)
        seconds = next(found, math.nan)
    except (TypeError, ValueError, OverflowError):
        seconds = _iso_timestamp(value)
    if not 0 <= seconds <= _LAST_SECOND:
        raise ValueError(f"is no time: {shorten(value)}")
    return int(seconds)


def _iso_timestamp(value: object) -> float:
    from dateutil.parser import isoparse  # datetime's own reads other forms on each Python

    try:
        moment = isoparse(value.strip() if isinstance(value, str) else "")
        return float(moment.replace(tzinfo=moment.tzinfo or timezone.utc).timestamp())
    except (ValueError, OverflowError):
        return math.nan


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {_kind(value)}")
    return _NOT_STORABLE.sub("\N{REPLACEMENT CHARACTER}", value)


def _number(value: object) -> str:
    return _text(_digits(value))


def _digits(value: object) -> object:
    """Return what is digits most of the time as text; some senders give a number."""
    return str(value) if type(value) is int else value


def _phone(value: object) -> str:
    """Read a phone number, as it came; what the operator would refuse must not hold up the other files."""
    text = _number(value)
    parse_phone(text)
    return text


def _kind(value: object) -> str:
    return "nothing" if value is None else type(value).__name__
