"""A small server, and small proxies that lead every host to it: HTTP with CONNECT, SOCKS5; TLS where asked."""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from pathlib import Path

import trustme
from raw_server import RawServer

HOST = "media.example"


class _Proxy(RawServer):
    scheme = ""

    def __init__(self, target_port: int, tls: ssl.SSLContext | None = None, *, drip: bool = False) -> None:
        self.asked: list[bytes] = []
        self._target_port = target_port
        self._drip = drip
        super().__init__(tls)
        self.url = f"{self.scheme}{'s' if tls else ''}://127.0.0.1:{self.port}"

    def slow_down(self) -> None:
        """Send a byte at a time from now on."""
        self._drip = True

    def serve(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._target_port)) as target:
            self.lead(client, target)
            # By one thread: before Python 3.13 two threads that use one TLS socket garble its records.
            while all(self._relay(source, client, target) for source in _readable(client, target)):
                pass

    def lead(self, client: socket.socket, target: socket.socket) -> None:
        raise NotImplementedError

    def _relay(self, source: socket.socket, client: socket.socket, target: socket.socket) -> bytes:
        """Pass on what a side has sent, and return it; nothing is returned once that side has closed."""
        data = source.recv(65536)
        if source is client:
            target.sendall(data)
        else:
            for piece in map(bytes, zip(data)) if self._drip else [data]:
                client.sendall(piece)
                if self._drip:
                    time.sleep(0.02)
        return data


def _readable(client: socket.socket, target: socket.socket) -> list[socket.socket]:
    if isinstance(client, ssl.SSLSocket) and client.pending():
        return [client]
    return select.select([client, target], [], [])[0]


class HttpProxy(_Proxy):
    scheme = "http"

    def lead(self, client: socket.socket, target: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(65536) or b"\r\n\r\n"
        self.asked.append(head)
        method, url, rest = head.split(b" ", 2)
        if method == b"CONNECT":
            client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            path = url.split(b"/", 3)[3]
            target.sendall(b"%s /%s %s" % (method, path, rest))


class SocksProxy(_Proxy):
    scheme = "socks5"

    def lead(self, client: socket.socket, target: socket.socket) -> None:
        _, methods = client.recv(2)
        client.recv(methods)
        client.sendall(b"\5\0")
        *_, kind = client.recv(4)
        size = {1: 4, 4: 16}.get(kind) or client.recv(1)[0]
        self.asked.append(client.recv(size))
        client.recv(2)
        answer = b"\5\0\0\1" + struct.pack("!4sH", b"\0" * 4, 0)
        for byte in answer:
            client.sendall(bytes([byte]))
            if self._drip:
                time.sleep(0.1)


class Server(RawServer):
    """Answers each request with its own bytes, and keeps what it got."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.got = b""
        super().__init__(tls)

    def serve(self, client: socket.socket) -> None:
        while request := client.recv(65536):
            self.got += request
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


class Certificates:
    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(HOST, "localhost", "127.0.0.1").configure_cert(self.tls)
        self.bundle = str(folder / "ca.pem")
        authority.cert_pem.write_to_path(self.bundle)
