"""The CRC-64 that Alibaba Cloud OSS gives of each object, verified by liblzma: ``.xz`` has the same one."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping

try:
    import lzma
except ImportError:  # a Python that was built without it
    lzma = None  # type: ignore[assignment]

#: The most that one uncompressed chunk of LZMA2 holds.
CHUNK_LIMIT = 64 * 1024
_FLAGS = b"\0\4"  # a CRC-64 follows
_BLOCK = bytes([2, 0, 0x21, 1, 0, 0, 0, 0])  # one filter, LZMA2


def announced_crc64(headers: Mapping[str, str]) -> int | None:
    """Return what ``x-oss-hash-crc64ecma`` announces, None where nothing does or nothing could verify it."""
    value = headers.get("x-oss-hash-crc64ecma", "")
    if lzma is None or not (value.isascii() and value.isdigit()) or len(value) > 20 or int(value) >> 64:
        return None
    return int(value)


def has_crc64(chunks: Iterable[bytes], crc64: int) -> bool:
    """Return whether chunks of at most :data:`CHUNK_LIMIT` have a CRC-64, by making them an ``.xz`` stream."""
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    decoder.decompress(b"\xfd7zXZ\0" + _with_crc32(_FLAGS) + _with_crc32(_BLOCK))
    size = 1  # of the end marker
    for chunk in chunks:
        resets = 1 if size == 1 else 2
        decoder.decompress(bytes([resets]) + (len(chunk) - 1).to_bytes(2, "big") + chunk)
        size += 3 + len(chunk)
    try:
        decoder.decompress(b"\0" + bytes(-size % 4) + crc64.to_bytes(8, "little"))
    except lzma.LZMAError:
        return False
    return True


def _with_crc32(data: bytes) -> bytes:
    return data + zlib.crc32(data).to_bytes(4, "little")
