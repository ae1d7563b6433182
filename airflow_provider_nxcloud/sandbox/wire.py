"""HTTP/1.1 on the wire: read a request, send a reply whole or broken in the way a fault asks for."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cached_property
from http.client import responses
from io import BufferedIOBase
from typing import Any, Literal

_MAX_LINE = 65_536
_MAX_HEADERS = 200
_MAX_BODY = 1_048_576
_PIECE = 262_144
# Up to this size head and body leave in one send, so that a small answer is one packet.
_SMALL = 65_536


class BadRequestError(Exception):
    """What arrived is not an HTTP request that the sandbox reads."""


class Headers(Mapping[str, str]):
    """
    HTTP headers: a mapping whose keys match in any case.

    :param pairs: names and values; the values of a repeated name are joined with a comma.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._items: dict[str, tuple[str, str]] = {}
        for name, value in pairs:
            known = self._items.get(name.lower())
            self._items[name.lower()] = (name, f"{known[1]}, {value}" if known else value)

    def __getitem__(self, name: str) -> str:
        """Return the value of a header."""
        return self._items[name.lower()][1]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names as they were sent."""
        return (name for name, _ in self._items.values())

    def __len__(self) -> int:
        """Return the number of different names."""
        return len(self._items)

    def __repr__(self) -> str:
        """Show the names only: the values hold access key and signature."""
        return f"Headers({list(self)})"


@dataclass(frozen=True)
class Request:
    """
    One HTTP request.

    :param method: the method.
    :param target: path and query as sent.
    :param headers: its headers.
    :param body: its body, empty if it has none.
    :param keep_alive: whether the client wants to send more on this connection.
    """

    method: str
    target: str
    headers: Headers
    body: bytes
    keep_alive: bool = True

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
    One HTTP answer and how it goes over the wire.

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

    def set_header(self, name: str, value: str | None) -> None:
        """
        Set a header, or remove it.

        :param name: its name, in any case.
        :param value: its value; None removes the header.
        """
        for known in [known for known in self.headers if known.lower() == name.lower()]:
            del self.headers[known]
        if value is not None:
            self.headers[name] = value


def read_request(stream: BufferedIOBase) -> Request | None:
    """
    Read the next request of a connection.

    :param stream: the connection's buffered input.
    :return: the request; None if the client closed the connection.
    :raises BadRequestError: if the request is malformed, too large, or has a chunked body.
    """
    line = stream.readline(_MAX_LINE)
    if not line:
        return None
    try:
        method, target, version = line.decode("ascii").rstrip("\r\n").split(" ")
    except ValueError as error:
        raise BadRequestError("malformed request line") from error
    if not target.isprintable() or version not in ("HTTP/1.0", "HTTP/1.1"):
        raise BadRequestError("malformed request line")
    headers = Headers(_read_headers(stream))
    length = headers.get("Content-Length", "0")
    if "Transfer-Encoding" in headers or not length.isdecimal() or int(length) > _MAX_BODY:
        raise BadRequestError(f"the body needs a Content-Length of at most {_MAX_BODY}")
    body = stream.read(int(length))
    if len(body) < int(length):
        return None
    wish = headers.get("Connection", "keep-alive" if version == "HTTP/1.1" else "close")
    return Request(method, target, headers, body, keep_alive=wish.lower() != "close")


def _read_headers(stream: BufferedIOBase) -> Iterator[tuple[str, str]]:
    for _ in range(_MAX_HEADERS):
        line = stream.readline(_MAX_LINE)
        if line in (b"\r\n", b"\n"):
            return
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise BadRequestError("malformed header")
        yield name.strip(), value.strip()
    raise BadRequestError("too many headers")


def send_reply(
    connection: socket.socket,
    request: Request | None,
    reply: Reply,
    *,
    now: float,
    wait: Callable[[float], object],
) -> bool:
    """
    Send a reply, end the connection if the reply says so.

    :param connection: where to send it.
    :param request: what it answers; None if the request could not be read.
    :param reply: what to send, and how.
    :param now: the server's clock for the Date header, in seconds since the epoch.
    :param wait: called with seconds to pause.
    :return: whether the connection can carry another request.
    """
    close = request is None or not request.keep_alive or reply.framing == "close"
    if reply.head:
        head = _head(reply, now, close=close)
        if reply.head_pace:
            for byte in head:
                wait(reply.head_pace)
                connection.sendall(bytes([byte]))
            head = b""
        if request is not None and request.method == "HEAD":
            connection.sendall(head)
        else:
            _send_body(connection, head, reply, wait)
    if reply.hold:
        # Waiting in a read also notices that the client left or that the sandbox stops.
        connection.settimeout(reply.hold)
        with suppress(TimeoutError):
            connection.recv(1)
    if reply.ending == "reset":
        # Linger time 0 makes the kernel send RST instead of FIN when the socket is closed.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return reply.ending == "keep" and not close


def _head(reply: Reply, now: float, *, close: bool) -> bytes:
    headers = {"Date": formatdate(now, usegmt=True), **reply.headers}
    if reply.framing == "chunked":
        headers["Transfer-Encoding"] = "chunked"
    elif reply.framing == "length" and isinstance(reply.body, (bytes, memoryview)):
        headers.setdefault("Content-Length", str(len(reply.body)))
    if close:
        headers["Connection"] = "close"
    lines = [f"HTTP/1.1 {reply.status} {responses.get(reply.status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _send_body(connection: socket.socket, head: bytes, reply: Reply, wait: Callable[[float], object]) -> None:
    chunked = reply.framing == "chunked"
    for piece in _pieces(reply):
        if reply.pace:
            connection.sendall(head)
            head = b""
            wait(reply.pace)
        data = b"".join((b"%x\r\n" % len(piece), piece, b"\r\n")) if chunked else piece
        if len(data) <= _SMALL:
            connection.sendall(b"".join((head, data)))
        else:
            if head:
                connection.sendall(head)
            connection.sendall(data)
        head = b""
    if chunked and reply.stop_at is None:
        head += b"0\r\n\r\n"
    if head:
        connection.sendall(head)


def _pieces(reply: Reply) -> Iterator[bytes | memoryview]:
    if not isinstance(reply.body, (bytes, memoryview)):
        yield from reply.body
        return
    view = memoryview(reply.body)[: reply.stop_at]
    size = 1 if reply.pace else _PIECE
    for start in range(0, len(view), size):
        yield view[start : start + size]
