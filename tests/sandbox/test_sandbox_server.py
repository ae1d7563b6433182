"""The sandbox as a server: its lifetime, its records, the connection to it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest
from airflow.models.connection import Connection

from airflow_provider_nxcloud.sandbox import NxCloudSandbox


def wait_for_requests(sandbox, count):
    deadline = time.monotonic() + 5
    while len(sandbox.requests) < count:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.1", "example.com", "nxcloud.com"])
def test_host_that_is_not_loopback_is_refused(host):
    with pytest.raises(ValueError, match="loopback"):
        NxCloudSandbox(host=host)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "::1"])
def test_other_loopback_addresses_serve(host):
    with NxCloudSandbox(host=host) as sandbox:
        connection = http.client.HTTPConnection(sandbox.base_url.removeprefix("http://"), timeout=5)
        connection.request("GET", "/")
        assert connection.getresponse().status == 404
        connection.close()


def test_port_in_use_is_a_clear_error(sandbox):
    port = int(sandbox.base_url.rpartition(":")[2])

    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1 port {port}: Address already in use"):
        NxCloudSandbox(port=port).start()


def test_port_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="no port 65536"):
        NxCloudSandbox(port=65_536)


def test_sandbox_starts_again_after_it_stopped():
    sandbox = NxCloudSandbox()
    with pytest.raises(RuntimeError, match="not started"):
        _ = sandbox.base_url
    sandbox.start()
    with pytest.raises(RuntimeError, match="runs already"):
        sandbox.start()
    sandbox.stop()
    sandbox.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(sandbox.base_url.rpartition(":")[2])))
    with sandbox:
        socket.create_connection(("127.0.0.1", int(sandbox.base_url.rpartition(":")[2]))).close()


def test_sandbox_starts_again_on_the_port_it_had():
    with NxCloudSandbox() as first:
        port = int(first.base_url.rpartition(":")[2])
        left_open = socket.create_connection(("127.0.0.1", port))
        left_open.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert left_open.recv(65_536).startswith(b"HTTP/1.1 404 ")
    with NxCloudSandbox(port=port) as second:
        assert second.base_url == first.base_url
    left_open.close()


def test_stop_returns_with_requests_in_flight_and_leaves_no_thread(client, sandbox):
    sandbox.inject("api.hang", media_id="hang", times=None)
    sandbox.inject("download.stall", times=None)
    sandbox.add_media(bytes(50_000_000), "application/pdf", media_id="unread")
    ends = []
    hanging = [threading.Thread(target=lambda: ends.append(client.raw_call("hang").end)) for _ in range(5)]
    hanging.append(threading.Thread(target=lambda: ends.append(client.raw_get().end)))
    for thread in hanging:
        thread.start()
    unread = http.client.HTTPConnection(client.address, timeout=5)
    unread.request("GET", client.target("unread"))
    idle = socket.create_connection(("127.0.0.1", int(client.address.rpartition(":")[2])))
    wait_for_requests(sandbox, 5 + 2 + 2)
    serving = [thread for thread in threading.enumerate() if "process_request_thread" in thread.name]
    assert len(serving) >= 7

    started = time.monotonic()
    sandbox.stop()
    elapsed = time.monotonic() - started

    for thread in [*hanging, *serving]:
        thread.join(10)
    idle.close()
    unread.close()
    assert elapsed < 5
    assert len(ends) == 6
    assert not [thread for thread in serving if thread.is_alive()]


def test_records_say_what_was_asked(client, sandbox):
    before = time.monotonic()
    client.get(Range="bytes=0-1")

    call, download = sandbox.requests
    assert (call.kind, call.method, call.path) == ("api", "POST", "/api/wa/getMedia")
    assert (call.media_id, call.status, call.body) == ("photo", 200, client.body("photo"))
    assert call.headers["ACCESSKEY"] == call.headers["accessKey"] == sandbox.access_key
    assert (download.kind, download.method, download.path) == ("download", "GET", "/media/photo")
    assert (download.media_id, download.status, download.headers["range"]) == ("photo", 206, "bytes=0-1")
    assert before <= call.at <= download.at <= time.monotonic()


def test_repeated_header_is_recorded_with_every_value(client, sandbox):
    connection = http.client.HTTPConnection(client.address, timeout=5)
    connection.putrequest("GET", "/")
    for value in ("a", "b"):
        connection.putheader("X-Twice", value)
    connection.endheaders()
    connection.getresponse().read()
    connection.close()

    assert sandbox.requests[0].headers["x-twice"] == "a, b"


def test_records_are_found_by_kind_and_media(client, sandbox):
    sandbox.inject("download.reset")
    client.raw_get()
    client.call("unknown")

    assert [request.media_id for request in sandbox.calls()] == ["photo", "unknown"]
    assert [request.path for request in sandbox.calls("unknown")] == ["/api/wa/getMedia"]
    assert [request.status for request in sandbox.downloads("photo")] == [0]
    assert sandbox.downloads("unknown") == []


def test_records_show_no_secret(client, sandbox):
    client.get()

    text = repr(sandbox.requests) + repr([request.headers for request in sandbox.requests])

    assert sandbox.access_key not in text
    assert "Signature" not in text


def test_added_media_get_free_ids(sandbox):
    first = sandbox.add_media(b"1", "text/plain")
    second = sandbox.add_media(b"2", "text/plain")

    assert len({first.media_id, second.media_id}) == 2
    assert sandbox.media[second.media_id].content == b"2"


def test_connection_stays_open_for_the_next_request(client):
    connection = http.client.HTTPConnection(client.address, timeout=5)
    connection.connect()
    socket_before = connection.sock
    for _ in range(3):
        body = client.body("photo")
        connection.request("POST", "/api/wa/getMedia", body, client.signed(body))
        assert connection.getresponse().read().startswith(b'{"code": 0')
    assert connection.sock is socket_before
    connection.close()


def test_connection_closes_when_the_client_says_so(client):
    assert client.raw_get(Connection="close").end == "closed"


def test_client_that_waits_for_100_continue_is_served(client):
    host, _, port = client.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"x")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /\x1b[31m HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
    ],
)
def test_malformed_request_answers_400_and_closes(sandbox, request_bytes):
    with socket.create_connection(
        ("127.0.0.1", int(sandbox.base_url.rpartition(":")[2])), timeout=5
    ) as client:
        client.sendall(request_bytes)
        received = b""
        while piece := client.recv(65_536):
            received += piece

    assert received.startswith(b"HTTP/1.1 400 ")
    assert sandbox.requests == []


def test_128_clients_are_served_at_the_same_time(client, sandbox):
    sandbox.api_latency = 0.05
    body = client.body("photo")
    headers = client.signed(body)
    codes = []

    def run():
        codes.append(client.send("POST", "/api/wa/getMedia", body, headers).code)

    threads = [threading.Thread(target=run) for _ in range(128)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert codes == [0] * 128
    # One after the other would take 6.4 s.
    assert time.monotonic() - started < 3


def test_large_media_is_served_whole_again_and_again(client, sandbox):
    content = os.urandom(1_000_003) * 20
    sandbox.add_media(content, "application/pdf", media_id="large")

    assert client.get("large").body == content
    assert client.get("large", Range="bytes=19000000-").body == content[19_000_000:]


@pytest.mark.parametrize("secret", ["sandbox-access-secret", "a/b@c:d e?f&g=%2F'"])
def test_connection_forms_mean_the_same_to_airflow(secret):
    with NxCloudSandbox(access_key=secret[::-1], access_secret=secret) as sandbox:
        connections = [
            Connection(uri=sandbox.connection_uri),
            Connection.from_json(sandbox.connection_json),
            Connection(conn_id="sandbox", **sandbox.connection),
        ]
        for connection in connections:
            assert connection.conn_type == "nxcloud"
            assert (connection.login, connection.password) == (secret[::-1], secret)
            assert (connection.host, connection.port) == (sandbox.base_url, None)
            assert not connection.schema
            assert connection.extra_dejson == {"business_phone": "8613800138000"}


def test_sandbox_needs_neither_airflow_nor_requests():
    program = (
        "import sys, json; import airflow_provider_nxcloud.sandbox.__main__;"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    loaded = json.loads(
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout
    )

    assert "airflow_provider_nxcloud" in loaded
    assert not {"airflow", "requests", "urllib3", "tenacity"} & set(loaded)
