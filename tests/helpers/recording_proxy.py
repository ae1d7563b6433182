"""A proxy before a storage server that records every request and can refuse some."""

from __future__ import annotations

import http.client
import re
import ssl
import threading
from contextlib import suppress
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import unquote

#: Where each test has a prefix of its own.
FOLDER = "tests/"
_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive"}


class Recorded(NamedTuple):
    """One request: its method, its target, the size of its body, and its headers."""

    method: str
    target: str
    size: int
    headers: str


class RecordingProxy(ThreadingHTTPServer):
    """
    Forwards to a server on loopback, Host header included, so that signatures stay valid.

    :param port: the server's port.
    :param certificate: speaks TLS with it; None for plain HTTP.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, certificate: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        if certificate:
            # Else one slow handshake would hold up all the others.
            self.socket = certificate.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
        self.upstream = port
        self.requests: list[Recorded] = []
        #: Of the test that goes on.
        self.prefix = ""
        self._refused: re.Pattern[str] | None = None
        self._held: re.Pattern[str] | None = None
        self._damaged: re.Pattern[str] | None = None
        self._required: dict[str, str] = {}
        self.holds = threading.Event()
        self._go_on = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def record(self, request: Recorded) -> None:
        """Keep a request, unless it belongs to an upload that an earlier test gave up."""
        target = unquote(request.target)
        if FOLDER not in target or self.prefix in target:
            self.requests.append(request)

    def refuse(self, pattern: str) -> None:
        """Answer 403 to requests whose "METHOD target" matches, after their body has come."""
        self._refused = re.compile(pattern)

    def refusal(self, method: str, target: str, headers: Message, body: bytes) -> tuple[int, bytes] | None:
        """Return status and body of the answer to a request that is not forwarded."""
        if self._refused is not None and self._refused.search(f"{method} {target}"):
            return 403, b"refused by the test"
        if any(headers[name] != value for name, value in self._required.items()):
            return 400, b"<Error><Code>InvalidRequest</Code><Message>A header is missing.</Message></Error>"
        return None

    def require(self, headers: dict[str, str]) -> None:
        """Answer 400 to requests without these headers."""
        self._required = headers

    def hold(self, pattern: str) -> None:
        """Let requests whose "METHOD target" matches hang until the next reset; ``holds`` tells when one does."""
        self._go_on.clear()
        self._held = re.compile(pattern)

    def damage(self, pattern: str) -> None:
        """Change a byte of the body of requests whose "METHOD target" matches."""
        self._damaged = re.compile(pattern)

    def pass_on(self, method: str, target: str, body: bytes) -> bytes:
        """Return the body to forward."""
        if body and self._damaged is not None and self._damaged.search(f"{method} {target}"):
            middle = len(body) // 2
            return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        return body

    def pause(self, method: str, target: str) -> None:
        """Hang if the request is one to hold."""
        if self._held is not None and self._held.search(f"{method} {target}"):
            self.holds.set()
            self._go_on.wait()

    def reset(self) -> None:
        """Forget what was recorded and forward everything again."""
        self.requests.clear()
        self._refused = self._held = self._damaged = None
        self._required = {}
        self.holds.clear()
        self._go_on.set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: RecordingProxy

    def _forward(self) -> None:
        body = self._read_body()
        self.server.record(Recorded(self.command, self.path, len(body), str(self.headers)))
        self.server.pause(self.command, self.path)
        body = self.server.pass_on(self.command, self.path, body)
        refusal = self.server.refusal(self.command, self.path, self.headers, body)
        if refusal:
            self._reply(refusal[0], [("Content-Type", "application/xml")], refusal[1])
            return
        if self.command == "DELETE" and "upload_id=" in self.path:
            # Google's answer to the end of a resumable upload, which its emulator does not know.
            self._reply(499, [], b"")
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP_BY_HOP | {"content-length", "expect"}:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            with suppress(BrokenPipeError, ConnectionResetError):  # refused before all of it was read
                connection.endheaders(body)
            response = connection.getresponse()
            self._reply(response.status, response.getheaders(), response.read())
        finally:
            connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = _forward  # noqa: N815

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _reply(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        own_port, upstream = str(self.server.server_address[1]), str(self.server.upstream)
        length = str(len(body))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() == "location":
                # Resumable uploads go on where the server says, which has to be here again.
                self.send_header(name, value.replace(f":{upstream}/", f":{own_port}/"))
            elif name.lower() not in _HOP_BY_HOP | {"content-length"}:
                self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Stay silent."""
