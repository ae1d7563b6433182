"""What a media file is: its identity as the DAG author gives it, and what NXCloud answers about it."""

from __future__ import annotations

import ast
import json
import logging
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from airflow_provider_nxcloud.exceptions import NxCloudInputError
from airflow_provider_nxcloud.text import (
    TEMPLATE_MARKER,
    name_some,
    parse_detail,
    parse_phone,
    parse_sha256,
    printable,
    warn_of,
)

log = logging.getLogger(__name__)

MediaIds: TypeAlias = str | Sequence[str | Mapping[str, Any]]
"""
What names media files: a list of media IDs and/or of mappings with ``media_id`` and optionally ``sha256``,
``mime_type``, ``file_name`` and ``business_phone``; or text that holds such a list as JSON or a Python literal,
or one media ID.
"""

MAX_MEDIA_ID_LENGTH = 256

#: What a media ID given as bare text consists of; anything else in it says that the text is something else.
_ID_TEXT = re.compile(r"[^\s,;\"'`()\[\]{}<>|*\\\u3001\uff0c\uff1b]+")
#: A string of a Python literal, and two without a comma, which Python joins to one: so numpy writes a list.
_STRING = re.compile(r"""'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*\"""", re.DOTALL)
_JOINED = re.compile(r"'\s*\w*'")
_AS_SENT = "give media IDs as NXCloud's webhook sent them"
_QUOTES = "write it in quotes, or give the list as text: native rendering turns digits into numbers"
#: What templates and other languages write for nothing.
_NOTHING = frozenset({"", "none", "null", "nan", "undefined", "true", "false"})
#: The keys of a mapping that its record has too.
_RECORD_KEYS = frozenset({"media_id", "sha256", "mime_type", "file_name"})


@dataclass(frozen=True)
class Media:
    """
    What NXCloud answers about one media file.

    :param media_id: the media ID asked for.
    :param mime_type: the MIME type as announced, parameters included; None where the answer has none.
    :param file_name: the file name as announced; None where the answer has none.
    :param url: where the file is available for minutes; a secret while it lives, so the ``repr`` shows no query.
    """

    media_id: str
    mime_type: str | None
    file_name: str | None
    url: str

    def __repr__(self) -> str:
        address, _, query = self.url.partition("?")
        address = re.sub("//.*@", "//", address)
        return (
            f"Media(media_id={self.media_id!r}, mime_type={self.mime_type!r}, file_name={self.file_name!r}, "
            f"url={address + ('?...' if query else '')!r})"
        )


@dataclass(frozen=True)
class MediaItem:
    """One media file to fetch, with what is known about it beforehand; ``given`` is its mapping as given."""

    media_id: str
    sha256: str | None = None
    mime_type: str | None = None
    file_name: str | None = None
    business_phone: str | None = None
    given: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    @property
    def source(self) -> dict[str, Any] | None:
        """What its mapping says beyond what a record has: who sent it, when, with which words."""
        if self.given is None:
            return None
        return {key: value for key, value in self.given.items() if key not in _RECORD_KEYS}

    def completed_by(self, media: Media) -> MediaItem:
        """Add from NXCloud's answer what was not given."""
        return replace(
            self,
            mime_type=self.mime_type or media.mime_type,
            file_name=self.file_name or media.file_name,
        )


def parse_media_ids(value: object) -> list[MediaItem]:
    """
    Read ``media_ids`` in every form an operator or sensor accepts.

    :param value: a list of media IDs and/or mappings with ``media_id`` and optionally ``sha256``,
        ``mime_type``, ``file_name`` and ``business_phone``; or text, which is read as JSON, else as a Python
        literal (what a template gives without native rendering), else as one media ID.
    :return: one item per distinct media ID, in the order of their first appearance. A detail that nobody needs
        to fetch the file, and that makes no sense, is left out with a warning.
    :raises NxCloudInputError: when the value or an entry is anything else; the text names the entry.
    """
    if isinstance(value, str):
        value = _parse_text(value.strip())
    if isinstance(value, str | bytes | bytearray) or not isinstance(value, Sequence):
        raise _wrong_type("media_ids must be a list of media IDs or mappings, or text holding one", value)
    items: dict[str, MediaItem] = {}
    problems: list[str] = []
    for position, entry in enumerate(value):
        item = _parse_entry(entry, f"media_ids[{position}]", problems)
        items[item.media_id] = _merge(items.get(item.media_id, item), item)
    warn_of(log, "Ignored details of media_ids", problems)
    return list(items.values())


def parse_literal(text: str) -> Any:
    """Read text that is JSON or a Python literal of a list, tuple or mapping; return other text as it is."""
    for parse in (json.loads, _parse_python):
        try:
            parsed = parse(text.strip())
        except (ValueError, TypeError, SyntaxError, OverflowError, RecursionError, MemoryError):
            continue
        if isinstance(parsed, list | tuple | dict):
            return parsed
    return text


