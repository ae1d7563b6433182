"""What a media is: its identity as the DAG author gives it, and what NXCloud answers about it."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_nxcloud.exceptions import NxCloudInputError
from airflow_provider_nxcloud.sha256 import parse_sha256

MAX_MEDIA_ID_LENGTH = 256


@dataclass(frozen=True)
class Media:
    """
    What NXCloud answers about one media.

    :param media_id: the media ID asked for.
    :param mime_type: the MIME type as announced, parameters included; None where the answer has none.
    :param file_name: the file name as announced; None where the answer has none.
    :param url: where the file can be had for a while; a secret while it lives, hence not in the ``repr``.
    """

    media_id: str
    mime_type: str | None
    file_name: str | None
    url: str

    def __repr__(self) -> str:
        address, _, query = re.sub("//.*@", "//", self.url).partition("?")
        return (
            f"Media(media_id={self.media_id!r}, mime_type={self.mime_type!r}, file_name={self.file_name!r}, "
            f"url={address + ('?...' if query else '')!r})"
        )


@dataclass(frozen=True)
class MediaItem:
    """
    One media to fetch, with what the DAG author knows about it beforehand.

    :param media_id: the media ID.
    :param sha256: the expected SHA-256 in lower-case hex; None where it is not known.
    :param mime_type: the MIME type the sender declared; None leaves it to NXCloud's answer.
    :param file_name: the file name the sender gave; None leaves it to NXCloud's answer.
    """

    media_id: str
    sha256: str | None = None
    mime_type: str | None = None
    file_name: str | None = None


def parse_media_ids(value: object) -> list[MediaItem]:
    """
    Read ``media_ids`` in every form an operator or sensor accepts.

    :param value: a list of media IDs and/or mappings with ``media_id`` and optionally ``sha256``,
        ``mime_type`` and ``file_name``; or text, which is read as JSON, else as a Python literal (what a
        template gives without native rendering), else as one media ID.
    :return: one item per distinct media ID, in the order of their first appearance.
    :raises NxCloudInputError: when the value or an entry is anything else; the text names the entry.
    """
    if isinstance(value, str):
        value = _parse_text(value.strip())
    if isinstance(value, str | bytes | bytearray) or not isinstance(value, Sequence):
        raise NxCloudInputError(
            f"media_ids must be a list of media IDs or mappings, or text holding one, not {_kind(value)}"
        )
    items: dict[str, MediaItem] = {}
    for position, entry in enumerate(value):
        item = _parse_entry(entry, f"media_ids[{position}]")
        items[item.media_id] = _merge(items.get(item.media_id, item), item)
    return list(items.values())


def _parse_text(text: str) -> object:
    if text in ("", "None", "null"):
        raise NxCloudInputError(
            f"media_ids is {repr(text) if text else 'empty'}: the template or task it comes from gave nothing; "
            "give an empty list when there is nothing to fetch"
        )
    if "{{" in text and "}}" in text:
        raise NxCloudInputError(f"media_ids is a template that was not rendered: {text[:100]!r}")
    for parse in (json.loads, ast.literal_eval):
        try:
            parsed = parse(text)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            continue
        # A bare number is a media ID that happens to be a number too.
        if isinstance(parsed, list | tuple | dict):
            return parsed
        if isinstance(parsed, str):
            return [parsed]
    return [text]


def _parse_entry(entry: object, where: str) -> MediaItem:
    if isinstance(entry, str):
        return MediaItem(check_media_id(entry, where))
    if not isinstance(entry, Mapping):
        raise NxCloudInputError(f"{where} must be a media ID (text) or a mapping, not {_kind(entry)}")
    if "media_id" not in entry:
        raise NxCloudInputError(f"{where} has no 'media_id'")
    sha256 = _optional_text(entry, "sha256", where)
    try:
        sha256 = sha256 and parse_sha256(sha256)
    except ValueError as error:
        raise NxCloudInputError(f"{where}: {error}") from error
    return MediaItem(
        media_id=check_media_id(entry["media_id"], f"{where}['media_id']"),
        sha256=sha256,
        mime_type=_optional_text(entry, "mime_type", where),
        file_name=_optional_text(entry, "file_name", where),
    )


def _optional_text(entry: Mapping[str, Any], key: str, where: str) -> str | None:
    value = entry.get(key)
    if value is not None and not isinstance(value, str):
        raise NxCloudInputError(f"{where}[{key!r}] must be text or None, not {_kind(value)}")
    return presentable(value) if value else None


def presentable(text: str) -> str:
    """
    Make a text from outside fit for logs, XCom and JSON.

    :param text: any text.
    :return: the text with each control character or lone surrogate replaced.
    """
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def check_media_id(media_id: object, where: str) -> str:
    """
    Refuse what cannot be a media ID.

    :param media_id: the media ID.
    :param where: what the error text calls it.
    :return: the same.
    :raises NxCloudInputError: when it is not text, empty, too long, or has characters no ID has.
    """
    if not isinstance(media_id, str):
        raise NxCloudInputError(f"{where} must be a media ID given as text, not {_kind(media_id)}")
    if not media_id.strip():
        problem = "is empty"
    elif len(media_id) > MAX_MEDIA_ID_LENGTH:
        problem = f"has {len(media_id)} characters, a media ID at most {MAX_MEDIA_ID_LENGTH}"
    elif media_id != media_id.strip() or not media_id.isprintable():
        problem = f"has white space around it or a control character: {media_id!r}"
    elif "/" in media_id or ".." in media_id:
        problem = f"has '/' or '..' in it: {media_id!r}"
    else:
        return media_id
    raise NxCloudInputError(f"{where} {problem}; give the media ID as NXCloud's webhook sent it")


def _merge(known: MediaItem, other: MediaItem) -> MediaItem:
    """Let one entry of a repeated media ID complete the other; two hashes for one file cannot both be right."""
    if known.sha256 and other.sha256 and known.sha256 != other.sha256:
        raise NxCloudInputError(
            f"media_ids has {known.media_id!r} twice, with different sha256: {known.sha256} and {other.sha256}"
        )
    return MediaItem(
        known.media_id,
        known.sha256 or other.sha256,
        known.mime_type or other.mime_type,
        known.file_name or other.file_name,
    )


def _kind(value: object) -> str:
    # A number is refused rather than turned into text: it may have lost leading zeros on the way.
    if type(value) is int:
        return "int; native rendering makes numbers of digits, but not in a list that is given as text"
    return "None" if value is None else type(value).__name__
