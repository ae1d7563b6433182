"""HTTP/1.1 on the standard library's server; a reply goes out whole, or broken as a fault asks."""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cached_property
from http.client import responses
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, Literal

_MAX_BODY = 1_048_576
_PIECE = 262_144
# Up to this size head and body leave in one send, so that a small response is one packet.
_SMALL = 65_536
_STOP_TIMEOUT = 0.7


class Headers(Mapping[str, str]):
    """HTTP headers: keys match in any case, and the values of a repeated name are joined with a comma."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._items: dict[str, tuple[str, str]] = {}
        for name, value in pairs:
            known = self._items.get(name.lower())
            self._items[name.lower()] = (name, f"{known[1]}, {value}" if known else value)

    def __getitem__(self, name: str) -> str:
        return self._items[name.lower()][1]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        # The values hold access key and signature.
        return f"Headers({list(self)})"


@dataclass(frozen=True)
class Request:
    """One HTTP request; ``target`` is path and query as sent."""

    method: str
    target: str
    headers: Headers
    body: bytes

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The query of the target."""
        return self.target.partition("?")[2]

    @cached_property
    def document(self) -> Any:
        """The body read as JSON; None if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass
class Reply:
    """
    One HTTP response and how it goes over the wire.

    :param status: the HTTP status.
    :param headers: its headers; Date and those that delimit the body are added when it is sent.
    :param body: the body; an iterable of pieces goes out as they come and needs ``framing="chunked"``.
    :param framing: what delimits the body: its length, chunks, or the end of the connection.
    :param head: False sends no byte at all.
    :param head_pace: seconds before each byte of status line and headers; 0 sends without a pause.
    :param stop_at: send only so many bytes of the body; None is all.
    :param pace: seconds before each byte of the body; 0 sends without a pause.
    :param hold: seconds to stay silent after the last byte, before ``ending``.
    :param ending: keep the connection, close it, or reset it (RST).
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | memoryview | Iterable[bytes] = b""
    framing: Literal["length", "chunked", "close"] = "length"
    head: bool = True
    head_pace: float = 0.0
    stop_at: int | None = None
    pace: float = 0.0
    hold: float = 0.0
    ending: Literal["keep", "close", "reset"] = "keep"

    @classmethod
    def of_text(cls, status: int, text: str) -> Reply:
        """Return a plain status with a text, as a gateway gives it."""
        return cls(status, {"Content-Type": "text/plain"}, text.encode())

    def set_header(self, name: str, value: str | None) -> None:
        """Set a header, whose name is known in any case; None removes it."""
        for known in [known for known in self.headers if known.lower() == name.lower()]:
            del self.headers[known]
        if value is not None:
            self.headers[name] = value


_Respond = Callable[[Request, Callable[[float], object]], Reply]


class Listener(ThreadingTCPServer):
    """
    Accepts connections and serves each in a thread of its own.

    ``http.server.HTTPServer`` would look up a name for the address when it starts, which can ask a name server.

    :param host: the address to listen on.
    :param port: the port; 0 picks a free one.
    :param respond: turns a request into a reply, in the connection's thread; it gets a sleep that a stop ends.
    :param now: the server's clock, in seconds since the epoch.
    :raises OSError: if it cannot listen there.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 512

    def __init__(self, host: str, port: int, *, respond: _Respond, now: Callable[[], float]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.respond = respond
        self.now = now
        self.stopping = threading.Event()
        self.connections: dict[threading.Thread, socket.socket] = {}
        try:
            super().__init__((host, port), _ConnectionHandler)
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {host} port {port}: {error.strerror}") from error

    def start(self) -> None:
        """Accept connections from now on, in a thread of its own."""
        threading.Thread(
            target=self.serve_forever,
            args=(0.01,),  # seconds until it notices that it shall stop
            name=f"nxcloud-sandbox-{self.server_address[1]}",
            daemon=True,
        ).start()

    def stop(self) -> None:
        """Close the port and every connection, whatever its request is waiting for."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        open_connections = list(self.connections.items())
        for _, connection in open_connections:
            # Unlike close, shutdown wakes a thread that is reading from or writing to the socket.
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + _STOP_TIMEOUT
        for thread, _ in open_connections:
            thread.join(max(0.0, deadline - time.monotonic()))

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
    server: Listener

    def setup(self) -> None:
        super().setup()
        self.server.connections[threading.current_thread()] = self.connection

    def finish(self) -> None:
        del self.server.connections[threading.current_thread()]
        super().finish()

    def log_message(self, *_: object) -> None:
        """Stay silent: the sandbox records its requests."""

    def _serve(self) -> None:
        headers = Headers(self.headers.items())
        length = headers.get("Content-Length", "0")
        if "Transfer-Encoding" in headers or not length.isdecimal() or int(length) > _MAX_BODY:
            self.send_error(400, f"the body needs a Content-Length of at most {_MAX_BODY}")
            return
        if not self.path.isprintable():
            self.send_error(400, "control characters in the path")
            return
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return
        request = Request(self.command, self.path, headers, body)
        self._send(self.server.respond(request, self.server.stopping.wait))

    # The base class knows methods by these names, and answers 501 to any other.
    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve  # noqa: N815

    def _send(self, reply: Reply) -> None:
        if reply.framing == "close":
            self.close_connection = True
        if reply.head:
            head = self._head(reply)
            if reply.head_pace:
                for byte in head:
                    self.server.stopping.wait(reply.head_pace)
                    self.connection.sendall(bytes([byte]))
                head = b""
            if self.command == "HEAD":
                self.connection.sendall(head)
            else:
                self._send_body(head, reply)
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
        headers = {"Date": formatdate(self.server.now(), usegmt=True), **reply.headers}
        if reply.framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        elif reply.framing == "length" and isinstance(reply.body, (bytes, memoryview)):
            headers.setdefault("Content-Length", str(len(reply.body)))
        if self.close_connection:
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {reply.status} {responses.get(reply.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _send_body(self, head: bytes, reply: Reply) -> None:
        sendall = self.connection.sendall
        chunked = reply.framing == "chunked"
        for piece in _pieces(reply):
            if reply.pace:
                sendall(head)
                head = b""
                self.server.stopping.wait(reply.pace)
            data = b"".join((b"%x\r\n" % len(piece), piece, b"\r\n")) if chunked else piece
            if len(data) <= _SMALL:
                sendall(b"".join((head, data)))
            else:
                if head:
                    sendall(head)
                sendall(data)
            head = b""
        if chunked and reply.stop_at is None:
            head += b"0\r\n\r\n"
        if head:
            sendall(head)


def _pieces(reply: Reply) -> Iterator[bytes | memoryview]:
    if not isinstance(reply.body, (bytes, memoryview)):
        yield from reply.body
        return
    view = memoryview(reply.body)[: reply.stop_at]
    size = 1 if reply.pace else _PIECE
    for start in range(0, len(view), size):
        yield view[start : start + size]
