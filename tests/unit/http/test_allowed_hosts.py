"""Which download URLs are followed: literal addresses only, so no name server is asked."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from airflow_provider_nxcloud.connection.settings import ConnectionSettings
from airflow_provider_nxcloud.exceptions import NxCloudMediaRefusedError
from airflow_provider_nxcloud.http.allowed_hosts import DownloadHostPolicy
from airflow_provider_nxcloud.transfer.download import Downloader

OUTSIDE = "http://8.8.8.8"
QUERY = "?Expires=1&Signature=canary"


def settings(base_url: str = OUTSIDE, **options) -> ConnectionSettings:
    fields = {"business_phone": None, "proxies": {}, "timeout": 2.0, **options}
    return ConnectionSettings("nx", base_url, "key", "secret", **fields)


def refusal(url: str, *, redirected_from: str | None = None, **options) -> str:
    with pytest.raises(NxCloudMediaRefusedError) as caught:
        DownloadHostPolicy(settings(**options)).check(url, redirected_from=redirected_from)
    assert "canary" not in f"{caught.value!r}"
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://8.8.8.8/a",
        "http://8.8.8.8:8080/a",
        "https://[2606:4700:4700::1111]/a",
        "https://1.1.1.1",
        "https://[::ffff:8.8.8.8]/a",
        "https://[64:ff9b::808:808]/a",
    ],
)
def test_host_outside_is_allowed(url):
    DownloadHostPolicy(settings()).check(url + QUERY)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1.2.3",
        "localhost",
        "2130706433",
        "0x7f.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[fc00::1]",
        "[fec0::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
    ],
)
def test_host_inside_is_refused_by_name(host):
    text = refusal(f"http://{host}/latest/meta-data{QUERY}")
    assert repr(host.strip("[]")) in text
    assert "allowed_media_hosts of connection 'nx'" in text


@pytest.mark.parametrize(
    "base_url", ["http://127.0.0.1:8080", "http://10.0.0.5", "http://localhost:8080", "http://[::1]:1"]
)
def test_host_inside_is_allowed_where_the_api_is_inside(base_url):
    DownloadHostPolicy(settings(base_url)).check("http://192.168.1.1/a")


@pytest.mark.parametrize(
    ("globs", "host"),
    [
        (("*.aliyuncs.com",), "bucket.oss-cn-hongkong.aliyuncs.com"),
        (("*.aliyuncs.com",), "BUCKET.Aliyuncs.COM"),
        (("x", "10.0.0.*"), "10.0.0.7"),
        (("127.0.0.1",), "127.0.0.1:8080"),
        (("::1",), "[::1]:8080"),
        (("*",), "127.0.0.1"),
    ],
)
def test_host_matching_a_glob_is_allowed(globs, host):
    DownloadHostPolicy(settings(allowed_media_hosts=globs)).check(f"https://{host}/a")


@pytest.mark.parametrize(
    ("globs", "host"),
    [
        (("*.aliyuncs.com",), "aliyuncs.com"),
        (("*.aliyuncs.com",), "evil-aliyuncs.com"),
        (("*.aliyuncs.com",), "a.aliyuncs.com.evil.com"),
        (("a.example.com",), "b.a.example.com"),
        (("10.0.0.*",), "8.8.8.8"),
    ],
)
def test_host_matching_no_glob_is_refused(globs, host):
    text = refusal(f"https://{host}/a{QUERY}", allowed_media_hosts=globs)
    assert repr(host) in text
    assert "'nx'" in text


def test_host_matching_no_glob_is_refused_also_where_the_api_is_inside():
    refusal("http://127.0.0.1/a", base_url="http://127.0.0.1", allowed_media_hosts=("*.aliyuncs.com",))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://8.8.8.8/a",
        "file:///etc/passwd",
        "//8.8.8.8/a",
        "8.8.8.8/a",
        "",
        "data:,a",
        "javascript:1",
    ],
)
def test_url_that_is_not_http_is_refused(url):
    assert "not http or https" in refusal(url)


@pytest.mark.parametrize("url", ["http://", "http:///a"])
def test_url_without_a_host_is_refused(url):
    assert "names no host" in refusal(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1/a",
        "http://8.8.8.8:99999/a",
        "http://8.8.8.8:x/a",
        "http://8.8.8.8:0/a",
        "http://%38.8.8.8/a",
        "http://8.8.8.8\\.example.com/a",
        "http://8.8.8.8/a\\b",
    ],
)
def test_url_that_cannot_be_read_is_refused(url):
    assert "cannot be read" in refusal(url + QUERY)


def test_url_with_credentials_is_refused_without_showing_them():
    assert "canary" not in refusal("http://user:canary@8.8.8.8/a")


def test_redirect_from_https_to_http_is_refused():
    assert "plain http" in refusal(f"{OUTSIDE}/a{QUERY}", redirected_from="https://8.8.8.8/a")


@pytest.mark.parametrize(
    ("redirected_from", "url"), [("http", "https"), ("http", "http"), ("https", "https")]
)
def test_redirect_that_stays_as_safe_is_allowed(redirected_from, url):
    DownloadHostPolicy(settings()).check(
        f"{url}://8.8.4.4/a", redirected_from=f"{redirected_from}://8.8.8.8/a"
    )


def test_redirect_to_the_inside_is_refused():
    refusal("http://169.254.169.254/a", redirected_from="http://8.8.8.8/a")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1.", "127.1", "localhost", "a.localhost.", "[::1]"])
def test_host_inside_is_refused_behind_a_proxy_too(host):
    refusal(f"http://{host}/a", proxies={"http": "http://8.8.8.8:3128"})


def test_host_name_behind_a_proxy_is_left_to_the_proxy():
    proxied = settings(proxies={"https": "http://8.8.8.8:3128"})
    DownloadHostPolicy(proxied).check("https://no-such-host.invalid/a")


@pytest.mark.parametrize(
    ("host", "globs"),
    [
        ("%31%32%37.0.0.1:{port}", ()),
        ("%6c%6f%63%61%6c%68%6f%73%74:{port}", ()),
        ("127.0.0.1\\.example.com", ()),
        ("127.0.0.1\\.aliyuncs.com", ("*.aliyuncs.com",)),
    ],
    ids=["percent-encoded address", "percent-encoded name", "backslash", "backslash behind a glob"],
)
def test_host_spelled_so_that_it_is_read_in_two_ways_is_refused(sandbox, host, globs):
    port = sandbox.base_url.rpartition(":")[2]
    downloader = Downloader(
        settings(allowed_media_hosts=globs),
        max_media_bytes=1000,
        connections=1,
        cancelled=threading.Event(),
        sleep=lambda _: None,
    )
    with pytest.raises(NxCloudMediaRefusedError):
        downloader.open(f"http://{host.format(port=port)}/media/1001", {}, deadline=time.monotonic() + 60)
    assert sandbox.requests == []


@pytest.mark.parametrize("address", ["64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1", "fe80::1", "ff02::1"])
def test_inner_address_inside_another_is_refused(address):
    assert "private or loopback address" in refusal(f"http://[{address}]/photo")


@pytest.mark.parametrize(
    ("address", "options"),
    [
        ("8.8.8.8", {}),
        ("10.0.0.1", {"allowed_media_hosts": ("media.example",)}),
        ("10.0.0.1", {"base_url": "http://127.0.0.1"}),
    ],
    ids=["outside", "host allowed", "API inside"],
)
def test_peer_that_may_be_connected_to(address, options):
    DownloadHostPolicy(settings(**options)).check_peer(f"https://media.example/a{QUERY}", address)


@pytest.mark.parametrize("address", ["10.0.0.1", "::1", "fe80::1%eth0"])
def test_peer_inside_is_refused_by_the_name_that_led_there(address):
    with pytest.raises(NxCloudMediaRefusedError, match=r"private or loopback address.*'media\.example'"):
        DownloadHostPolicy(settings()).check_peer(f"https://media.example/a{QUERY}", address)


@pytest.fixture
def names(monkeypatch):
    """What the name server knows, and whom it was asked for."""
    known, asked = {}, []

    def resolve(host, *_, **__):
        asked.append(host)
        host.encode("idna")
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (known[host], 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known, asked


def test_name_that_leads_inside_is_refused(names):
    known, _ = names
    known["media.example"] = "10.0.0.1"
    assert "private or loopback address" in refusal("https://media.example/a")


def test_name_that_leads_outside_is_resolved_once(names):
    known, asked = names
    known["media.example"] = "8.8.8.8"
    hosts = DownloadHostPolicy(settings())
    for _ in range(2):
        hosts.check("https://media.example/a")
    assert asked.count("media.example") == 1


@pytest.mark.parametrize("name", ["media.example", "a" * 64 + ".example"], ids=["unknown", "too long"])
def test_name_that_does_not_resolve_yet_is_left_to_the_download_and_asked_for_again(names, name):
    _, asked = names
    hosts = DownloadHostPolicy(settings())
    for _ in range(2):
        hosts.check(f"https://{name}/a")
    assert asked.count(name) == 2
