"""
urllib3's own connections, with limits: a deadline for each exchange, a check of the peer, a bound on heads.

The hooks are ``connect``, ``_new_conn`` and ``response_class``; everything else, from proxies and TLS to parsing,
is urllib3's and :mod:`http.client`'s.
"""

from __future__ import annotations

import http.client
import io
import math
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from urllib3.connection import HTTPConnection
from urllib3.util.ssltransport import SSLTransport

from airflow_provider_nxcloud.concurrency import run_with_time_limit

CheckPeer = Callable[[str], None]

#: The most that a response may have beside its body (heads, chunk extensions, trailers), in bytes; NXCloud's have
#: some hundred.
MAX_OVERHEAD_BYTES = 64 * 1024
#: This many bytes of a chunk's first line are its size, and not counted.
_CHUNK_SIZE_BYTES = 20
_TOO_LONG = "it took too long in all"
_HEAD_LINE = re.compile(rb"[!-9;-~]+[ \t]*:|[ \t]+\S|\r?\n")  # a header, more of one, the end of a head


@dataclass
class Exchange:
    """One request and its response."""

    #: By :func:`time.monotonic`; a read timeout alone never ends a response that drips.
    deadline: float = math.inf
    check_peer: CheckPeer | None = None
    #: Added to the URL only where it is sent, because urllib3 shows URLs in its logs and errors.
    query: str = ""
    #: Takes no connection that was used before.
    fresh: bool = False
    is_connection_new: bool = False
    is_answered: bool = False
    is_delimited: bool = False
    has_surplus: bool = False

    def time_left(self) -> float:
        """Return the seconds left, or raise :class:`TimeoutError`."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(_TOO_LONG)
        return left

    def can_be_repeated(self, error: BaseException) -> bool:
        """Tell whether a reused connection was dead: no byte of a response came, and the error is no time-out."""
        is_old = not (self.is_connection_new or self.is_answered)
        return is_old and isinstance(error, OSError) and not isinstance(error, TimeoutError)


_exchange: ContextVar[Exchange] = ContextVar("exchange", default=Exchange())  # noqa: B039, it has no limits


@contextmanager
def limited_by(exchange: Exchange) -> Iterator[None]:
    """Apply an exchange's limits to the request sent inside, and to its response wherever that is read."""
    token = _exchange.set(exchange)
    try:
        yield
    finally:
        _exchange.reset(token)


@cache
def with_limits(connection_class: type[Any]) -> type[Any]:
    """Return a subclass of one of urllib3's connection classes that obeys :func:`limited_by`."""
    if issubclass(connection_class, _LimitedConnection):
        return connection_class
    return type(f"Limited{connection_class.__name__}", (_LimitedConnection, connection_class), {})


class _LimitedResponse(http.client.HTTPResponse):
    """A response that is read within the limits of its exchange."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        exchange = _exchange.get()
        if isinstance(sock, SSLTransport):  # TLS inside a proxy's TLS: it may read many times for one record
            sock.socket.recv = partial(_receive, sock.socket, exchange)  # type: ignore[method-assign]
        self.fp: Any = _CountingReader(_SocketReader(self.fp.detach(), sock, exchange))

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        self.fp.in_head = True
        if status == http.client.SWITCHING_PROTOCOLS:
            raise http.client.HTTPException("the server changed the protocol")
        # http.client knows 100 alone as what comes before the response.
        return version, http.client.CONTINUE if 100 < status < 200 else status, reason

    def begin(self) -> None:
        super().begin()
        self.headers.defects.clear()  # urllib3 logs those, with what a URL signs
        length = self.headers.get("Content-Length")
        if length is not None and self.length is None and not self.chunked:
            if not (same := re.fullmatch(r"([0-9]{1,15})(\s*,\s*\1)+", length)):  # joined: RFC 9110, 8.6
                raise http.client.HTTPException("the Content-Length of the response is no number")
            self.length = int(same[1])
        # The header alone says nothing: only the last coding can delimit, and http.client knows none but chunked.
        _exchange.get().is_delimited = self.chunked or self.length is not None


class _LimitedConnection(HTTPConnection):
    """What :func:`with_limits` puts before a connection class of urllib3."""

    response_class = _LimitedResponse
    #: The thread that connects, while one does.
    _connecting: threading.Thread | None = None

    @property
    def is_connected(self) -> bool:
        # A pool replaces a connection that is not.
        return not _exchange.get().fresh and super().is_connected

    def connect(self) -> None:
        """Connect in another thread: neither a name server, a proxy nor a handshake keeps a deadline."""
        exchange = _exchange.get()
        exchange.is_connection_new = True
        if exchange.deadline == math.inf:
            super().connect()
            return
        ended: list[BaseException | None] = []
        connect = super().connect

        def connect_in_time() -> None:
            self._connecting = threading.current_thread()
            try:
                connect()
                exchange.time_left()
                ended.append(None)
            except BaseException as error:  # noqa: BLE001, raised again in the caller
                self.close()
                ended.append(error)
            finally:
                self._connecting = None

        run_with_time_limit(partial(copy_context().run, connect_in_time), seconds=exchange.time_left())
        error = ended[0] if ended else TimeoutError(_TOO_LONG)
        if isinstance(error, TimeoutError):
            exchange.time_left()  # if the deadline has passed too, that is said; which limit ends first is chance
        if error:
            raise error

    def close(self) -> None:
        """Close it; while another thread still connects, only make that one end, which closes it."""
        if self._connecting in (None, threading.current_thread()):
            super().close()
            return
        # Once closed, the file descriptor may be another connection's, and TLS would use it by its number.
        with suppress(OSError, AttributeError):
            socket.socket.shutdown(_inner(self.sock), socket.SHUT_RDWR)

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        try:
            exchange = _exchange.get()
            exchange.time_left()
            if exchange.check_peer is not None:
                exchange.check_peer(sock.getpeername()[0])
        except BaseException:
            sock.close()
            raise
        return sock

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        super().putrequest(method, url + _exchange.get().query, *args, **kwargs)

    def send(self, data: Any) -> None:
        _exchange.get().time_left()
        super().send(data)


def _inner(sock: Any) -> Any:
    """Return the socket inside one of pyOpenSSL's, which other software can have put in, or of TLS inside TLS."""
    return getattr(sock, "socket", sock)


