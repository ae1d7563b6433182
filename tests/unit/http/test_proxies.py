"""Every kind of proxy, with media over http and https, over real sockets; and what connecting may take."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial

import pytest
import requests
from proxies import HOST, Certificates, HttpProxy, Server, SocksProxy

from airflow_provider_nxcloud.connection.settings import ConnectionSettings
from airflow_provider_nxcloud.exceptions import NxCloudDownloadError, NxCloudMediaRefusedError
from airflow_provider_nxcloud.http.transport import Transport, TransportError
from airflow_provider_nxcloud.transfer.download import Downloader

#: Seconds of an exchange in all, and without a byte.
TOTAL, TIMEOUT = 0.5, 5.0
OUTSIDE = "http://8.8.8.8"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def start() -> Iterator[Callable]:
    with ExitStack() as stack:
        yield lambda kind, *args, **options: stack.enter_context(closing(kind(*args, **options)))


@pytest.fixture
def settings(certificates) -> Callable[..., ConnectionSettings]:
    fields = {"business_phone": None, "timeout": TIMEOUT, "verify": certificates.bundle}
    return lambda **options: ConnectionSettings("nx", OUTSIDE, "key", "secret", **{**fields, **options})


def get(settings: ConnectionSettings, url: str, seconds: float = 10) -> bytes:
    """Download as the operator does, from a host that has to be outside unless a proxy stands between."""
    downloader = Downloader(
        settings, max_media_bytes=100, connections=1, cancelled=threading.Event(), sleep=time.sleep
    )
    with downloader.open(url, {}, deadline=time.monotonic() + seconds) as response:
        return b"".join(iter(partial(response.read1, 100), b""))


@pytest.mark.parametrize("media", ["http", "https"])
@pytest.mark.parametrize("proxy", ["http", "https", "socks5", "socks5h"])
def test_proxy_of_each_kind_works(proxy, media, start, settings, certificates, monkeypatch):
    server = start(Server, certificates.tls if media == "https" else None)
    kind = HttpProxy if proxy.startswith("http") else SocksProxy
    running = start(kind, server.port, certificates.tls if proxy == "https" else None)
    resolve = socket.getaddrinfo
    monkeypatch.setattr(  # with socks5 the name is resolved here
        socket, "getaddrinfo", lambda host, *args, **kw: resolve(host.replace(HOST, "8.8.8.8"), *args, **kw)
    )
    url = running.url.replace("socks5", proxy)

    assert get(settings(proxies={"all": url}), f"{media}://{HOST}/a?b=1") == b"hello"

    assert server.got.startswith(b"GET /a?b=1 HTTP/1.1\r\n")
    assert len(running.asked) == 1


@pytest.mark.parametrize("key", ["https", "all", f"https://{HOST}", f"all://{HOST}"])
def test_proxy_is_selected_as_requests_does(key, start, settings, certificates):
    server = start(Server, certificates.tls)
    proxy = start(HttpProxy, server.port)
    assert (
        get(settings(proxies={key: proxy.url, "http": "http://127.0.0.1:1"}), f"https://{HOST}/") == b"hello"
    )


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "ALL_PROXY"])
def test_proxy_of_the_environment_works(variable, start, settings, certificates, monkeypatch):
    server = start(Server, certificates.tls)
    monkeypatch.setenv(variable, start(HttpProxy, server.port).url)
    assert get(settings(), f"https://{HOST}/") == b"hello"


@pytest.mark.parametrize("media", ["http", "https"])
def test_proxy_that_is_not_trusted_gets_nothing(media, start, settings, certificates):
    proxy = start(HttpProxy, start(Server).port, certificates.tls)
    with pytest.raises(NxCloudDownloadError, match="certificate verify failed"):
        get(settings(proxies={"all": proxy.url}, verify=True), f"{media}://{HOST}/")
    assert proxy.asked == []


@pytest.mark.parametrize("media", ["http", "https"])
def test_proxy_that_asks_for_credentials_is_named(media, start, settings):
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def refuse() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(65536)
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    threading.Thread(target=refuse, daemon=True).start()
    with listener, pytest.raises(NxCloudDownloadError) as caught:
        get(settings(proxies={"all": f"http://me:canary@127.0.0.1:{port}"}), f"{media}://{HOST}/")
    said = str(caught.value)
    assert f"the proxy http://127.0.0.1:{port} asks for credentials (HTTP 407); set the right user" in said
    assert "canary" not in said


@pytest.mark.parametrize("scheme", ["http", "https", "socks5h"])
@pytest.mark.parametrize(
    ("credentials", "cause"),
    [
        ("me:c@nary", "Connection refused"),
        ("me:c@nary@x", "Connection refused"),
        ("me:c%40nary", "Connection refused"),
        ("me:c nary", "Connection refused"),
        ("me:c/nary", "the proxy's URL cannot be read; percent-encode"),
        ("me:c#nary", "the proxy's URL cannot be read; percent-encode"),
        ("nary\\me:c", "the proxy's URL cannot be read; percent-encode"),
    ],
)
def test_proxy_password_of_any_characters_is_in_no_error(credentials, cause, scheme, settings, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv("http_proxy", f"{scheme}://{credentials}@{address}")
        with pytest.raises(NxCloudDownloadError) as caught:
            get(settings(), f"http://{HOST}/")
    said = str(caught.value)
    assert said.startswith(f"the download failed: {cause}")
    assert f"(proxy {scheme}://{address})" in said or "cannot be read" in cause
    assert "nary" not in said


def test_socks_without_its_package_says_what_to_install(settings, monkeypatch):
    def missing(*_: object, **__: object) -> None:
        raise requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")

    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", missing)
    with pytest.raises(NxCloudDownloadError, match=r"needs PySocks: pip install .*\[socks\]"):
        get(settings(proxies={"all": "socks5h://127.0.0.1:1080"}), f"https://{HOST}/")


def took_too_long(ask: Callable[[], object]) -> None:
    started = time.monotonic()
    with pytest.raises((NxCloudDownloadError, TransportError), match="it took too long in all"):
        ask()
    assert TOTAL <= time.monotonic() - started < TIMEOUT


def test_deadline_includes_a_socks_answer_that_drips(start, settings):
    server = start(Server)
    proxy = start(SocksProxy, server.port, drip=True)
    took_too_long(lambda: get(settings(proxies={"all": proxy.url}), "http://8.8.4.4/", TOTAL))
    assert server.got == b""


@pytest.mark.parametrize("proxy_tls", [False, True])
def test_deadline_includes_a_handshake_that_drips(proxy_tls, start, settings, certificates):
    server = start(Server, certificates.tls)
    proxy = start(HttpProxy, server.port, certificates.tls if proxy_tls else None, drip=True)
    took_too_long(lambda: get(settings(proxies={"all": proxy.url}), f"https://{HOST}/", TOTAL))
    assert server.got == b""


def test_socket_is_closed_by_the_thread_that_still_connects(start, settings, certificates, monkeypatch):
    closed_by, closed = [], threading.Event()
    close = ssl.SSLSocket._real_close

    def note(self):
        if not self.server_side:
            closed_by.append(threading.current_thread())
            closed.set()
        close(self)

    monkeypatch.setattr(ssl.SSLSocket, "_real_close", note)
    proxy = start(HttpProxy, start(Server, certificates.tls).port, certificates.tls, drip=True)
    took_too_long(lambda: get(settings(proxies={"all": proxy.url}), f"https://{HOST}/", TOTAL))

    # Its number would be the next socket's, whose bytes the thread would take for its own.
    assert closed.wait(TIMEOUT)
    assert threading.current_thread() not in closed_by


def test_deadline_includes_a_record_of_tls_inside_tls_that_drips(start, settings, certificates):
    server = start(Server, certificates.tls)
    proxy = start(HttpProxy, server.port, certificates.tls)
    transport = Transport(settings(proxies={"all": proxy.url}), connections=1)

    def ask(seconds: float) -> None:
        with transport.send("GET", f"https://{HOST}/", dict, deadline=time.monotonic() + seconds) as response:
            while response.read1(100):
                pass

    ask(10)
    proxy.slow_down()
    took_too_long(lambda: ask(TOTAL))


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes no connection and refuses none."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_deadline_includes_all_silent_addresses_of_a_name(silent, settings, monkeypatch):
    resolve = socket.getaddrinfo

    def eight(host, *args, **kwargs):
        return 8 * resolve("127.0.0.1", *args, **kwargs) if host == HOST else resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", eight)
    transport = Transport(settings(proxies={}, timeout=0.3), connections=1)
    url = f"http://{HOST}:{silent}/"
    took_too_long(lambda: transport.send("GET", url, dict, deadline=time.monotonic() + TOTAL))


def test_deadline_includes_the_name_server(settings, monkeypatch):
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(TIMEOUT))
    transport = Transport(settings(proxies={}), connections=1)
    took_too_long(lambda: transport.send("GET", f"http://{HOST}/", dict, deadline=time.monotonic() + TOTAL))
    answered.set()


def test_nothing_is_sent_after_the_deadline(start, settings):
    server = start(Server)
    transport = Transport(settings(proxies={}), connections=1)
    url = f"http://127.0.0.1:{server.port}/"
    for until in (time.monotonic(), time.monotonic() + 10, time.monotonic()):
        with suppress(TransportError), transport.send("POST", url, dict, b"{}", deadline=until) as response:
            while response.read1(100):
                pass
    assert server.got.count(b"POST") == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_peer_that_is_refused_gets_not_one_byte(scheme, settings):
    def refuse(address: str) -> None:
        raise NxCloudMediaRefusedError(address)

    transport = Transport(settings(proxies={}), connections=1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(NxCloudMediaRefusedError, match=r"127\.0\.0\.1"):
            transport.send("GET", url, dict, deadline=time.monotonic() + 10, check_peer=refuse)
        client, _ = listener.accept()
        with client:
            assert client.recv(100) == b""
