"""The Test button of the web interface tells the truth, and which field is wrong."""

from __future__ import annotations

import socket
import threading

import pytest

WORKS = "NXCloud accepts access key, secret and business_phone 8613800138000"


@pytest.fixture
def say(form, airflow, conn_id, nxcloud):
    """Press the button on the sandbox's connection with some fields changed; return what it says."""

    def say(extra=None, **fields) -> str:
        connection = {**nxcloud.connection, **fields}
        return form.test(conn_id, {**connection, "extra": {**connection["extra"], **(extra or {})}})

    yield say
    nxcloud.reset()
    nxcloud.clock_offset = 0
    assert "canary" not in airflow.log.read_text()


def test_good_connection_works(say):
    assert WORKS in say()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        pytest.param({"login": "other"}, "NXCloud 1005, access key wrong", id="key"),
        pytest.param({"password": "canary-other"}, "NXCloud 1003, invalid signature", id="secret"),
        pytest.param({"login": "", "password": "x"}, "login (access key) is missing", id="no key"),
        pytest.param({"password": ""}, "password (access secret) is missing", id="no secret"),
        pytest.param(
            {"extra": {"business_phone": "4912345678"}}, "NXCloud 9002, the merchant number", id="phone"
        ),
        pytest.param(
            {"extra": {"business_phone": "4987654321"}}, "NXCloud 9006, the WhatsApp number", id="unbound"
        ),
        pytest.param({"extra": {"business_phone": "12"}}, "business_phone (in extra) must be", id="no phone"),
        pytest.param(
            {"host": "http://127.0.0.1:1"}, "host of the connection, http://127.0.0.1:1", id="nobody there"
        ),
        pytest.param({"host": "http://127.0.0.1:x"}, "host is not a host name or URL", id="no host"),
        pytest.param(
            {"extra": {"verify": "/no/ca.pem"}}, "verify (in extra) must be true, false", id="verify"
        ),
    ],
)
def test_wrong_field_is_named(say, wrong, told):
    said = say(**wrong)
    assert told in said
    assert "NXCloud accepts" not in said
    assert "canary" not in said


def test_host_that_is_not_nxclouds_is_named(say, nxcloud):
    nxcloud.inject("api.html", times=None)
    assert f"host is {nxcloud.base_url}" in say()


def test_clock_that_is_off_is_told(say, nxcloud):
    nxcloud.clock_offset = 120
    said = say()
    assert WORKS in said
    assert "the clock of this machine is -1" in said


def test_clock_that_cannot_be_corrected_is_named(say, nxcloud):
    nxcloud.inject("api.code", code=1004, times=None)
    assert "NXCloud 1004, timestamp expired" in say()


def test_empty_host_is_nxclouds_own_address(say):
    """A proxy that lets nothing through tells where the call would have gone."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        asked = []

        def refuse() -> None:
            client, _ = proxy.accept()
            with client:
                asked.append(client.recv(65536).decode())
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        said = say(host="", extra={"proxies": {"https": f"http://127.0.0.1:{proxy.getsockname()[1]}"}})
        thread.join(60)
    assert asked
    assert asked[0].startswith("CONNECT api2.nxcloud.com:443 ")
    assert "host of the connection, https://api2.nxcloud.com" in said