def _timeout(sock: Any) -> float:
    timeout: float | None = _inner(sock).gettimeout()  # pyOpenSSL's cannot tell
    return math.inf if timeout is None else timeout


def _receive(sock: Any, exchange: Exchange, size: int) -> bytes:
    timeout = min(exchange.time_left(), _timeout(sock))
    sock.settimeout(None if timeout == math.inf else timeout)
    return type(sock).recv(sock, size)  # type: ignore[no-any-return]


class _SocketReader(io.RawIOBase):
    """A socket's reader that gives each read no more than the time that is left."""

    def __init__(self, raw: io.RawIOBase, sock: Any, exchange: Exchange) -> None:
        self._raw = raw
        self._socket = sock
        self._exchange = exchange
        self._idle_timeout = _timeout(sock)
        self._may_have_more = False
        self._received = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        timeout = min(self._exchange.time_left(), self._idle_timeout)
        # Setting it hands Python's lock to another thread, asking for it does not.
        if timeout < math.inf and _timeout(self._socket) != timeout:
            self._socket.settimeout(timeout)
        try:
            size = self._raw.readinto(buffer)
        except TimeoutError:
            if timeout < self._idle_timeout:
                raise TimeoutError(_TOO_LONG) from None
            raise
        self._may_have_more = size == len(buffer)
        if size:
            self._received += size
            self._exchange.is_answered = True
        return size

    def end(self, consumed: int) -> None:
        """Let the connection be used again only if nothing came after the response."""
        if self._may_have_more:
            with suppress(OSError):
                self._socket.settimeout(0)
                self._received += self._raw.readinto(bytearray(1)) or 0
        if self._received > consumed:
            self._exchange.has_surplus = True
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        super().close()
        self._raw.close()


class _CountingReader(io.BufferedReader):
    """Limits all bytes beside the body, of which :mod:`http.client` limits lines, and counts what is read."""

    def __init__(self, raw: _SocketReader) -> None:
        super().__init__(raw)
        self._source = raw
        self._consumed = 0
        self._overhead = 0
        self._after_body = False
        self.in_head = False

    def readline(self, size: int | None = -1) -> bytes:
        line = self._limited_line(size)
        # At a line of another form http.client would take all that follows for the body.
        while self.in_head and not _HEAD_LINE.match(line):
            line = self._limited_line(size)
        if self.in_head:
            self.in_head = line not in (b"\r\n", b"\n")
            name, colon, value = line.partition(b":")
            line = name.rstrip() + colon + value.rstrip().replace(b"\r", b" ") + b"\r\n"
        return line

    def _limited_line(self, size: int | None) -> bytes:
        line = super().readline(size)
        self._consumed += len(line)
        self._overhead += max(0, len(line) - _CHUNK_SIZE_BYTES) if self._after_body else len(line)
        self._after_body = False
        if self._consumed and not line.endswith(b"\n") and len(line) != size:
            raise http.client.IncompleteRead(line)  # http.client takes this for the end of a head
        if self._overhead > MAX_OVERHEAD_BYTES:
            raise http.client.HTTPException(f"more than {MAX_OVERHEAD_BYTES} bytes beside the body")
        return line

    def read(self, size: int | None = -1) -> bytes:
        return self._of_body(super().read(size))

    def read1(self, size: int = -1) -> bytes:
        return self._of_body(super().read1(size))

    def _of_body(self, data: bytes) -> bytes:
        self._consumed += len(data)
        self._after_body = True
        return data

    def close(self) -> None:
        if not self.closed:
            self._source.end(self._consumed)
        super().close()
