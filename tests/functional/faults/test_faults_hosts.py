"""Where a download may lead, and that it carries nothing of NXCloud's there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_nxcloud.exceptions import NxCloudMediaLostError
from airflow_provider_nxcloud.sandbox import NxCloudSandbox
from airflow_provider_nxcloud.sandbox.downloads import signed_url

pytestmark = pytest.mark.usefixtures("no_backoff")


@pytest.fixture
def elsewhere(photo) -> Iterator[NxCloudSandbox]:
    """Another host that has the photo too."""
    with NxCloudSandbox(host="127.0.0.2") as elsewhere:
        elsewhere.media["photo-1"] = photo
        yield elsewhere


def lead(sandbox, by: str, url: str) -> None:
    if by == "url":
        sandbox.inject("api.url", times=None, url=url)
    else:
        sandbox.inject("download.redirect", times=None, location=url)


@pytest.mark.parametrize("by", ["url", "redirect"])
@pytest.mark.parametrize("allowed", [["127.0.0.1", "127.0.0.2"], ["127.0.0.*"], []])
def test_download_from_another_host_that_is_allowed(allowed, by, sandbox, elsewhere, fetch, connect, target):
    connect(extra={"allowed_media_hosts": allowed})
    lead(sandbox, by, signed_url(elsewhere, "photo-1"))

    assert fetch(["photo-1"]).error is None
    assert target.read_bytes() == elsewhere.media["photo-1"].content


@pytest.mark.parametrize("by", ["url", "redirect"])
def test_host_that_is_not_allowed_is_never_asked(by, sandbox, elsewhere, fetch, connect, kept):
    connect(extra={"allowed_media_hosts": ["127.0.0.1", "*.aliyuncs.com"]})
    lead(sandbox, by, signed_url(elsewhere, "photo-1"))

    run = fetch(["photo-1"])

    assert type(run.error) is NxCloudMediaLostError
    assert "the download host matches none of allowed_media_hosts" in run.record["error"]
    assert "host '127.0.0.2', connection 'nxcloud_default'" in run.record["error"]
    assert elsewhere.requests == []
    kept()


@pytest.mark.parametrize("by", ["url", "redirect"])
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("file:///etc/passwd", "the download URL is 'file', not http or https"),
        ("ftp://127.0.0.1/photo", "the download URL is 'ftp', not http or https"),
        ("http://user:password@127.0.0.1/photo", "the download URL carries credentials"),
        ("http://[::1/photo", "the download URL cannot be read"),
        ("http://127.0.0.1:99999/photo", "the download URL cannot be read"),
    ],
)
def test_url_that_must_not_be_followed_is_refused(url, says, by, sandbox, photo, fetch, kept):
    lead(sandbox, by, url)

    run = fetch(["photo-1"])

    assert type(run.error) is NxCloudMediaLostError
    assert run.record["error"].startswith(f"{says} (media file 'photo-1'")
    assert "password@" not in run.record["error"]
    assert len(sandbox.downloads()) == (1 if by == "redirect" else 0)
    kept()


@pytest.mark.parametrize("by", ["url", "redirect"])
def test_download_carries_nothing_of_nxclouds(by, sandbox, elsewhere, fetch, tmp_path: Path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\nmachine 127.0.0.2 login me password mine\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    # Cookies of the API and of the store must not come back either; the second media would bring them.
    sandbox.add_media(b"another", "image/jpeg", media_id="photo-2")
    elsewhere.inject("download.headers", times=None, headers={"Set-Cookie": "session=1; Path=/"})
    sandbox.inject("download.headers", times=None, headers={"Set-Cookie": "session=1; Path=/"})
    sandbox.inject("download.cut", media_id="photo-2")
    sandbox.inject(
        "api.url" if by == "url" else "download.redirect",
        media_id="photo-1",
        **{"url" if by == "url" else "location": signed_url(elsewhere, "photo-1")},
    )

    assert fetch(["photo-1", "photo-2", "1000000001"], max_workers=1).error is None

    seen = [*sandbox.downloads(), *elsewhere.downloads()]
    assert len(elsewhere.downloads()) == 1
    assert len(seen) >= 4
    for download in seen:
        names = {name.lower() for name in download.headers}
        assert names <= {
            "host",
            "user-agent",
            "accept-encoding",
            "range",
            "if-range",
            "accept",
            "connection",
        }
        assert download.headers["Accept-Encoding"] == "identity"
        assert download.method == "GET"
    # The same netrc must not overwrite how the API is called.
    assert all("Authorization" not in call.headers for call in sandbox.calls())


def test_name_that_leads_inside_only_when_it_is_connected_to_is_refused(
    sandbox, photo, fetch, connect, monkeypatch
):
    """DNS rebinding: the check sees an outside address, the connection gets another."""
    port = sandbox.base_url.rpartition(":")[2]
    resolve = socket.getaddrinfo
    answers = iter(["93.184.216.34", "127.0.0.1"])

    def rebind(host, *args, **kwargs):
        if host == "media.example":
            return resolve(next(answers), *args, **kwargs)
        # The rule holds only where NXCloud itself is outside.
        return resolve("93.184.216.34" if host == "127.0.0.1" and not args[0] else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebind)
    lead(sandbox, "url", f"http://media.example:{port}/photo")

    run = fetch(["photo-1"])

    assert type(run.error) is NxCloudMediaLostError
    assert "the download host resolves to a private or loopback address" in run.record["error"]
    assert "host 'media.example'" in run.record["error"]
    assert next(answers, None) is None
    assert sandbox.downloads() == []
