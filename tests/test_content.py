"""What a server may send for what was announced."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_nxcloud.content import HEAD_BYTES, check_content, check_content_type
from airflow_provider_nxcloud.exceptions import NxCloudDownloadError
from airflow_provider_nxcloud.sandbox.media import load_samples

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
    ],
)
def test_content_type_of_something_else_is_refused_by_name(announced, served):
    with pytest.raises(NxCloudDownloadError) as caught:
        check_content_type(announced, served)
    assert repr(served.partition(";")[0].strip().lower()) in str(caught.value)
    assert announced in str(caught.value)


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
    "page", [b"<HTML>", b"<html lang='en'>", b"<!doctype HTML>", b"<Error>", b'{ "code": 1}']
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