def _parse_python(text: str) -> Any:
    if _JOINED.search(_STRING.sub("'", text)):
        raise ValueError("strings without a comma in between")
    return ast.literal_eval(text)


def _parse_text(text: str) -> object:
    if text.lower() in _NOTHING:
        raise NxCloudInputError(
            f"media_ids is {repr(text) if text else 'empty'}: the template or task it comes from gave nothing",
            remedy="check that template or task; it should give [] when there is nothing to fetch",
        )
    parsed = parse_literal(text)
    if not isinstance(parsed, str):
        return parsed
    if TEMPLATE_MARKER.search(text):
        raise NxCloudInputError(f"media_ids is a template that was not rendered: {text[:100]!r}")
    # 123 is a media ID although JSON reads a number; quotes around a single ID come from JSON or Python.
    media_id = text[1:-1] if text[0] in "\"'" and text[0] == text[-1] else text
    if not _ID_TEXT.fullmatch(media_id):
        raise NxCloudInputError(
            f"media_ids is text that is no media ID, no JSON and no Python literal: {text[:100]!r}",
            remedy='give a list of media IDs, or text that holds one, such as \'["1", "2"]\'',
        )
    return [media_id]


def _parse_entry(entry: object, where: str, problems: list[str]) -> MediaItem:
    if isinstance(entry, str):
        return MediaItem(check_media_id(entry, where))
    if not isinstance(entry, Mapping):
        raise _wrong_type(f"{where} must be a media ID (text) or a mapping", entry)
    if "media_id" not in entry:
        keys = name_some([str(key) for key in entry])
        raise NxCloudInputError(
            f"{where} has no 'media_id'",
            remedy=f"rename the key of its media ID; it has {keys or 'none'}",
        )

    def detail(key: str, parse: Callable[[Any], str]) -> str | None:
        return parse_detail(entry.get(key), parse, f"{where}[{key!r}]", problems)

    phone = entry.get("business_phone")
    try:
        phone = None if phone is None or phone == "" else parse_phone(phone)
    except ValueError as error:
        raise NxCloudInputError(f"{where}['business_phone'] {error}") from error
    return MediaItem(
        media_id=check_media_id(entry["media_id"], f"{where}['media_id']"),
        sha256=detail("sha256", parse_sha256),
        mime_type=detail("mime_type", _text),
        file_name=detail("file_name", _text),
        business_phone=phone,
        given=entry,
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {_kind(value)}")
    return printable(value)


def check_media_id(media_id: object, where: str) -> str:
    """Return a media ID, or refuse what cannot be one; ``where`` is what the error calls it."""
    if not isinstance(media_id, str):
        raise _wrong_type(f"{where} must be a media ID given as text", media_id)
    if not media_id.strip():
        problem = "is empty"
    elif media_id.lower() in _NOTHING:
        problem = f"is {media_id!r}: the template or task it comes from gave nothing"
    elif len(media_id) > MAX_MEDIA_ID_LENGTH:
        problem = f"has {len(media_id)} characters, a media ID at most {MAX_MEDIA_ID_LENGTH}"
    elif media_id != media_id.strip() or any(map(_is_invisible, media_id.replace(" ", ""))):
        problem = f"has white space around it or a control character: {media_id!r}"
    elif "/" in media_id or ".." in media_id:
        problem = f"has '/' or '..' in it: {media_id!r}"
    elif TEMPLATE_MARKER.search(media_id) or (
        media_id[0] in "[({" and parse_literal(media_id) is not media_id
    ):
        problem = f"is a template or a list, not one media ID: {media_id!r}"
    else:
        return media_id
    raise NxCloudInputError(f"{where} {problem}", remedy=_AS_SENT)


def _is_invisible(character: str) -> bool:
    # By a fixed version of Unicode, because str.isprintable differs between Python versions; there the soft
    # hyphen is a dash.
    return character == "\xad" or unicodedata.ucd_3_2_0.category(character)[0] in "CZ"


def _merge(known: MediaItem, other: MediaItem) -> MediaItem:
    """Let one entry of a repeated media ID complete the other; two hashes for one file cannot both be right."""
    if known.sha256 and other.sha256 and known.sha256 != other.sha256:
        raise NxCloudInputError(
            f"media_ids has {known.media_id!r} twice, with different sha256: {known.sha256} and {other.sha256}"
        )
    return replace(
        known,
        sha256=known.sha256 or other.sha256,
        mime_type=known.mime_type or other.mime_type,
        file_name=known.file_name or other.file_name,
        business_phone=known.business_phone or other.business_phone,
        given=complete(known.given or {}, other.given or {}) or None,
    )


def complete(known: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Add what comes later where nothing is known."""
    return {**known, **{key: value for key, value in later.items() if known.get(key) is None}}


def _wrong_type(rule: str, value: object) -> NxCloudInputError:
    # A number is refused rather than turned into text: it may have lost leading zeros on the way.
    remedy = _QUOTES if type(value) is int else _AS_SENT
    return NxCloudInputError(f"{rule}, not {_kind(value)}", remedy=remedy)


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__
