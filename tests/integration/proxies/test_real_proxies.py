"""tinyproxy and microsocks, as Debian has them, between us and a server over http and https."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pytest
from proxies import Certificates, HttpProxy, Server
from running_airflow import free_port

from airflow_provider_nxcloud.connection.settings import ConnectionSettings
from airflow_provider_nxcloud.http.transport import Transport, TransportError

pytestmark = pytest.mark.skipif(
    not (shutil.which("tinyproxy") and shutil.which("microsocks")),
    reason="needs: apt-get install --no-install-recommends tinyproxy microsocks",
)


class TlsFront(HttpProxy):
    """Speaks TLS before a proxy that cannot."""

    def lead(self, *_: socket.socket) -> None:
        pass


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., int]]:
    with ExitStack() as stack:

        def run(command: list[str], port: int) -> int:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            until = time.monotonic() + 10
            while time.monotonic() < until:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    return port
                except ConnectionRefusedError:
                    assert process.poll() is None
                    time.sleep(0.02)
            raise TimeoutError(command)

        yield run


@pytest.fixture
def tinyproxy(run, tmp_path) -> Callable[..., int]:
    def tinyproxy(*lines: str) -> int:
        port, config = free_port(), tmp_path / "tinyproxy.conf"
        config.write_text("\n".join([f"Port {port}", "Listen 127.0.0.1", "MaxClients 20", *lines, ""]))
        return run(["tinyproxy", "-d", "-c", str(config)], port)

    return tinyproxy


@pytest.fixture
def microsocks(run) -> Callable[..., int]:
    def microsocks(*options: str) -> int:
        port = free_port()
        return run(["microsocks", "-i", "127.0.0.1", "-p", str(port), *options], port)

    return microsocks


@pytest.fixture
def get(certificates) -> Callable[..., bytes]:
    """Fetch twice through a proxy, from a server whose name only the proxy and this machine know: localhost."""

    def get(media: str, proxy: str) -> bytes:
        fields = {"business_phone": None, "timeout": 10.0, "verify": certificates.bundle}
        settings = ConnectionSettings(
            "nx", "http://127.0.0.1", "key", "secret", proxies={"all": proxy}, **fields
        )
        transport = Transport(settings, connections=1)
        body = b""
        with closing(Server(certificates.tls if media == "https" else None)) as server:
            url = f"{media}://localhost:{server.port}/a?b=1"
            for _ in range(2):
                with transport.send("GET", url, dict, deadline=time.monotonic() + 20) as response:
                    assert response.status == 200
                    body += b"".join(iter(partial(response.read1, 100), b""))
            assert server.got.startswith(b"GET /a?b=1 HTTP/1.")
        return body

    return get


@pytest.mark.parametrize("media", ["http", "https"])
def test_http_proxy(media, tinyproxy, get):
    assert get(media, f"http://127.0.0.1:{tinyproxy()}") == b"hello" * 2


@pytest.mark.parametrize("media", ["http", "https"])
def test_https_proxy(media, tinyproxy, get, certificates):
    with closing(TlsFront(tinyproxy(), certificates.tls)) as front:
        assert get(media, front.url) == b"hello" * 2


@pytest.mark.parametrize("media", ["http", "https"])
def test_http_proxy_with_credentials(media, tinyproxy, get):
    port = tinyproxy("BasicAuth me canary")
    assert get(media, f"http://me:canary@127.0.0.1:{port}") == b"hello" * 2
    with pytest.raises(TransportError) as caught:
        get(media, f"http://127.0.0.1:{port}")
    assert str(caught.value) == f"the proxy http://127.0.0.1:{port} asks for credentials (HTTP 407)"


@pytest.mark.parametrize("media", ["http", "https"])
@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_socks_proxy(scheme, media, microsocks, get):
    assert get(media, f"{scheme}://127.0.0.1:{microsocks()}") == b"hello" * 2


def test_socks_proxy_with_credentials(microsocks, get):
    port = microsocks("-u", "me", "-P", "canary")
    assert get("https", f"socks5h://me:canary@127.0.0.1:{port}") == b"hello" * 2
    with pytest.raises(TransportError, match="SOCKS5 authentication failed"):
        get("https", f"socks5h://me:wrong@127.0.0.1:{port}")
