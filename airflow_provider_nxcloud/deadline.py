"""A deadline for a whole response: a read timeout alone never ends one that drips."""

from __future__ import annotations

import io
import math
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from http.client import HTTPResponse
from typing import Any

from urllib3.connection import HTTPConnection

_until: ContextVar[float | None] = ContextVar("until", default=None)


@contextmanager
def deadline(until: float) -> Iterator[None]:
    """
    Give the responses that begin inside a deadline, which also holds for what is read of them afterwards.

    :param until: when the last byte must have come, by :func:`time.monotonic`.
    """
    token = _until.set(until)
    try:
        yield
    finally:
        _until.reset(token)


@cache
def bounded(connection_class: type[Any]) -> type[Any]:
    """
    Return a connection class that keeps to the :func:`deadline`.

    :param connection_class: one of urllib3's, to be replaced in its pool.
    :return: a subclass; the same class when it is one already.
    """
    if issubclass(connection_class, _BoundedConnection):
        return connection_class
    return type("BoundedConnection", (_BoundedConnection, connection_class), {})


class _BoundedConnection(HTTPConnection):
    # What http.client calls for each response, a proxy's included; headers are read through it as well.
    def response_class(self, sock: socket.socket, *args: Any, **kwargs: Any) -> HTTPResponse:  # type: ignore[override]
        response = HTTPResponse(sock, *args, **kwargs)
        until = _until.get()
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
