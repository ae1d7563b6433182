"""What urllib3's connections do not watch: when a whole response is due, and where a name has led to."""

from __future__ import annotations

import io
import math
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from http.client import HTTPResponse
from typing import Any

from urllib3.connection import HTTPConnection

CheckPeer = Callable[[str], None]

_watch: ContextVar[tuple[float, CheckPeer | None] | None] = ContextVar("watch", default=None)


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
def watchful(connection_class: type[Any]) -> type[Any]:
    """
    Return a connection class that does what :func:`watched` says.

    :param connection_class: one of urllib3's, to be replaced in its pool.
    :return: a subclass; the same class when it is one already.
    """
    if issubclass(connection_class, _WatchfulConnection):
        return connection_class
    return type("WatchfulConnection", (_WatchfulConnection, connection_class), {})


class _WatchfulConnection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _, check_peer = _watch.get() or (None, None)
        if check_peer is not None:
            check_peer(self.sock.getpeername()[0])

    # What http.client calls for each response, a proxy's included; headers are read through it as well.
    def response_class(self, sock: socket.socket, *args: Any, **kwargs: Any) -> HTTPResponse:  # type: ignore[override]
        response = HTTPResponse(sock, *args, **kwargs)
        until, _ = _watch.get() or (None, None)
        if until is not None:
            raw = response.fp.detach()
            response.fp = io.BufferedReader(_BoundedReader(raw, sock, until))
        return response


class _BoundedReader(io.RawIOBase):
    """A socket's reader that gives each read no more than the time that is left."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, until: float) -> None:
        self._raw = raw
        self._socket = sock
        self._idle_timeout = sock.gettimeout() or math.inf
        self._until = until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._until - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(min(left, self._idle_timeout))
            return self._raw.readinto(buffer)
        except TimeoutError:
            if left > self._idle_timeout:
                raise
            raise TimeoutError("it took too long in all") from None

    def close(self) -> None:
        self._raw.close()
        super().close()
