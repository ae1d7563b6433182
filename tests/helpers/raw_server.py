"""A server of raw bytes on loopback, for what no HTTP server would send."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress


class RawServer:
    """
    Has each connection served in a thread of its own, over TLS if told to.

    It accepts as soon as it is made: a subclass sets what :meth:`serve` needs before.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, *, backlog: int | None = None) -> None:
        self.connections = 0
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def serve(self, client: socket.socket) -> None:
        raise NotImplementedError

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._tls.wrap_socket(client, server_side=True) if self._tls else client as stream:
                self.serve(stream)
