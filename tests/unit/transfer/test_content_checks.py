"""What a server may send for what was announced."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_nxcloud.exceptions import NxCloudDownloadError
from airflow_provider_nxcloud.sandbox.media import load_samples
from airflow_provider_nxcloud.transfer.content_checks import HEAD_BYTES, check_content, check_content_type

HTML = b"<!DOCTYPE html><html><body>Please sign in.</body></html>"
XML = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code></Error>'
JSON = b'{"code": -1, "message": "request failed"}'


@pytest.mark.parametrize(
    ("announced", "served"),
    [
        ("image/jpeg", "image/jpeg"),
        ("image/jpeg", "image/png"),
        ("image/jpeg", "IMAGE/JPEG; q=1"),
        ("audio/ogg; codecs=opus", "audio/ogg"),
        ("audio/ogg", "application/ogg"),
        ("audio/mp4", "video/mp4"),
        ("video/3gp", "audio/3gpp"),
        ("application/pdf", "application/octet-stream"),
        ("application/pdf", "binary/octet-stream"),
        ("image/png", None),
        ("image/png", ""),
        (None, "image/png"),
        ("application/octet-stream", "text/html"),
        ("application/msword", "application/zip"),
        ("text/plain", "text/csv"),
        ("text/html", "text/html"),
        ("application/json", "application/json"),
        ("text/xml", "text/xml"),
        ("text/xml", "application/xml; charset=utf-8"),
        ("application/xml", "text/plain"),
        ("text/xml", "image/svg+xml"),
        ("image/svg+xml", "text/xml"),
        ("application/atom+xml", "application/xml"),
        ("application/gpx+xml", "text/xml"),
        ("application/json", "application/geo+json"),
        ("application/geo+json", "text/json"),
        ("application/json", "text/plain"),
        ("application/x-ndjson", "application/json"),
        ("application/json", "application/jsonl"),
        ("application/xhtml+xml", "text/html"),
        ("text/html", "application/xhtml+xml"),
        ("text/csv", "application/vnd.ms-excel"),
        ("application/vnd.ms-excel", "text/csv"),
        ("application/csv", "text/comma-separated-values"),
        ("text/csv", "text/plain"),
        ("application/rtf", "text/rtf"),
        ("text/rtf", "application/msword"),
        ("application/msword", "text/rtf"),
        ("video/mp4", "application/mp4"),
        ("application/mp4", "audio/mp4"),
        ("video/quicktime", "video/mp4"),
        ("application/ogg", "audio/ogg"),
        (
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "application/x-zip-compressed",
        ),
        ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "application/octet-stream"),
        ("application/vnd.ms-powerpoint", "application/x-ole-storage"),
        ("application/vnd.oasis.opendocument.text", "application/zip"),
        ("application/vnd.ms-excel", "application/xml"),
        ("image/jpg", "image/jpeg"),
        ("jpg", "image/jpeg"),
        ("image/jpeg", "jpg"),
        ("pdf", "application/pdf"),
        ("application/pdf", "image/pdf"),
        ("application/x-pdf", "text/pdf"),
        ("text/xml", "application/x-www-form-urlencoded"),
        (".xlsx", "application/zip"),
        ("dwg", "application/acad"),
        ("dwg", "image/vnd.dwg"),
        ("image/vnd.dwg", "application/acad"),
        ("application/x-dwg", "image/vnd.dwg"),
        ("document", "application/pdf"),
        ("image/jpeg", "image/jpeg, image/jpeg"),
        ("image/jpeg", "application/x-download"),
        ("application/pdf", "application/unknown"),
        ("message/rfc822", "text/plain"),
    ],
)
def test_content_type_that_can_be_is_accepted(announced, served):
    check_content_type(announced, served)


@pytest.mark.parametrize(
    ("announced", "served"),
    [
        ("image/jpeg", "text/html"),
        ("image/jpeg", "text/html; charset=utf-8"),
        ("application/pdf", "application/xml"),
        ("image/jpeg", "video/mp4"),
        ("audio/mpeg", "image/png"),
        ("application/pdf", "application/json"),
        ("application/pdf", "TEXT/HTML"),
        ("application/pdf", "text/plain"),
        ("text/plain", "text/html ; charset=utf-8"),
        ("text/plain", "text/xml"),
        ("text/plain", "image/png"),
        ("application/pdf", "application/xhtml+xml"),
        ("jpg", "text/html"),
        ("dwg", "text/html"),
        ("application/acad", "application/json"),
        ("image/jpeg", "application/pdf"),
        ("image/png", "application/problem+json"),
        ("application/msword", "text/html"),
        ("application/xml", "text/html"),
    ],
)
def test_content_type_of_something_else_is_refused_by_name(announced, served):
    with pytest.raises(NxCloudDownloadError) as caught:
        check_content_type(announced, served)
    assert repr(served.partition(";")[0].strip().lower()) in str(caught.value)
    assert announced in str(caught.value) or announced == "jpg"


@pytest.mark.parametrize("page", [HTML, XML, JSON], ids=["html", "xml", "json"])
@pytest.mark.parametrize("lead", [b"", b"\xef\xbb\xbf", b" \r\n\t", b"\xef\xbb\xbf\n"])
def test_content_page_in_place_of_a_media_is_refused(page, lead):
    with pytest.raises(NxCloudDownloadError, match="web page or an error"):
        check_content("image/jpeg", lead + page)


@pytest.mark.parametrize("announced", ["audio/ogg; codecs=opus", "application/pdf"])
def test_content_page_in_place_of_any_media_is_refused(announced):
    with pytest.raises(NxCloudDownloadError, match="web page or an error"):
        check_content(announced, HTML)


@pytest.mark.parametrize(
    "page",
    [b"<HTML>", b"<html lang='en'>", b"<h1>Not Found</h1>", b"<!doctype HTML>", b"<Error>", b'{ "code": 1}'],
)
def test_content_page_of_any_spelling_is_refused(page):
    with pytest.raises(NxCloudDownloadError):
        check_content("image/jpeg", page)


@pytest.mark.parametrize(
    "announced",
    [
        None,
        "",
        "application/octet-stream",
        "text/html",
        "text/plain; charset=utf-8",
        "application/json",
        "image/svg+xml",
    ],
)
@pytest.mark.parametrize("page", [HTML, XML, JSON], ids=["html", "xml", "json"])
def test_content_page_where_text_may_be_is_accepted(announced, page):
    check_content(announced, page)


@pytest.mark.parametrize(
    "announced",
    ["application/vnd.ms-excel", "application/msword", "application/rtf", "application/vnd.ms-office", "xls"],
)
@pytest.mark.parametrize(
    ("content", "accepted"),
    [
        (HTML, True),
        (b"<table><tr><td>1</td></tr></table>", True),
        (b'<?xml version="1.0"?><?mso-application progid="Excel.Sheet"?><Workbook/>', True),
        (XML, False),
        (JSON, False),
    ],
)
def test_content_office_document_may_be_a_page_but_no_error(announced, content, accepted):
    if accepted:
        check_content(announced, content)
    else:
        with pytest.raises(NxCloudDownloadError, match="web page or an error"):
            check_content(announced, content)


@pytest.mark.parametrize("announced", ["image/png", "jpg", "audio/amr", "video/3gpp", "application/pdf"])
@pytest.mark.parametrize("page", [HTML, XML, JSON, b"<script>location='/login'</script>", b'[{"error": 1}]'])
def test_content_page_that_its_own_hash_proves_is_refused_where_none_can_be(announced, page):
    with pytest.raises(NxCloudDownloadError, match="web page or an error"):
        check_content(announced, page, proven=True)


def test_content_page_that_its_own_hash_proves_is_accepted_where_one_can_be():
    check_content("application/x-chm", HTML, proven=True)


@pytest.mark.parametrize("sample", load_samples().values(), ids=lambda sample: sample.mime_type)
def test_content_real_media_is_accepted(sample):
    check_content(sample.mime_type, sample.content[:HEAD_BYTES])
    check_content_type(sample.mime_type, sample.mime_type)


@given(
    announced=st.none() | st.text(max_size=30),
    served=st.none() | st.text(max_size=30),
    head=st.binary(max_size=60),
)
def test_content_anything_is_accepted_or_a_failed_download(announced, served, head):
    for check in (lambda: check_content_type(announced, served), lambda: check_content(announced, head)):
        try:
            check()
        except NxCloudDownloadError as error:
            assert str(error)  # noqa: PT017 - being refused is as good as being accepted


@pytest.mark.parametrize("head", [b"<!\xa0\xf7\xfe\x1d", b"<\x00html", b"\xff\xd8<html"])
def test_content_that_only_begins_like_a_page_is_accepted(head):
    check_content("image/jpeg", head)
