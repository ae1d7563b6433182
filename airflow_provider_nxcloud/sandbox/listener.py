"""The listening socket of a sandbox, and one thread for each connection."""

from __future__ import annotations

import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from airflow_provider_nxcloud.sandbox.wire import BadRequestError, Reply, Request, read_request, send_reply

_STOP_TIMEOUT = 0.7


class Listener(socketserver.ThreadingTCPServer):
    """
    Accepts connections and serves the requests on them.

    :param host: the address to listen on.
    :param port: the port; 0 picks a free one.
    :param respond: turns a request into a reply; called in the connection's thread.
    :param now: the server's clock, in seconds since the epoch.
    :raises OSError: if the address cannot be had.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 512

    def __init__(
        self, host: str, port: int, *, respond: Callable[[Request], Reply], now: Callable[[], float]
    ) -> None:
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


def loopback_address(host: str) -> str:
    """
    Return the address to listen on, which never is one that other machines reach.

    :param host: a loopback address, or ``localhost``.
    :return: the address; 127.0.0.1 for ``localhost``.
    :raises ValueError: if the host is anything else.
    """
    address = "127.0.0.1" if host == "localhost" else host
    try:
        is_loopback = ip_address(address).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ValueError(f"the sandbox serves loopback addresses only, not {host!r}")
    return address


class _ConnectionHandler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    rbufsize = 65_536
    server: Listener

    def setup(self) -> None:
        super().setup()
        self.server.connections[threading.current_thread()] = self.connection

    def handle(self) -> None:
        server = self.server
        open_for_more = True
        while open_for_more and not server.stopping.is_set():
            request = None
            try:
                request = read_request(self.rfile)
                if request is None:
                    return
                reply = server.respond(request)
            except BadRequestError as error:
                reply = Reply(400, {"Content-Type": "text/plain"}, f"{error}\n".encode())
            open_for_more = send_reply(
                self.connection, request, reply, now=server.now(), wait=server.stopping.wait
            )

    def finish(self) -> None:
        del self.server.connections[threading.current_thread()]
        super().finish()
