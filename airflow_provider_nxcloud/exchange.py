"""
One HTTP/1.1 exchange over a connection of urllib3's pools.

urllib3 connects, with its TLS, proxies and reuse of connections. What it has :mod:`http.client` do for each
request and response, parsing headers above all, would take as much time as the rest of fetching a small file;
here that is the part of llhttp, the parser of Node.js.
"""

from __future__ import annotations

import http.client
import io
import math
import re
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from urllib3 import HTTPHeaderDict, HTTPResponse
from urllib3.connection import HTTPConnection

CheckPeer = Callable[[str], None]

#: The most that a response's head may have, in bytes; those of NXCloud and its store have some hundred.
MAX_HEAD_BYTES = 64 * 1024
_RECEIVE_BYTES = 256 * 1024
_FORBIDDEN = re.compile(r"[\r\n\0]")

_watch: ContextVar[tuple[float, CheckPeer | None]] = ContextVar("watch", default=(math.inf, None))


@contextmanager
def watched(until: float, check_peer: CheckPeer | None) -> Iterator[None]:
    """
    Watch the exchanges that begin inside.

    :param until: when the last byte of a response must have come, by :func:`time.monotonic`; a read timeout alone
        never ends one that drips. Holds for what is read afterwards too.
    :param check_peer: called with the IP address of each new connection before anything is sent; raises to
        refuse it. None for no check.
    """
    token = _watch.set((until, check_peer))
    try:
        yield
    finally:
        _watch.reset(token)


@cache
def exchanging(connection_class: type[Any]) -> type[Any]:
    """
    Return a connection class whose exchanges are those of this module.

    :param connection_class: one of urllib3's, to be replaced in its pool.
    :return: a subclass; the same class when it is one already.
    """
    if issubclass(connection_class, _Connection):
        return connection_class
    return type("Connection", (_Connection, connection_class), {})


class _Connection(HTTPConnection):
    """What urllib3's pools call: ``request`` sends one, ``getresponse`` reads the head of its response."""

    def connect(self) -> None:
        super().connect()
        _, check_peer = _watch.get()
        if check_peer is not None:
            check_peer(self.sock.getpeername()[0])

    # What http.client reads a proxy's answer to CONNECT with.
    def response_class(self, sock: socket.socket, **kwargs: Any) -> http.client.HTTPResponse:  # type: ignore[override]
        response = http.client.HTTPResponse(sock, **kwargs)
        response.fp.close()
        response.fp = io.BufferedReader(self._receiver(sock))
        return response

    def request(  # type: ignore[override]
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], **_: Any
    ) -> None:
        lines = [f"{method} {url} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        if any(_FORBIDDEN.search(line) for line in lines):
            raise http.client.InvalidURL("a line break in the URL or a header")
        if self.sock is None:
            self.connect()
        if self.sock.gettimeout() != self.timeout:
            self.sock.settimeout(self.timeout)
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        incoming = _Incoming(self, self._receiver(self.sock))
        incoming.read_head()
        return HTTPResponse(
            incoming,  # type: ignore[arg-type]
            headers=incoming.headers,
            status=incoming.status,
            preload_content=False,
            # Once this is closed, urllib3 gives the connection back to its pool.
            original_response=incoming,  # type: ignore[arg-type]
        )

    def _receiver(self, sock: socket.socket) -> _Receiver:
        return _Receiver(sock, self.timeout, _watch.get()[0])


class _Receiver(io.RawIOBase):
    """A socket's reader that gives each read no more than the time that is left."""

    def __init__(self, sock: socket.socket, idle_timeout: float | None, until: float) -> None:
        self._socket = sock
        self._idle_timeout = math.inf if idle_timeout is None else idle_timeout
        self._until = until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.receive(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def receive(self, size: int) -> bytes:
        left = self._until - time.monotonic()
        timeout = min(left, self._idle_timeout)
        try:
            if left <= 0:
                raise TimeoutError
            # Setting it hands Python's lock to another thread, asking for it does not.
            if self._socket.gettimeout() != timeout:
                self._socket.settimeout(timeout)
            return self._socket.recv(size)
        except TimeoutError:
            if left > self._idle_timeout:
                raise
            raise TimeoutError("it took too long in all") from None


class _Incoming:
    """
    A response as it arrives: urllib3 reads its body here, and llhttp calls the methods ``on_…``.

    :param connection: closed in the end, unless another exchange can follow.
    :param receiver: reads its socket.
    """

    def __init__(self, connection: HTTPConnection, receiver: _Receiver) -> None:
        self.status = 0
        self.headers = HTTPHeaderDict()
        self._connection = connection
        self._receiver = receiver
        self._parser: Any = HttpResponseParser(self)
        self._pieces: deque[bytes] = deque()
        self._has_head = False
        self._is_complete = False
        self._is_closed = False
        self._reusable = False

    def read_head(self) -> None:
        size = 0
        while not self._has_head:
            size += self._feed()
            if size > MAX_HEAD_BYTES and not self._has_head:
                raise http.client.HTTPException("the head of the response is too long")

    def read1(self, size: int) -> bytes:
        while not self._pieces and not self._is_complete:
            self._feed()
        piece = self._pieces.popleft() if self._pieces else b""
        if len(piece) > size:
            self._pieces.appendleft(piece[size:])
            piece = piece[:size]
        if self._is_complete and not self._pieces:
            self.close()
        return piece

    def read(self, size: int | None = None) -> bytes:
        if size is not None:
            return self.read1(size)
        return b"".join(iter(lambda: self.read1(_RECEIVE_BYTES), b""))

    def isclosed(self) -> bool:
        return self._is_closed

    def close(self) -> None:
        self._is_closed = True
        self._parser = None  # it refers back here, which only the garbage collector would find
        if not (self._is_complete and self._reusable):
            self._connection.close()

    def _feed(self) -> int:
        data = self._receiver.receive(_RECEIVE_BYTES)
        if not data:
            self._end()
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            raise http.client.BadStatusLine("a change of protocol") from None
        except HttpParserError as error:
            if not self._is_complete:
                raise http.client.HTTPException(str(error)) from None
            self._reusable = False
        return len(data)

    def _end(self) -> None:
        """Take the end of the connection for the end of the body where nothing else tells it."""
        if not self._has_head:
            raise http.client.RemoteDisconnected("the server closed the connection without a response")
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            raise http.client.IncompleteRead(b"")
        self._is_complete = True

    def on_message_begin(self) -> None:
        if self._is_complete:
            self._reusable = False  # nobody has asked for what follows

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_head:  # trailers prove nothing
            self.headers.add(name.decode("latin-1"), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        if self._has_head:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers.clear()
            return
        self._has_head = True
        self._reusable = self._parser.should_keep_alive()

    def on_body(self, piece: bytes) -> None:
        if not self._is_complete:
            self._pieces.append(piece)

    def on_message_complete(self) -> None:
        self._is_complete = self._has_head
