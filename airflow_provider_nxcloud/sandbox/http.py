"""HTTP/1.1 on the standard library's server; a reply goes out whole, or broken as a fault asks."""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from http.client import responses
from http.server import BaseHTTPRequestHandler
from itertools import chain
from socketserver import ThreadingTCPServer
from typing import Any, Literal

from airflow_provider_nxcloud.sandbox.state import SandboxRequest

_MAX_BODY = 1_048_576
_PIECE = 262_144
_STOP_TIMEOUT = 0.7


@dataclass
class Reply:
    """One HTTP response and how it goes over the wire."""

    #: 0 sends no byte at all.
    status: int = 200
    #: Those that delimit the body are added when it is sent.
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | memoryview = b""
    #: The rest of a body that is too large to hold; needs ``framing="chunked"``.
    more: Iterable[bytes] = ()
    #: What delimits the body: its length, chunks, or the end of the connection.
    framing: Literal["length", "chunked", "close"] = "length"
    #: Seconds before each byte of status line and headers, and before each byte of the body.
    head_pace: float = 0.0
    pace: float = 0.0
    #: Send only this share of the body, at most all but its last byte; None is all.
    share: float | None = None
    #: Seconds to stay silent after the last byte, before ``ending``.
    hold: float = 0.0
    #: Keep the connection, close it, or reset it (RST).
    ending: Literal["keep", "close", "reset"] = "keep"

    @classmethod
    def of_text(cls, status: int, text: str) -> Reply:
        """Return a plain status with a text, as a gateway gives it."""
        return cls(status, {"Content-Type": "text/plain"}, text.encode())


class Listener(ThreadingTCPServer):
    """
    Accepts connections and serves each in a thread of its own.

    ``respond`` turns a request into a reply, in the connection's thread; it gets a sleep that :meth:`stop` ends.
    ``http.server.HTTPServer`` would look up a name for the address when it starts, which can ask a name server.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 512

    def __init__(
        self, host: str, port: int, respond: Callable[[SandboxRequest, Callable[[float], object]], Reply]
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.respond = respond
        self.stopping = threading.Event()
        self._connections: dict[threading.Thread, socket.socket] = {}
        try:
            super().__init__((host, port), _ConnectionHandler)
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {host} port {port}: {error.strerror}") from error

    def start(self) -> None:
        """Accept connections from now on, in a thread of its own."""
        # It looks every 0.01 seconds whether it shall stop.
        threading.Thread(target=self.serve_forever, args=(0.01,), name="nxcloud-sandbox", daemon=True).start()

    def stop(self) -> None:
        """Close the port and every connection, whatever its request is waiting for."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        connections = list(self._connections.items())
        for _, connection in connections:
            # Unlike close, shutdown wakes a thread that is reading from or writing to the socket.
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + _STOP_TIMEOUT
        for thread, _ in connections:
            thread.join(max(0.0, deadline - time.monotonic()))

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection where :meth:`stop` finds it."""
        self._connections[threading.current_thread()] = request
        super().process_request_thread(request, client_address)
        del self._connections[threading.current_thread()]

    def shutdown_request(self, request: Any) -> None:
        """Close a connection without the FIN that the base class sends first: a reset must stay a reset."""
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report errors of the sandbox, but not clients that went away."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _ConnectionHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # The base class answers a malformed request line in the version it did not read, HTTP/0.9.
    default_request_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    # The default buffer, so that a small response is one packet.
    wbufsize = -1
    server: Listener

    def log_message(self, *_: object) -> None:
        """Stay silent: the sandbox records its requests."""

    def _serve(self) -> None:
        _join_repeated(self.headers)
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal() or int(length) > _MAX_BODY:
            self.send_error(400, f"the body needs a Content-Length of at most {_MAX_BODY}")
            return
        if not self.path.isprintable():
            self.send_error(400, "control characters in the path")
            return
        self.wfile.flush()  # the "100 Continue" that a client may wait for
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return
        path, _, query = self.path.partition("?")
        request = SandboxRequest(self.command, path, query, self.headers, body)
        self._send(self.server.respond(request, self.server.stopping.wait))

    # The base class knows methods by these names, and answers 501 to any other.
    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve  # noqa: N815

    def _send(self, reply: Reply) -> None:
        if reply.framing == "close":
            self.close_connection = True
        if reply.status:
            self._write(_pieces(self._head(reply), reply.head_pace), reply.head_pace)
            if self.command != "HEAD":
                self._write(_framed(reply), reply.pace)
            self.wfile.flush()
        if reply.hold:
            # Waiting in a read also notices that the client left or that the sandbox stops.
            self.connection.settimeout(reply.hold)
            with suppress(TimeoutError):
                self.connection.recv(1)
        if reply.ending == "reset":
            # Linger time 0 makes the kernel send RST instead of FIN when the socket is closed.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if reply.ending != "keep":
            self.close_connection = True

    def _head(self, reply: Reply) -> bytes:
        headers = dict(reply.headers)
        if reply.framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        elif reply.framing == "length":
            headers.setdefault("Content-Length", str(len(reply.body)))
        if self.close_connection:
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {reply.status} {responses.get(reply.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _write(self, pieces: Iterable[bytes | memoryview], pace: float) -> None:
        for piece in pieces:
            if pace:
                self.wfile.flush()
                self.server.stopping.wait(pace)
            self.wfile.write(piece)


def _join_repeated(headers: Message) -> None:
    """Join the values of a repeated header with a comma, which means the same."""
    for name in set(headers):
        value = ", ".join(headers.get_all(name, []))
        del headers[name]
        headers[name] = value


def _framed(reply: Reply) -> Iterator[bytes | memoryview]:
    """Return what is to be sent of the body, with the marks of its chunks."""
    size = len(reply.body)
    stop = size if reply.share is None else max(0, min(int(size * reply.share), size - 1))
    pieces = chain(_pieces(memoryview(reply.body)[:stop], reply.pace), reply.more)
    if reply.framing != "chunked":
        yield from pieces
        return
    for piece in pieces:
        yield b"".join((b"%x\r\n" % len(piece), piece, b"\r\n"))
    if reply.share is None:
        yield b"0\r\n\r\n"


def _pieces(data: bytes | memoryview, pace: float) -> Iterator[bytes | memoryview]:
    size = 1 if pace else _PIECE
    for start in range(0, len(data), size):
        yield data[start : start + size]
