"""A proxy before a storage server that records every request and can refuse some."""

from __future__ import annotations

import http.client
import re
import threading
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
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = port
        self.requests: list[Recorded] = []
        #: Of the test that goes on.
        self.prefix = ""
        self._refused: re.Pattern[str] | None = None
        self._held: re.Pattern[str] | None = None
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

    def is_refused(self, method: str, target: str) -> bool:
        return self._refused is not None and self._refused.search(f"{method} {target}") is not None

    def hold(self, pattern: str) -> None:
        """Let requests whose "METHOD target" matches hang until the next reset; ``holds`` tells when one does."""
        self._go_on.clear()
        self._held = re.compile(pattern)

    def pause(self, method: str, target: str) -> None:
        """Hang if the request is one to hold."""
        if self._held is not None and self._held.search(f"{method} {target}"):
            self.holds.set()
            self._go_on.wait()

    def reset(self) -> None:
        """Forget what was recorded and forward everything again."""
        self.requests.clear()
        self._refused = self._held = None
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
        if self.server.is_refused(self.command, self.path):
            self._reply(403, [("Content-Type", "text/plain")], b"refused by the test")
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
