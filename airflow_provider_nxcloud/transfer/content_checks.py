"""Whether a server's labels and the first bytes fit the media file that was announced."""

from __future__ import annotations

import re

from airflow_provider_nxcloud.exceptions import NxCloudDownloadError
from airflow_provider_nxcloud.transfer.mime_types import EXTENSIONS

#: What to do where something is served that is no media file.
SOMETHING_ELSE = "check whether a proxy or a login page answers in its place"
#: How many bytes :func:`check_content` looks at.
HEAD_BYTES = 512

_MIME_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
#: MIME types of which we know that they are neither text nor a picture.
_DOCUMENTS = frozenset(name for name in EXTENSIONS if name.startswith("application/"))
_OFFICE = re.compile(r"office|opendocument|ms-?word|excel|powerpoint|visio|rtf|\b(doc|xls|ppt)[xmb]?\b")
#: What only servers say that do not know the type.
_UNKNOWN = re.compile(
    r"(application|binary)/(x-)?(octet-?stream|binary|unknown|(force-)?download)|.*unknown.*|\*/\*"
)

#: No sound, picture, video or PDF begins like this.
_MARKUP = re.compile(
    rb'(?:\xef\xbb\xbf)?\s*(?:<!doctype|<!--|<\?xml|<[a-z][a-z0-9]{0,9}[\s/>]|\{\s*["}]|\[\s*\{\s*")',
    re.IGNORECASE,
)
#: An Office document may be HTML or XML inside, but not the error of an API or a store.
_ERROR = re.compile(rb'(?:\xef\xbb\xbf)?\s*(?:(?:<\?xml[^>]*>\s*)?<error[\s>]|\{\s*["}])', re.IGNORECASE)


def check_content_type(announced: str | None, served: str | None) -> None:
    """Refuse a response whose Content-Type contradicts the announced MIME type, beyond another name for it."""
    expected, actual = _bare(announced), _bare(served)
    if not (expected and actual) or _UNKNOWN.fullmatch(expected) or expected == actual:
        return
    kinds = _kinds(actual)
    if kinds and not kinds & _possible_kinds(expected):
        raise NxCloudDownloadError(
            f"the server sent {actual!r} where {expected!r} was announced", remedy=SOMETHING_ELSE
        )


def check_content(announced: str | None, head: bytes, *, proven: bool = False) -> None:
    """Refuse a page or an error that poses as a media file; if ``proven``, only as picture, sound, video, PDF."""
    expected = _bare(announced)
    kinds = _kinds(expected)
    if not expected or _UNKNOWN.fullmatch(expected) or kinds & {"text", "html", "xml", "json"}:
        refused = _ERROR if _OFFICE.search(expected) and not proven else None
    else:
        refused = _MARKUP if not proven or kinds & {"image", "media"} or "pdf" in expected else None
    if refused and refused.match(head):
        raise NxCloudDownloadError(
            f"the server sent a web page or an error where {expected!r} was announced", remedy=SOMETHING_ELSE
        )


def _bare(mime_type: str | None) -> str:
    """Return a header's first MIME type without parameters; of a file extension, its MIME type."""
    name = re.split("[;,]", mime_type or "")[0].strip().lower()
    if _MIME_TYPE.fullmatch(name):
        return name
    return next(
        (known for known, extension in EXTENSIONS.items() if extension == f".{name.lstrip('.')}"), name
    )


def _possible_kinds(announced: str) -> set[str]:
    """Return what the content of an announced type may be called."""
    kinds = _kinds(announced)
    if not kinds:
        return {"text", "image", "media", "document"}
    if kinds & {"html", "xml", "json"}:
        kinds.add("text")
    if _OFFICE.search(announced) or "+xml" in announced:
        kinds.add("xml")
    return kinds


def _kinds(mime_type: str) -> set[str]:
    """Return what a MIME type says of the content, the same for all names of one type; empty for nothing."""
    family, _, name = mime_type.partition("/")
    kinds = set(re.findall("html|json", name)) or set(re.findall(r"\bxml\b", name))
    if "pdf" in name:
        kinds.add("document")
    elif family == "image":
        kinds.add("image")
    elif family in ("audio", "video") or name in ("ogg", "x-ogg", "mp4"):
        # The same containers (MP4, 3GP, Ogg, WebM) hold sound and pictures.
        kinds.add("media")
    elif _OFFICE.search(mime_type):
        kinds |= {"document", "text"}
    elif "csv" in name or (family == "text" and not kinds):
        kinds.add("text")
    elif mime_type in _DOCUMENTS and not kinds:
        kinds.add("document")
    return kinds
