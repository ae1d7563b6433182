"""How a media file gets its name in the destination: safe parts, the ``object_name`` pattern."""

from __future__ import annotations

import hashlib
import itertools
import logging
import re
import string
import unicodedata
from urllib.parse import quote

from airflow_provider_nxcloud.exceptions import NxCloudInputError, NxCloudMediaRefusedError
from airflow_provider_nxcloud.media import MediaItem
from airflow_provider_nxcloud.text import UNSAFE
from airflow_provider_nxcloud.transfer.mime_types import extension_for

log = logging.getLogger(__name__)

#: The longest name of one file on the usual file systems, in bytes.
MAX_NAME_BYTES = 255
#: What a media ID or a sender's file name may contribute to a name, in bytes; the rest is for the pattern.
_MAX_PART_BYTES = 200

_NAME_FIELDS = frozenset({"media_id", "extension", "file_name"})
#: A template, and not the braces that ``str.format`` writes twice around a field.
_JINJA = re.compile(r"(?<!\{)\{\{[^{}]*\}\}(?!\})|\{[%#]")
#: Every space but the plain one.
_SPACES = re.compile(r"[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_RESERVED = re.compile(r'[<>:"|?*#%]')


def safe_file_name(file_name: str) -> str:
    """
    Make a sender's file name safe to use as one segment of an object name.

    Without folders, controls, bidi overrides, reserved characters and leading dots, its spaces plain ones, at
    most 200 bytes of UTF-8, its extension kept; empty where nothing is left.
    """
    name = _SPACES.sub(" ", re.split(r"[/\\]", file_name)[-1])
    # A fixed version of Unicode, because Python's own differs between its versions.
    known = unicodedata.ucd_3_2_0
    runs = itertools.groupby(
        _RESERVED.sub("_", UNSAFE.sub("_", name)), lambda each: known.category(each) == "Cn"
    )
    # Characters newer than that version stay as they are: their order would depend on the Python that runs.
    name = "".join(
        "".join(run) if is_newer else known.normalize("NFC", "".join(run)) for is_newer, run in runs
    )
    name = re.sub(r"\.{2,}", ".", name).strip(" .")
    stem, dot, suffix = name.rpartition(".")
    if len(suffix) > 10:
        stem, dot, suffix = name, "", ""
    tail = (dot + suffix).encode()
    stem = stem.encode()[: _MAX_PART_BYTES - len(tail)].decode(errors="ignore").rstrip(" .")
    return stem + tail.decode()


def safe_media_id(media_id: str) -> str:
    """
    Make a media ID safe to use as one segment of an object name; different IDs stay different.

    Everything but ASCII letters, digits and ``_-.~`` is percent-quoted, a leading dot too; a result over 200
    bytes ends in a digest of the ID instead.
    """
    name = quote(media_id, safe="")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > _MAX_PART_BYTES:
        # "=" is always quoted above, so no unshortened name can look like a shortened one.
        name = f"{name[:150]}={hashlib.sha256(media_id.encode()).hexdigest()[:32]}"
    return name


class NameTakenError(NxCloudMediaRefusedError):
    """Another media file has the same name."""


class ObjectNames:
    """
    The names of one transfer's objects, by a checked ``object_name`` pattern, each for one media file only.

    The pattern is :meth:`str.format`'s, over ``media_id``, ``extension`` and ``file_name``; ``/`` makes folders.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._owners: dict[str, str] = {}
        if isinstance(pattern, str) and _JINJA.search(pattern):
            raise NxCloudInputError(
                "object_name is not templated",
                remedy="dates and other templates belong into destination, such as 's3://bucket/{{ ds }}'",
                place=repr(pattern),
            )
        try:
            parts = list(string.Formatter().parse(pattern))
            self._fields = {name for _, name, _, _ in parts if name is not None}
            if not self._fields <= _NAME_FIELDS or any("{" in (spec or "") for _, _, spec, _ in parts):
                raise ValueError(f"only {sorted(_NAME_FIELDS)} can stand in it")
            self._check(pattern.format(media_id="id", extension=".bin", file_name="name"))
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            raise NxCloudInputError(
                f"object_name cannot be used: {error}", place=f"{pattern!r:.200}"
            ) from None
        if "media_id" not in self._fields:
            log.warning(
                "object_name %r has no {media_id}: media files of different runs can get the same name, and then "
                "one is skipped or overwrites the other",
                pattern,
            )

    def can_name(self, item: MediaItem) -> bool:
        """Tell whether a media file can be named before NXCloud is asked about it."""
        needed = {"extension": item.mime_type, "file_name": item.file_name}
        return all(needed.get(name, "") is not None for name in self._fields)

    def claim(self, item: MediaItem) -> str:
        """Return the object's name relative to the destination, and keep it for this media file."""
        try:
            name = self._name(item)
        except ValueError as error:
            raise NxCloudMediaRefusedError(
                f"no object name can be made: {error}", remedy="change object_name"
            ) from error
        owner = self._owners.setdefault(name, item.media_id)
        if owner != item.media_id:
            raise NameTakenError(
                "two media files have the same object name",
                remedy="put {media_id} into object_name",
                place=f"object {name!r} of {owner!r} too",
            )
        return name

    def _name(self, item: MediaItem) -> str:
        media_id = safe_media_id(item.media_id)
        name = self._pattern.format(
            media_id=media_id,
            extension=extension_for(item.mime_type, item.file_name),
            file_name=safe_file_name(item.file_name or "") or media_id,
        )
        self._check(name)
        return name

    @staticmethod
    def _check(name: str) -> None:
        for segment in name.split("/"):
            if segment in ("", ".", ".."):
                raise ValueError("the name has an empty, '.' or '..' segment")
            if UNSAFE.search(segment):
                raise ValueError("the name has a control character")
            if len(segment.encode()) > MAX_NAME_BYTES:
                raise ValueError(f"the name has a segment of more than {MAX_NAME_BYTES} bytes")
