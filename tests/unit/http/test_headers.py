"""What headers of other people's servers mean."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3 import HTTPHeaderDict

from airflow_provider_nxcloud.http.headers import content_md5, etag_md5, parse_retry_after, real_encoding

MD5 = "0cc175b9c0f1b6a831c399e269772661"


@pytest.mark.parametrize("etag", [f'"{MD5}"', MD5, f'"{MD5.upper()}"'])
@pytest.mark.parametrize(
    "others", [{}, {"x-oss-object-type": "Normal"}, {"X-Amz-Server-Side-Encryption": "AES256"}]
)
def test_etag_of_one_part_is_an_md5(etag, others):
    assert etag_md5(HTTPHeaderDict({"ETag": etag, **others})) == MD5


@pytest.mark.parametrize(
    "etag", ["", f'W/"{MD5}"', f'"{MD5}-1"', f'"{MD5}-17"', f'"{MD5[1:]}"', '"0x8D4BCC2E"']
)
def test_etag_of_another_form_is_no_md5(etag):
    assert etag_md5(HTTPHeaderDict({"ETag": etag})) is None


@pytest.mark.parametrize(
    "others",
    [
        {"X-Oss-Object-Type": "Appendable"},
        {"x-oss-object-type": "multipart"},
        {"x-oss-server-side-encryption": "KMS"},
        {"x-oss-server-side-encryption-customer-algorithm": "AES256"},
        {"x-amz-server-side-encryption": "aws:kms"},
        {"X-Amz-Server-Side-Encryption-Customer-Algorithm": "AES256"},
        {"x-goog-encryption-algorithm": "AES256", "x-goog-server-side-encryption": "kms"},
    ],
    ids=str,
)
def test_etag_of_an_object_that_has_no_md5_is_none(others):
    assert etag_md5(HTTPHeaderDict({"ETag": f'"{MD5}"', **others})) is None


def test_content_md5_is_read_in_base64():
    assert content_md5({"Content-MD5": "DMF1ucDxtqgxw5niaXcmYQ== "}) == MD5


@pytest.mark.parametrize(
    "value", [MD5, "DMF1ucDxtqgxw5niaXcmYQ", "DMF1", "\u00e9", "", "==", "DMF1ucDx tqgx"]
)
def test_content_md5_of_another_form_is_none(value):
    assert content_md5({"Content-MD5": value}) is None


@pytest.mark.parametrize(
    "words",
    [
        "",
        ",",
        "identity",
        "NONE",
        "binary",
        "null",
        "chunked",
        "aws-chunked",
        "aws-chunked,aws-chunked",
        "utf8",
        "UTF-8 , identity",
        "iso-8859-1",
        "Windows-1252",
        "gbk",
        "us-ascii",
    ],
)
def test_encoding_that_encodes_nothing_is_none(words):
    assert real_encoding(words) is None


@pytest.mark.parametrize(
    "words",
    [
        "gzip",
        "X-GZIP",
        "br",
        "zstd",
        "deflate",
        "compress",
        "identity, gzip",
        "aws-chunked,br",
        "lz4",
        "xz",
        "zlib",
    ],
)
@pytest.mark.parametrize("proven", [True, False])
def test_encoding_that_encodes_is_named_even_of_proven_bytes(words, proven):
    assert real_encoding(words, proven=proven) == words.rpartition(",")[2].strip().lower()


@pytest.mark.parametrize("words", ["base64", "image/jpeg", "x-unheard-of", "\0", "rot13", "undefined"])
def test_encoding_nobody_knows_takes_a_proof(words):
    assert real_encoding(words) == words
    assert real_encoding(words, proven=True) is None


@given(st.text())
def test_encoding_of_any_text_is_read(words):
    assert real_encoding(words) is None or real_encoding(words) in words.lower()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("7", 7),
        (" 7 ", 7),
        ("7\x1f", 7),
        ("", None),
        ("soon", None),
        ("-7", None),
        ("7.5", 7.5),
        ("7.", None),
        ("7s", None),
        ("7, 7", 7),
        ("\u0667", None),
    ],
)
def test_retry_after_seconds_are_read(value, seconds):
    assert parse_retry_after(value) == seconds


def test_retry_after_http_date_is_read_as_seconds_from_now():
    assert parse_retry_after(formatdate(time.time() + 60, usegmt=True)) == pytest.approx(60, abs=2)


def test_retry_after_date_without_zone_counts_as_gmt(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        date = formatdate(time.time() + 60, usegmt=True).replace("GMT", "-0000")
        assert parse_retry_after(date) == pytest.approx(60, abs=2)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_retry_after_date_in_the_past_is_zero():
    assert parse_retry_after("Mon, 20 Jun 2022 07:41:25 GMT") == 0


@pytest.mark.parametrize(
    "value",
    ["Mon, 23 Nov 2026 12:00:00 +99999999999999999", "Mon, 23 Nov 99999999999999999999 12:00:00 GMT"],
    ids=["zone", "year"],
)
def test_retry_after_date_beyond_the_calendar_is_none(value):
    assert parse_retry_after(value) is None


@given(value=st.text(max_size=60) | st.from_regex(r"[0-9]{1,400}", fullmatch=True))
def test_retry_after_any_text_gives_none_or_at_least_zero(value):
    seconds = parse_retry_after(value)
    assert seconds is None or seconds >= 0
