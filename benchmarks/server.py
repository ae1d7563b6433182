"""
The server that all contenders are measured against: NXCloud's signed getMedia and OSS-like downloads.

The sandbox records every request and knows many faults; this one does the least, in one event loop on libuv, so
that what is measured is the contender. A media ID tells the size of the media: ``65536-17`` has 65,536 bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import random
import re
import time
from functools import cache

import uvloop

from airflow_provider_nxcloud.signature import sign

ACCESS_KEY, ACCESS_SECRET, PHONE = "bench-key", "bench-secret", "8613800138000"
URL_KEY = b"key of the signed URLs"
MIME_TYPE = "image/jpeg"
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PIECE = 256 * 1024


@cache
def content_of(size: int) -> bytes:
    """Return the content of every media file of that size."""
    return random.Random(size).randbytes(size)


@cache
def download_head(size: int) -> bytes:
    """Return the head of the answer to a download."""
    etag = hashlib.md5(content_of(size)).hexdigest().upper()
    headers = [
        f"HTTP/1.1 200 OK\r\nContent-Type: {MIME_TYPE}\r\nContent-Length: {size}",
        f'ETag: "{etag}"\r\nAccept-Ranges: bytes\r\nLast-Modified: Tue, 14 Nov 2023 22:13:20 GMT',
        "Server: AliyunOSS\r\nx-oss-request-id: 5C06A3B67B8B5A3DA422299D\r\nx-oss-object-type: Normal",
        "x-oss-storage-class: Standard\r\nDate: Mon, 23 Nov 2026 08:00:00 GMT\r\n\r\n",
    ]
    return "\r\n".join(headers).encode()


class Connection(asyncio.Protocol):
    """
    One keep-alive connection.

    :param options: the command line.
    :param link: the pace that all connections share.
    """

    def __init__(self, options: argparse.Namespace, link: Link) -> None:
        self._latency = options.latency_ms / 1000
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        host, port = transport.get_extra_info("sockname")
        self._base_url = f"http://{host}:{port}"

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        while (end := received.find(b"\r\n\r\n")) >= 0:
            length = _CONTENT_LENGTH.search(received, 0, end)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(received) < size:
                return
            lines = received[:end].decode().split("\r\n")
            answer = self._answer(lines, bytes(received[end + 4 : size]))
            del received[:size]
            if self._latency:
                self._loop.call_later(self._latency, self._send, *answer)
            else:
                self._send(*answer)

    def _answer(self, lines: list[str], body: bytes) -> tuple[bytes, bytes]:
        method, target, _ = lines[0].split(" ")
        if method == "POST":
            data = json.dumps(self._get_media(lines, body)).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
            return head.encode() + data, b""
        path, _, query = target.partition("?")
        media_id = path.rpartition("/")[2]
        if f"Signature={url_signature(media_id)}" not in query:
            return b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", b""
        size = int(media_id.partition("-")[0])
        return download_head(size), content_of(size)

    def _get_media(self, lines: list[str], body: bytes) -> dict:
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        signed = {"access_key": headers["accesskey"], "action": headers["action"], "ts": headers["ts"]}
        expected = sign(**signed, biz_type=headers["biztype"], body=body, access_secret=ACCESS_SECRET)
        if headers["sign"] != expected or abs(time.time() - int(headers["ts"]) / 1000) > 60:
            return {"code": 1003, "message": "invalid signature", "data": None}
        media_id = json.loads(body)["Media-ID"]
        query = f"Expires=1999999999&OSSAccessKeyId=bench&Signature={url_signature(media_id)}"
        url = f"{self._base_url}/media/{media_id}?{query}"
        return {
            "code": 0,
            "message": "ok",
            "data": {"mime_type": MIME_TYPE, "file_name": "photo", "url": url},
        }

    def _send(self, head: bytes, body: bytes) -> None:
        if self._link.bytes_per_second and body:
            self._transport.write(head)
            self._send_piece(memoryview(body))
        elif body:
            self._transport.writelines([head, body])
        else:
            self._transport.write(head)

    def _send_piece(self, body: memoryview) -> None:
        """Send the first piece of a body when the link is free, and the rest after it."""
        piece, rest = body[:_PIECE], body[_PIECE:]

        def send() -> None:
            self._transport.write(piece)
            if rest:
                self._send_piece(rest)

        self._loop.call_at(self._link.book(len(piece)), send)


class Link:
    """
    A network link of some speed that all connections share.

    :param bytes_per_second: its speed, 0 for as fast as the machine can.
    """

    def __init__(self, bytes_per_second: float) -> None:
        self.bytes_per_second = bytes_per_second
        self._free_at = 0.0

    def book(self, size: int) -> float:
        """Return the loop's time at which that many bytes have gone over the link."""
        start = max(self._free_at, asyncio.get_running_loop().time())
        self._free_at = start + size / self.bytes_per_second
        return self._free_at


def url_signature(media_id: str) -> str:
    """Return the signature of a media file's URL."""
    return hmac.digest(URL_KEY, media_id.encode(), "sha1").hex()


async def serve(options: argparse.Namespace) -> None:
    """Serve until killed; the first line of output is the port."""
    download_head(options.size)
    link = Link(options.link_mbit * 1e6 / 8)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(options, link), "127.0.0.1", options.port, backlog=1024
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency-ms", type=float, default=0)
    parser.add_argument("--link-mbit", type=float, default=0)
    parser.add_argument("--size", type=int, required=True)
    uvloop.run(serve(parser.parse_args()))
