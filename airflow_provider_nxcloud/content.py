"""Whether what a server sends can be the media that was announced."""

from __future__ import annotations

import re

from airflow_provider_nxcloud.exceptions import NxCloudDownloadError

#: How many bytes :func:`check_content` looks at.
HEAD_BYTES = 512

#: What stores say when they do not know; it tells nothing about the content.
_UNKNOWN_TYPES = frozenset({"", "application/octet-stream", "binary/octet-stream"})
#: What error pages come as.
_PAGE_TYPES = frozenset(
    {"text/html", "application/xhtml+xml", "application/json", "application/xml", "text/xml"}
)
#: The same containers (MP4, 3GP, Ogg, WebM) hold sound and pictures; Ogg also goes by "application".
_SOUND_AND_PICTURE = frozenset({"audio", "video"})
_PAGE = re.compile(
    rb'(?:\xef\xbb\xbf)?\s*(?:<!doctype|<!--|<html|<head|<body|<\?xml|<error|\{\s*")', re.IGNORECASE
)


def check_content_type(announced: str | None, served: str | None) -> None:
    """
    Refuse a response whose Content-Type belongs to another family than the announced MIME type.

    :param announced: the MIME type NXCloud announced, None where it announced none.
    :param served: the download's ``Content-Type`` header, None where it has none.
    :raises NxCloudDownloadError: when they contradict each other.
    """
    expected, actual = _bare(announced), _bare(served)
    if actual in _UNKNOWN_TYPES or expected in _UNKNOWN_TYPES or actual == expected:
        return
    if actual in _PAGE_TYPES or not _same_family(expected, actual):
        raise NxCloudDownloadError(f"the server sent {actual!r} where {expected!r} was announced")


def check_content(announced: str | None, head: bytes) -> None:
    """
    Refuse a web page, or an error in XML or JSON, that poses as a media.

    :param announced: the MIME type NXCloud announced, None where it announced none.
    :param head: the first bytes of the content, :data:`HEAD_BYTES` are enough.
    :raises NxCloudDownloadError: when the content is text of the web where another type was announced.
    """
    expected = _bare(announced)
    could_be_one = (
        expected in _UNKNOWN_TYPES or expected.startswith("text/") or re.search("xml|json|html", expected)
    )
    if not could_be_one and _PAGE.match(head):
        raise NxCloudDownloadError(f"the server sent a web page or an error where {expected!r} was announced")


def _bare(mime_type: str | None) -> str:
    return (mime_type or "").partition(";")[0].strip().lower()


def _same_family(expected: str, actual: str) -> bool:
    families = {expected.partition("/")[0], actual.partition("/")[0]}
    return len(families) == 1 or families == _SOUND_AND_PICTURE or actual == "application/ogg"
