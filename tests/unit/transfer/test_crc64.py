"""The CRC-64 of OSS, against the definition of CRC-64/XZ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_nxcloud.transfer import crc64
from airflow_provider_nxcloud.transfer.crc64 import CHUNK_LIMIT, announced_crc64, has_crc64


def crc64_of(content: bytes) -> int:
    """Bit by bit, as ECMA-182's polynomial is defined, reflected and inverted."""
    crc = 2**64 - 1
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xC96C5795D7870F42 if crc & 1 else 0)
    return crc ^ (2**64 - 1)


def test_crc64_is_the_one_with_the_published_check_value():
    assert crc64_of(b"123456789") == 0x995DC9BBDF1939FA
    assert has_crc64([b"123456789"], 0x995DC9BBDF1939FA)


@given(chunks=st.lists(st.binary(min_size=1, max_size=300), max_size=5), change=st.integers(1, 2**64 - 1))
def test_crc64_tells_right_from_wrong(chunks, change):
    right = crc64_of(b"".join(chunks))
    assert has_crc64(chunks, right)
    assert not has_crc64(chunks, right ^ change)


@pytest.mark.parametrize("size", [CHUNK_LIMIT - 1, CHUNK_LIMIT])
def test_crc64_of_chunks_of_every_size_up_to_the_largest(size):
    chunks = [bytes(size), b"end"]
    assert has_crc64(chunks, crc64_of(b"".join(chunks)))


@pytest.mark.parametrize(
    ("value", "announced"),
    [("0", 0), ("18446744073709551615", 2**64 - 1), ("3231342946509354535", 3231342946509354535)],
)
def test_announced_crc64_is_read(value, announced):
    assert announced_crc64({"x-oss-hash-crc64ecma": value}) == announced


@pytest.mark.parametrize("value", ["", "-1", "0x1f", "18446744073709551616", "1" * 5000, "\u0661", "1.0"])
def test_announced_crc64_of_another_form_is_none(value):
    assert announced_crc64({"x-oss-hash-crc64ecma": value}) is None
    assert announced_crc64({}) is None


def test_announced_crc64_counts_as_absent_where_python_has_no_lzma(monkeypatch):
    monkeypatch.setattr(crc64, "lzma", None)
    assert announced_crc64({"x-oss-hash-crc64ecma": "1"}) is None
