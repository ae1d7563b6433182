"""Extensions: the same everywhere, whatever the standard library or the machine says."""

from __future__ import annotations

import mimetypes

import pytest

from airflow_provider_nxcloud.transfer.mime_types import extension_for

OFFICE = "application/vnd.openxmlformats-officedocument."
EXTENSIONS = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/jpg": ".jpg",
    "image/avif": ".avif",
    "image/heic": ".heic",
    "audio/ogg; codecs=opus": ".ogg",
    "audio/ogg": ".ogg",
    "audio/opus": ".opus",
    "audio/amr": ".amr",
    "audio/AMR": ".amr",
    "audio/aac": ".aac",
    "audio/mp4": ".m4a",
    "audio/mpeg": ".mp3",
    "audio/mp3": ".mp3",
    "audio/m4a": ".m4a",
    "audio/x-m4a": ".m4a",
    "audio/wav": ".wav",
    "audio/webm": ".weba",
    "video/mp4": ".mp4",
    "video/3gp": ".3gp",
    "video/3gpp": ".3gp",
    "video/3gpp2": ".3g2",
    "video/quicktime": ".mov",
    "video/x-matroska": ".mkv",
    "application/pdf": ".pdf",
    "application/msword": ".doc",
    "application/vnd.ms-excel": ".xls",
    "application/vnd.ms-powerpoint": ".ppt",
    f"{OFFICE}wordprocessingml.document": ".docx",
    f"{OFFICE}spreadsheetml.sheet": ".xlsx",
    f"{OFFICE}presentationml.presentation": ".pptx",
    "application/vnd.oasis.opendocument.text": ".odt",
    "text/plain": ".txt",
    "text/plain; charset=utf-8": ".txt",
    "text/csv": ".csv",
    "text/vcard": ".vcf",
    "text/x-vcard": ".vcf",
    "application/xml": ".xml",
    "application/vnd.rar": ".rar",
    "application/x-7z-compressed": ".7z",
    "application/gzip": ".gz",
    "application/x-zip-compressed": ".zip",
    "application/x-rar-compressed": ".rar",
    "application/zip": ".zip",
    "application/octet-stream": ".bin",
    "": ".bin",
}


@pytest.fixture(autouse=True)
def no_mimetypes(monkeypatch: pytest.MonkeyPatch):
    """The standard library's table differs between machines, so nothing here may ask it."""

    def ask(*_: object, **__: object) -> None:
        raise AssertionError("mimetypes was asked")

    for name in ("guess_type", "guess_extension", "guess_all_extensions", "init"):
        monkeypatch.setattr(mimetypes, name, ask)


@pytest.mark.parametrize(("mime_type", "extension"), EXTENSIONS.items())
def test_extension_known_type_gives_the_table(mime_type, extension):
    assert extension_for(mime_type) == extension
    assert extension_for(f" {mime_type.upper()} ; x=y") == extension


@pytest.mark.parametrize(
    "mime_type", ["", "application/octet-stream", "application/x-unheard-of", "nonsense"]
)
def test_extension_unknown_type_leaves_it_to_the_sender(mime_type):
    assert extension_for(mime_type, "drawing.dwg") == ".dwg"


@pytest.mark.parametrize(
    ("file_name", "extension"),
    [
        (None, ".bin"),
        ("", ".bin"),
        ("drawing.dwg", ".dwg"),
        ("DRAWING.DWG", ".dwg"),
        ("archive.tar.gz", ".gz"),
        ("noextension", ".bin"),
        ("trailing.", ".bin"),
        ("../../x.sh/", ".bin"),
        ("a.b/c", ".bin"),
        ("a.exe\n", ".bin"),
        ("a.é", ".bin"),
        ("a.abcdefghijk", ".bin"),
    ],
)
def test_extension_of_the_sender_is_taken_where_it_is_safe(file_name, extension):
    assert extension_for(None, file_name) == extension


def test_extension_known_type_beats_the_sender():
    assert extension_for("image/jpeg", "evil.exe") == ".jpg"
