"""A server in place of S3 that answers what no store on this machine would."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from typing_extensions import Self

from airflow_provider_nxcloud.storage.publishing import Storage


class S3StandIn(ThreadingHTTPServer):
    """Answers each request as a subclass says, whatever its signature."""

    daemon_threads = True
    #: A destination on it, within :meth:`opened_by`.
    storage: Storage

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @contextmanager
    def opened_by(self, open_s3: Callable[..., Storage]) -> Iterator[Self]:
        """Have a destination on it until the end, which is its own too."""
        extra = {"endpoint_url": f"http://127.0.0.1:{self.server_port}", "region_name": "us-east-1"}
        with open_s3(extra=extra) as self.storage:
            yield self
        self.shutdown()
        self.server_close()

    def answer(self, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body, which is not sent with a HEAD."""
        raise NotImplementedError


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: S3StandIn

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, headers, body = self.server.answer(self.command, self.path)
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET = do_PUT = do_POST = _answer  # noqa: N815
