"""How each store is told the MIME type of an object."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_MIME_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(?:\s*;[ -~]*)?\Z", re.ASCII)


def _content_settings(mime_type: str) -> Any:
    from azure.storage.blob import ContentSettings

    return ContentSettings(content_type=mime_type)


#: Scheme -> the keyword for the Content-Type, and what makes its value. A wrong keyword is silently ignored.
_CONTENT_TYPE: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    **dict.fromkeys(("s3", "s3a"), ("ContentType", str)),
    **dict.fromkeys(("gs", "gcs"), ("content_type", str)),
    **dict.fromkeys(("abfs", "abfss", "adl"), ("content_settings", _content_settings)),
}


def content_type_option(scheme: str, mime_type: str | None) -> dict[str, Any]:
    """
    Return what a store's write takes as Content-Type.

    :param scheme: the destination's scheme.
    :param mime_type: the MIME type, None where it is not known.
    :return: one keyword argument, or none where the store knows no Content-Type or the MIME type is unusable.
    """
    if scheme not in _CONTENT_TYPE or not mime_type or not _MIME_TYPE.match(mime_type):
        return {}
    keyword, make = _CONTENT_TYPE[scheme]
    return {keyword: make(mime_type)}
