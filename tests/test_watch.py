"""Whatever a server drips, the response ends at its deadline."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from airflow.providers.common.compat.sdk import Connection
from urllib3.exceptions import HTTPError

from airflow_provider_nxcloud.connection import ConnectionSettings
from airflow_provider_nxcloud.transport import Transport, network_cause

#: Idle and total, in seconds; each byte comes well inside the first.
TIMEOUT, TOTAL = 5.0, 0.4
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

#: What is sent at once, and what is repeated for ever after it.
DRIPS = {
    "status line": (b"HTTP/1.1 200 ", b"O"),
    "one header": (OK + b"X-Header: ", b"x"),
    "many headers": (OK, b"X-Header: x\r\n"),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": (OK + b"Content-Length: 1000000\r\n\r\n", b"x"),
    "body without a length": (OK + b"\r\n", b"x"),
    "chunks": (CHUNKED, b"1\r\nx\r\n"),
    "extension of a chunk": (CHUNKED + b"1;", b"x"),
    "trailers": (CHUNKED + b"1\r\nx\r\n0\r\n", b"X-Trailer: x\r\n"),
}


@pytest.fixture
def serve() -> Iterator[Callable[[bytes, bytes], str]]:
    """Answer one connection with a start and then a piece after piece; returns the server's address."""
    stop = threading.Event()
    threads = []
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(start: bytes, piece: bytes) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            try:
                connection.sendall(start)
                while not stop.wait(0.01):
                    connection.sendall(piece)
            except OSError:
                pass  # the client has left, which is what it should

    def serve(start: bytes, piece: bytes) -> str:
        threads.append(threading.Thread(target=answer, args=(start, piece)))
        threads[0].start()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    yield serve
    stop.set()
    for thread in threads:
        thread.join()
    listener.close()


def settings(**extra: object) -> ConnectionSettings:
    connection = Connection(
        conn_id="nxcloud", conn_type="nxcloud", host="http://127.0.0.1", login="key", password="secret"
    )
    connection.extra = json.dumps({"timeout": TIMEOUT, **extra})
    return ConnectionSettings.from_connection(connection)


def read(transport: Transport, url: str) -> None:
    with transport.send("GET", url, {}, until=time.monotonic() + TOTAL) as response:
        while response.read1(100):
            pass


def ends(transport: Transport, url: str) -> str:
    """Read a response until the deadline ends it, and return the cause."""
    started = time.monotonic()
    with pytest.raises((HTTPError, OSError)) as error:
        read(transport, url)
    assert TOTAL <= time.monotonic() - started < TIMEOUT
    return network_cause(error.value)


@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS)
def test_drip_ends_at_the_deadline(drip, serve):
    assert "too long in all" in ends(Transport(settings(), connections=1), f"http://{serve(*drip)}/")


def test_drip_of_a_proxy_ends_at_the_deadline(serve):
    proxy = serve(b"HTTP/1.1 200 ", b"O")
    transport = Transport(settings(proxies={"https": f"http://{proxy}"}), connections=1)

    assert "too long in all" in ends(transport, "https://media.example/")
