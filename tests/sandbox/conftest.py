"""A client that says what really went over the wire, broken answers included."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_nxcloud.sandbox import NxCloudSandbox
from airflow_provider_nxcloud.signature import sign


@dataclass
class Answer:
    status: int | None
    headers: http.client.HTTPMessage | dict[str, str]
    body: bytes
    #: How the connection is afterwards: open, closed (FIN) or reset (RST).
    end: str = "open"

    @property
    def code(self) -> int:
        return json.loads(self.body)["code"]

    @property
    def data(self) -> Any:
        return json.loads(self.body)["data"]


class Client:
    def __init__(self, sandbox: NxCloudSandbox) -> None:
        self.sandbox = sandbox
        self.address = urlsplit(sandbox.base_url).netloc

    def body(self, media_id: str, **changes: Any) -> bytes:
        body = {
            "business_phone": self.sandbox.business_phone,
            "messaging_product": "whatsapp",
            "Media-ID": media_id,
            **changes,
        }
        return json.dumps({name: value for name, value in body.items() if value is not None}).encode()

    def signed(self, body: bytes, action: str = "getMedia", **changes: str | None) -> dict[str, str]:
        """Headers as NXCloud wants them; changes come before the signature, so that it stays valid."""
        headers = {
            "Content-Type": "application/json",
            "accessKey": self.sandbox.access_key,
            "ts": str(int(self.sandbox.now() * 1000)),
            "bizType": "2",
            "action": action,
        }
        headers.update({name: value for name, value in changes.items() if value is not None})
        headers["sign"] = sign(
            access_key=headers["accessKey"],
            action=headers["action"],
            biz_type=headers["bizType"],
            ts=headers["ts"],
            body=body,
            access_secret=self.sandbox.access_secret,
        )
        return {name: value for name, value in headers.items() if changes.get(name, "") is not None}

    def call(self, media_id: str = "photo", *, body: bytes | None = None, action: str = "getMedia") -> Answer:
        body = self.body(media_id) if body is None else body
        return self.send("POST", f"/api/wa/{action}", body, self.signed(body, action))

    def get(self, media_id: str = "photo", method: str = "GET", **headers: str) -> Answer:
        return self.send(method, self.target(media_id), b"", headers)

    def target(self, media_id: str = "photo") -> str:
        """Path and query of a fresh URL."""
        url = urlsplit(self.call(media_id).data["url"])
        return f"{url.path}?{url.query}"

    def send(
        self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection(self.address, timeout=5)
        connection.request(method, target, body or None, headers or {})
        response = connection.getresponse()
        answer = Answer(response.status, response.headers, response.read())
        connection.close()
        return answer

    def raw_call(self, media_id: str = "photo", *, patience: float = 5) -> Answer:
        body = self.body(media_id)
        return self.raw("POST", "/api/wa/getMedia", body, self.signed(body), patience=patience)

    def raw_get(self, media_id: str = "photo", *, patience: float = 5, **headers: str) -> Answer:
        return self.raw("GET", self.target(media_id), b"", headers, patience=patience)

    def raw(
        self, method: str, target: str, body: bytes, headers: dict[str, str], *, patience: float
    ) -> Answer:
        """Ask on a connection that stays open and read what comes, until it ends or nothing comes for long."""
        lines = [f"{method} {target} HTTP/1.1", "Host: sandbox", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        host, _, port = self.address.rpartition(":")
        received, end = b"", "closed"
        with socket.create_connection((host, int(port)), timeout=patience) as connection:
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
            try:
                while piece := connection.recv(1_048_576):
                    received += piece
            except ConnectionResetError:
                end = "reset"
            except TimeoutError:
                end = "open"
        if not received:
            return Answer(None, {}, b"", end)
        head, _, rest = received.partition(b"\r\n\r\n")
        status_line, *header_lines = head.decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in header_lines)
        return Answer(int(status_line.split(" ")[1]), dict(pairs), rest, end)


@pytest.fixture
def content() -> bytes:
    """1,000 bytes, no two neighbours alike."""
    return bytes(range(250)) * 4


@pytest.fixture
def client(sandbox: NxCloudSandbox, content: bytes) -> Client:
    """A client of a sandbox with the media ``photo``."""
    sandbox.add_media(content, "image/jpeg", media_id="photo", file_name="photo")
    return Client(sandbox)
