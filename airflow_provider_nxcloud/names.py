"""How a media gets its name in the destination: extensions, safe parts, the ``object_name`` pattern."""

from __future__ import annotations

import hashlib
import logging
import re
import string
import unicodedata
from urllib.parse import quote

from airflow_provider_nxcloud.exceptions import NxCloudInputError
from airflow_provider_nxcloud.media import Media, MediaItem

log = logging.getLogger(__name__)

#: The longest name of one file on the usual file systems, in bytes.
MAX_NAME_BYTES = 255
#: What a media ID or a sender's file name may contribute to a name, in bytes; the rest is for the pattern.
_MAX_PART_BYTES = 200

#: MIME type -> extension. A fixed table, because the standard library's answer depends on the Python version
#: and on the machine's mime.types, and another name on another worker would make "skip" miss.
EXTENSIONS = {
    "application/gzip": ".gz",
    "application/json": ".json",
    "application/msword": ".doc",
    "application/pdf": ".pdf",
    "application/rtf": ".rtf",
    "application/vnd.ms-excel": ".xls",
    "application/vnd.ms-powerpoint": ".ppt",
    "application/vnd.oasis.opendocument.presentation": ".odp",
    "application/vnd.oasis.opendocument.spreadsheet": ".ods",
    "application/vnd.oasis.opendocument.text": ".odt",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.rar": ".rar",
    "application/x-7z-compressed": ".7z",
    "application/x-rar-compressed": ".rar",
    "application/x-zip-compressed": ".zip",
    "application/xml": ".xml",
    "application/zip": ".zip",
    "audio/aac": ".aac",
    "audio/amr": ".amr",
    "audio/m4a": ".m4a",
    "audio/mp3": ".mp3",
    "audio/mp4": ".m4a",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "audio/opus": ".opus",
    "audio/wav": ".wav",
    "audio/webm": ".weba",
    "audio/x-m4a": ".m4a",
    "audio/x-wav": ".wav",
    "image/avif": ".avif",
    "image/gif": ".gif",
    "image/heic": ".heic",
    "image/jpeg": ".jpg",
    "image/jpg": ".jpg",
    "image/png": ".png",
    "image/svg+xml": ".svg",
    "image/tiff": ".tiff",
    "image/webp": ".webp",
    "text/calendar": ".ics",
    "text/csv": ".csv",
    "text/html": ".html",
    "text/plain": ".txt",
    "text/vcard": ".vcf",
    "text/x-vcard": ".vcf",
    "text/xml": ".xml",
    "video/3gp": ".3gp",
    "video/3gpp": ".3gp",
    "video/3gpp2": ".3g2",
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "video/x-matroska": ".mkv",
}

_NAME_FIELDS = frozenset({"media_id", "extension", "file_name"})
_SENDER_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,10}\Z")


def extension_for(mime_type: str | None, file_name: str | None = None) -> str:
    """
    Return the extension for a MIME type: the same on every Python and every machine.

    :param mime_type: the MIME type; parameters and letter case do not matter.
    :param file_name: the sender's file name, whose extension counts where the type tells nothing.
    :return: the extension with its dot, ``.bin`` where nothing is known.
    """
    known = EXTENSIONS.get((mime_type or "").partition(";")[0].strip().lower())
    if known:
        return known
    from_sender = _SENDER_EXTENSION.search(file_name or "")
    return from_sender.group().lower() if from_sender else ".bin"


def safe_file_name(file_name: str) -> str:
    """
    Make a sender's file name safe to use as one segment of an object name.

    :param file_name: the name as sent; only what follows the last slash or backslash counts.
    :return: the name without control characters, reserved characters and leading dots, at most 200 bytes
        of UTF-8, its extension kept; empty where nothing is left.
    """
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", file_name)[-1])
    name = "".join("_" if not c.isprintable() or c in '<>:"|?*#%' else c for c in name)
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

    :param media_id: the media ID.
    :return: the ID with everything but ASCII letters, digits and ``_-.~`` percent-quoted, a leading dot too;
        a result over 200 bytes ends in a digest of the ID instead.
    """
    name = quote(media_id, safe="")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > _MAX_PART_BYTES:
        # "=" is always quoted above, so no unshortened name can look like a shortened one.
        name = f"{name[:150]}={hashlib.sha256(media_id.encode()).hexdigest()[:32]}"
    return name


class ObjectNamePattern:
    """
    The checked ``object_name`` pattern.

    :param pattern: a :meth:`str.format` pattern over ``media_id``, ``extension`` and ``file_name``; ``/``
        makes folders.
    :raises NxCloudInputError: when it is not such a pattern, or its names would leave the destination.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        try:
            self._fields = {name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None}
            if not self._fields <= _NAME_FIELDS:
                raise ValueError(f"only {sorted(_NAME_FIELDS)} can stand in it")
            self._check(pattern.format(media_id="id", extension=".bin", file_name="name"))
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            raise NxCloudInputError(f"object_name {pattern!r} cannot be used: {error}") from error
        if "media_id" not in self._fields:
            log.warning(
                "object_name %r has no {media_id}: media of different runs can get the same name, and then one "
                "is skipped or overwrites the other",
                pattern,
            )

    def is_known(self, item: MediaItem) -> bool:
        """
        Tell whether a media can be named before NXCloud was asked.

        :param item: the media.
        :return: whether it declares everything that its name takes.
        """
        unknown = {"extension"} if item.mime_type is None else set()
        unknown |= {"file_name"} if item.file_name is None else set()
        return not unknown & self._fields

    def name(self, item: MediaItem, media: Media | None = None) -> str:
        """
        Return the object's name relative to the destination.

        What the item declares goes before NXCloud's answer, so that a name that can be known without asking
        stays the same.

        :param item: the media to name.
        :param media: NXCloud's answer; None where the name :meth:`is_known` without.
        :return: the name.
        :raises ValueError: when the name is unusable.
        """
        mime_type = item.mime_type or (media.mime_type if media else None)
        file_name = item.file_name or (media.file_name if media else None)
        media_id = safe_media_id(item.media_id)
        name = self._pattern.format(
            media_id=media_id,
            extension=extension_for(mime_type, file_name),
            file_name=safe_file_name(file_name or "") or media_id,
        )
        self._check(name)
        return name

    @staticmethod
    def _check(name: str) -> None:
        for segment in name.split("/"):
            if segment in ("", ".", ".."):
                raise ValueError(f"the name {name!r} has an empty, '.' or '..' segment")
            if not segment.isprintable():
                raise ValueError(f"the name {name!r} has a control character")
            if len(segment.encode()) > MAX_NAME_BYTES:
                raise ValueError(f"the name has a segment of more than {MAX_NAME_BYTES} bytes")
