"""TLS, proxies and the wire, over real sockets; and causes of failures that show no URL."""

from __future__ import annotations

import base64
import datetime
import http.client
import http.server
import ipaddress
import logging
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
import requests
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from urllib3.contrib import pyopenssl

from airflow_provider_nxcloud.connection.settings import ConnectionSettings
from airflow_provider_nxcloud.exceptions import NxCloudMediaRefusedError, NxCloudUnavailableError
from airflow_provider_nxcloud.hooks.nxcloud import NxCloudHook
from airflow_provider_nxcloud.http.transport import Transport, TransportError
from airflow_provider_nxcloud.transfer.download import Downloader

ANSWER = b'{"code": 0, "message": "success", "data": {"answered": true}}'
SECRET_URL = "https://bucket.example.com/a?Expires=1&Signature=canary"

pytestmark = pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")


@pytest.fixture(autouse=True)
def no_bundle_of_this_machine(monkeypatch):
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)


class Server(http.server.ThreadingHTTPServer):
    """Answers every request alike, over TLS if it has a certificate, and keeps what was asked."""

    def __init__(self, certificate: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.peers: set[tuple[str, int]] = set()
        self.location: str | None = None
        self.scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            # The handshake belongs to the connection's thread, not to the one that accepts.
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """A client that does not trust the certificate is what is tested."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.peers.add(self.client_address)
        self.server.asked.append((self.command, self.path, dict(self.headers)))
        self.send_response(302 if self.server.location else 200)
        self.send_header("Set-Cookie", "session=1")
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def start():
    servers: list[Server] = []

    def start(certificate: Path | None = None) -> Server:
        servers.append(Server(certificate))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def make_certificate(path: Path, address: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1)).add_extension(names, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + builder.sign(key, hashes.SHA256()).public_bytes(encoding))
    return path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("certificates")
    made = {name: make_certificate(folder / f"{name}.pem", "127.0.0.1") for name in ("right", "wrong")}
    made["elsewhere"] = make_certificate(folder / "elsewhere.pem", "127.0.0.2")
    return {name: str(path) for name, path in made.items()}


@pytest.fixture
def ask(connect):
    """Ask through the hook, which says yes, or why it could not."""

    def ask(host: str, **extra) -> str:
        connect(host=host, extra={"max_attempts": 1, "timeout": 5, **extra})
        try:
            return "yes" if NxCloudHook().call("getPhone", {}) == {"answered": True} else "no"
        except NxCloudUnavailableError as error:
            return str(error)

    return ask


@pytest.mark.parametrize(
    ("served", "verify", "bundle", "trusted"),
    [
        ("right", None, None, False),
        ("right", True, None, False),
        ("right", False, None, True),
        ("right", "right", None, True),
        ("right", "wrong", None, False),
        ("elsewhere", "elsewhere", None, False),
        ("right", None, "right", True),
        ("right", True, "right", True),
        ("right", None, "wrong", False),
        ("right", "wrong", "right", False),
        ("right", "right", "wrong", True),
        ("right", False, "wrong", True),
    ],
)
@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_tls_certificate_is_checked_as_asked(
    start, ask, certificates, monkeypatch, variable, served, verify, bundle, trusted
):
    if bundle:
        monkeypatch.setenv(variable, certificates[bundle])
    server = start(certificates[served])
    said = ask(server.url, verify=certificates.get(verify, verify))
    assert ("certificate verify failed" not in said) == trusted
    assert (said == "yes") == trusted
    assert len(server.asked) == trusted
    session, trusts = NxCloudHook().get_conn(), True
    try:
        session.post(f"{server.url}/api/wa/getPhone", timeout=5)
    except requests.exceptions.SSLError:
        trusts = False
    assert trusts == trusted


def test_tls_bundle_of_the_environment_that_is_missing_is_told(start, ask, certificates, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    said = ask(start(certificates["right"]).url)
    assert "/nowhere/ca.pem; check the certificate there, and the CA file" in said


def test_tls_certificate_that_is_refused_is_told_first_and_what_to_check(start, ask, certificates, tmp_path):
    said = ask(start(certificates["elsewhere"]).url, verify=certificates["elsewhere"])
    assert "certificate verify failed: IP address mismatch" in said[:80]
    assert "valid for '127.0.0.1'; check the certificate there, and the CA file that verify" in said

    nothing = tmp_path / "nothing.pem"
    nothing.touch()
    said = ask(start(certificates["right"]).url, verify=str(nothing))
    assert "no certificate or crl found; check the certificate there, and the CA file that verify" in said


def test_tls_where_nobody_speaks_it_is_told(start, ask):
    said = ask(start().url.replace("http://", "https://"))
    assert "what answers speaks no TLS: http:// in place of https://?" in said


def test_tls_of_pyopenssl_works_too(start, ask, certificates):
    """Other software in the process can have put it into urllib3."""
    pyopenssl.inject_into_urllib3()
    try:
        server = start(certificates["right"])
        assert ask(server.url, verify=certificates["right"]) == "yes"
        assert "certificate verify failed" in ask(server.url, verify=certificates["wrong"])
    finally:
        pyopenssl.extract_from_urllib3()


def test_tls_is_not_left_by_a_redirect_of_a_download(start, connect, certificates):
    plain, secure = start(), start(certificates["right"])
    secure.location = plain.url
    connect(host=secure.url, extra={"verify": certificates["right"]})
    downloader = Downloader(
        NxCloudHook().client.settings,
        max_media_bytes=1000,
        connections=1,
        cancelled=threading.Event(),
        sleep=lambda _: None,
    )
    with pytest.raises(NxCloudMediaRefusedError, match="from https to plain http"):
        downloader.open(secure.url, {}, deadline=time.monotonic() + 10)
    assert (len(secure.asked), plain.asked) == (1, [])


@pytest.mark.parametrize("scheme", ["http", "all"])
def test_proxy_of_the_connection_gets_the_call(start, ask, scheme):
    proxy = start()
    assert ask("http://api.invalid", proxies={scheme: proxy.url}) == "yes"
    NxCloudHook().get_conn().post("http://api.invalid/api/wa/getPhone", timeout=5)
    assert [path for _, path, _ in proxy.asked] == ["http://api.invalid/api/wa/getPhone"] * 2


def test_proxy_of_the_environment_gets_the_call(start, ask, monkeypatch):
    proxy = start()
    monkeypatch.setenv("http_proxy", proxy.url)
    assert ask("http://api.invalid") == "yes"
    assert len(proxy.asked) == 1


def test_proxy_of_the_connection_beats_the_environment(start, ask, monkeypatch):
    named, unnamed = start(), start()
    monkeypatch.setenv("http_proxy", unnamed.url)
    assert ask("http://api.invalid", proxies={"http": named.url}) == "yes"
    assert (len(named.asked), len(unnamed.asked)) == (1, 0)


def test_proxy_of_the_environment_is_left_out_for_no_proxy(start, ask, monkeypatch):
    proxy, server = start(), start()
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert ask(server.url) == "yes"
    assert (len(proxy.asked), len(server.asked)) == (0, 1)


def test_proxy_credentials_reach_the_proxy_only(start, ask):
    proxy = start()
    assert ask("http://api.invalid", proxies={"http": proxy.url.replace("//", "//me:canary@")}) == "yes"
    ((_, path, headers),) = proxy.asked
    assert headers["Proxy-Authorization"] == "Basic " + base64.b64encode(b"me:canary").decode()
    assert "canary" not in path


@pytest.mark.parametrize("host", ["http://api.invalid", "https://api.invalid"])
def test_proxy_that_cannot_be_reached_is_told_without_its_credentials(ask, host):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        proxy = f"http://me:canary@127.0.0.1:{unused.getsockname()[1]}"
        said = ask(host, proxies={"all": proxy})
    assert "Connection refused" in said
    assert "canary" not in said


def transport(**options) -> Transport:
    fields = {"business_phone": None, "proxies": {}, "timeout": 5.0, **options}
    return Transport(ConnectionSettings("nx", "http://127.0.0.1", "key", "secret", **fields), connections=2)


def test_send_adds_nothing_but_the_user_agent(start, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password canary-netrc\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server, sender = start(), transport()
    for _ in range(2):
        response = sender.send(
            "GET", f"{server.url}/a%20b?x=%2F&y=1#part", lambda: {"X-Own": "1"}, deadline=time.monotonic() + 5
        )
        assert response.read1(1000) == ANSWER
    for method, path, headers in server.asked:
        assert (method, path) == ("GET", "/a%20b?x=%2F&y=1")
        assert set(headers) - {"Accept-Encoding"} == {"Host", "User-Agent", "X-Own"}


def test_send_follows_no_redirect_and_never_retries(sandbox):
    sandbox.inject("api.redirect", location="/elsewhere")
    assert (
        transport()
        .send("POST", f"{sandbox.base_url}/api/wa/getMedia", dict, b"{}", deadline=time.monotonic() + 5)
        .status
        == 302
    )
    sandbox.inject("api.status", status=503, retry_after=0)
    assert (
        transport()
        .send("POST", f"{sandbox.base_url}/api/wa/getMedia", dict, b"{}", deadline=time.monotonic() + 5)
        .status
        == 503
    )
    sandbox.inject("api.reset", times=None)
    with pytest.raises(TransportError):
        transport().send(
            "POST", f"{sandbox.base_url}/api/wa/getMedia", dict, b"{}", deadline=time.monotonic() + 5
        )
    assert len(sandbox.requests) == 3


def test_send_times_out_after_the_timeout_of_the_connection(sandbox):
    sandbox.inject("api.hang")
    with pytest.raises(TransportError) as caught:
        transport(timeout=0.1).send(
            "POST", f"{sandbox.base_url}/api/wa/getMedia", dict, b"{}", deadline=time.monotonic() + 5
        )
    assert "timed out" in str(caught.value)


def test_send_keeps_the_connection_for_the_next_request(start):
    sender, server = transport(), start()
    for _ in range(3):
        with sender.send("GET", server.url, dict, deadline=time.monotonic() + 5) as response:
            while response.read1(1000):
                pass
    assert len(server.peers) == 1


def test_send_logs_no_query_at_debug(start, caplog):
    caplog.set_level(logging.DEBUG)
    url = f"{start().url}/a?Expires=1&Signature=canary"
    transport().send("GET", url, dict, deadline=time.monotonic() + 5).close()
    said = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert "GET /a " in said
    assert "canary" not in said


def test_what_other_software_logs_is_left_alone(start, caplog):
    caplog.set_level(logging.DEBUG)
    url = f"{start().url}/a?Expires=1&Signature=theirs"
    transport().send("GET", url, dict, deadline=time.monotonic() + 5).close()
    requests.get(url, timeout=5)
    assert "GET /a?Expires=1&Signature=theirs " in caplog.text


def raised(error: Exception, cause: BaseException | None = None) -> Exception:
    try:
        raise error from cause
    except Exception as caught:  # noqa: BLE001 - it is what the test is about
        return caught


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (ConnectionResetError("Remote end closed"), "Remote end closed"),
        (TimeoutError("timed out"), "timed out"),
        (raised(requests.ConnectionError(SECRET_URL), OSError(113, "No route to host")), "No route to host"),
        (requests.ConnectionError(f"Bad {SECRET_URL}"), "Bad https://bucket.example.com/a?..."),
        (urllib3.exceptions.MaxRetryError(None, SECRET_URL, OSError(1, "Not permitted")), "Not permitted"),
        (ValueError("no SOCKS in socks9://me:canary@proxy:1"), "no SOCKS in socks9://proxy:1"),
        (http.client.BadStatusLine("canary"), "the response does not begin with HTTP's status line"),
        (http.client.IncompleteRead(b"canary"), "the response is incomplete"),
        (urllib3.exceptions.IncompleteRead(5, 6), "the response is incomplete"),
        (AttributeError("a\x1b[31m" + 300 * "b"), "a\N{REPLACEMENT CHARACTER}[31m" + 144 * "b"),
        (KeyError(), "an error without a text (KeyError)"),
    ],
)
def test_error_says_why_in_the_librarys_words_without_secrets(error, said):
    def fail():
        raise error

    with pytest.raises(TransportError) as caught:
        transport().send("GET", "http://127.0.0.1:9", fail, deadline=time.monotonic() + 5)
    assert str(caught.value) == said
    assert caught.value.__suppress_context__


def test_error_of_real_failures_shows_no_url(sandbox):
    url = f"{sandbox.base_url}/media/1?Signature=canary"
    sandbox.inject("download.reset", times=None)
    with pytest.raises(TransportError) as caught:
        transport().send("GET", url, dict, deadline=time.monotonic() + 5)
    assert str(caught.value) == "Connection reset by peer"
