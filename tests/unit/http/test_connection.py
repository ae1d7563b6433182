"""Responses as they come over the wire: in any pieces, broken, odd, and dripping until their deadline."""

from __future__ import annotations

import gc
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from airflow.providers.common.compat.sdk import Connection
from hypothesis import given
from hypothesis import strategies as st
from raw_server import RawServer
from urllib3.connection import HTTPConnection

from airflow_provider_nxcloud.connection.settings import ConnectionSettings
from airflow_provider_nxcloud.http.connection import MAX_OVERHEAD_BYTES, with_limits
from airflow_provider_nxcloud.http.transport import Transport, TransportError

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


class Wire(RawServer):
    """
    Each connection answers each request with the next of the scripts.

    :param scripts: for each request the pieces to send, one after the other; None closes the connection.
    """

    def __init__(self, *scripts: list[bytes | None]) -> None:
        self.requests: list[bytes] = []
        self._scripts = iter(scripts)
        super().__init__()
        self.url = f"http://127.0.0.1:{self.port}/file"

    def serve(self, client: socket.socket) -> None:
        while request := client.recv(65536):
            self.requests.append(request)
            for piece in next(self._scripts):
                if piece is None:
                    return
                client.sendall(piece)


@pytest.fixture
def wire() -> Iterator[Callable[..., Wire]]:
    wires: list[Wire] = []

    def start(*scripts: list[bytes | None]) -> Wire:
        wires.append(Wire(*scripts))
        return wires[-1]

    yield start
    for each in wires:
        each.close()


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


def read(transport: Transport, url: str, *, seconds: float = 10, **headers: str) -> tuple[int, dict, bytes]:
    with transport.send("GET", url, lambda: headers, deadline=time.monotonic() + seconds) as response:
        body = b"".join(iter(lambda: response.read1(100), b""))
        return response.status, dict(response.headers), body


def ends(transport: Transport, url: str) -> str:
    """Read a response until the deadline ends it, and return the cause."""
    started = time.monotonic()
    with pytest.raises(TransportError) as error:
        read(transport, url, seconds=TOTAL)
    assert TOTAL <= time.monotonic() - started < TIMEOUT
    return str(error.value)


@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS)
def test_drip_ends_at_the_deadline(drip, serve):
    assert "too long in all" in ends(Transport(settings(), connections=1), f"http://{serve(*drip)}/")


def test_drip_of_a_proxy_ends_at_the_deadline(serve):
    proxy = serve(b"HTTP/1.1 200 ", b"O")
    transport = Transport(settings(proxies={"https": f"http://{proxy}"}), connections=1)

    assert "too long in all" in ends(transport, "https://media.example/")


#: Responses with the body "hello" and one header, X-A: 1; whether the connection can be used again afterwards.
WHOLE = {
    "length": (OK + b"Content-Length: 5\r\nX-A: 1\r\n\r\nhello", True),
    "chunks": (
        OK + b"Transfer-Encoding: chunked\r\nX-A: 1\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
        True,
    ),
    "padded size of a chunk": (
        OK + b"Transfer-Encoding: chunked\r\nX-A: 1\r\n\r\n5   \r\nhello\r\n0\r\n\r\n",
        True,
    ),
    "two equal lengths": (OK + b"Content-Length: 5\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello", True),
    "two equal lengths, joined": (OK + b"Content-Length: 5 ,5, 5\r\nX-A: 1\r\n\r\nhello", False),
    "lines that are no headers": (
        OK
        + b"nonsense\r\nOdd Name: 1\r\n: x\r\n\xff: x\r\n"
        + b"Content-Length: 5\r\nno\r\nX-A: 1\r\n\r\nhello",
        True,
    ),
    "blanks before a colon": (OK + b"Content-Length \t: 5\r\nX-A : 1\r\n\r\nhello", True),
    "blank before the colon of a coding": (
        OK + b"Transfer-Encoding : chunked\r\nX-A: 1\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        True,
    ),
    "carriage return inside a header": (OK + b"X: a\rb\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello", True),
    "continued header": (OK + b"X: a\r\n b\r\nContent-Length:\r\n\t5\r\nX-A: 1\r\n\r\nhello", True),
    "continued by blanks alone": (OK + b"X: a\r\n \t\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello", True),
    "bare line feeds": (OK.replace(b"\r", b"") + b"Content-Length: 5\nX-A: 1\n\nhello", True),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello", True),
    "odd reason": (b"HTTP/1.1 200 \xc3\xa7a \xff\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello", True),
    "no Transfer-Encoding": (OK + b"Transfer-Encoding:\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello", True),
    "chunks twice": (
        OK + b"Transfer-Encoding: chunked\r\n" * 2 + b"X-A: 1\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        True,
    ),
    "trailer": (OK + b"Transfer-Encoding: chunked\r\nX-A: 1\r\n\r\n5\r\nhello\r\n0\r\nX-A: 2\r\n\r\n", True),
    "interim": (
        b"HTTP/1.1 103 Early Hints\r\nX-A: 2\r\n\r\n" + OK + b"Content-Length: 5\r\nX-A: 1\r\n\r\nhello",
        True,
    ),
    "close": (OK + b"Connection: close\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello", False),
    "surplus": (OK + b"Content-Length: 5\r\nX-A: 1\r\n\r\nhello, world", False),
    "second response": (OK + b"Content-Length: 5\r\nX-A: 1\r\n\r\nhello" + OK + b"X-A: 2\r\n\r\n", False),
    "surplus after close": (
        OK + b"Connection: close\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello" + OK,
        False,
    ),
}
#: Responses that must not pass for whole; None is where the server closes the connection.
BROKEN = {
    "nothing": [None],
    "half a head": [OK + b"Content-Len", None],
    "half a body": [OK + b"Content-Length: 9\r\n\r\nhello", None],
    "half a chunk": [CHUNKED + b"9\r\nhello", None],
    "no last chunk": [CHUNKED + b"5\r\nhello\r\n", None],
    "no HTTP": [b"220 smtp.example ESMTP\r\n", None],
    "no number of a chunk": [CHUNKED + b"x\r\nhello\r\n"],
    "size of a chunk beyond reason": [CHUNKED + b"9" * 100 + b"\r\nhello", None],
    "NUL after the size of a chunk": [CHUNKED + b"5\0\r\nhello\r\n0\r\n\r\n"],
    "no line break after a chunk": [CHUNKED + b"5\r\nhello0\r\n\r\n", None],
    "two lengths": [OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"],
    "two lengths, joined": [OK + b"Content-Length: 5, 55\r\n\r\nhello"],
    "endless lines that are no headers": [OK + b"x\r\n" * MAX_OVERHEAD_BYTES],
    "end within a line that is no header": [OK + b"Content-Length: 5\r\nnonsense", None],
    "length that is none": [OK + b"Content-Length: -5\r\n\r\nhello"],
    "change of protocol": [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\nhello"
    ],
    "endless header": [OK + b"X: " + b"x" * (2 * MAX_OVERHEAD_BYTES)],
    "endless headers": [OK + b"X: x\r\n" * MAX_OVERHEAD_BYTES],
    "endless trailer": [CHUNKED + b"1\r\nx\r\n0\r\n" + b"X: x\r\n" * MAX_OVERHEAD_BYTES],
    "endless extensions": [CHUNKED + b"1;%s\r\nx\r\n" % (b"x" * 1000) * 1000],
    "body of an interim response": [b"HTTP/1.1 150 Odd\r\n\r\nhello" + CHUNKED + b"1\r\nx\r\n0\r\n\r\n"],
    "end within a trailer": [CHUNKED + b"5\r\nhello\r\n0\r\nX: x", None],
    "endless interim": [b"HTTP/1.1 100 Continue\r\n\r\n" * MAX_OVERHEAD_BYTES],
}


@pytest.mark.parametrize(
    ("name", "size"),
    # What follows a response in pieces may come so late that it meets the next request.
    [(name, size) for size in (1, 65536) for name in WHOLE if size > 1 or not name.startswith("s")],
)
def test_response_is_read_whole_and_alone(name, size, wire):
    response, reusable = WHOLE[name]
    pieces = [response[start : start + size] for start in range(0, len(response), size)]
    server = wire(pieces, WHOLE["length"][:1])
    transport = Transport(settings(), connections=1)

    for _ in range(2):
        status, headers, body = read(transport, server.url)
        assert (status, headers["X-A"], body) == (200, "1", b"hello")
    # What comes in a piece of its own is noticed, if at all, when the connection is to be used again.
    assert size == 1 or server.connections == (1 if reusable else 2)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: chunkedchunked\r\n",
        b"Transfer-Encoding: chunked, chunked\r\n",
    ],
)
def test_response_without_length_ends_with_the_connection_and_may_be_cut(header, wire):
    server = wire([OK + header + b"\r\nhel", b"lo", None], WHOLE["length"][:1])
    transport = Transport(settings(), connections=1)
    for cut in (True, False):
        with transport.send("GET", server.url, dict, deadline=time.monotonic() + 10) as response:
            assert b"".join(iter(lambda: response.read1(100), b"")) == b"hello"
            assert response.is_delimited is not cut


@pytest.mark.parametrize("status", [204, 304])
def test_response_that_has_no_body_is_over_at_once(status, wire):
    server = wire([b"HTTP/1.1 %d No\r\nContent-Length: 5\r\n\r\n" % status], WHOLE["length"][:1])
    transport = Transport(settings(), connections=1)
    assert [read(transport, server.url)[0] for _ in range(2)] == [status, 200]
    assert server.connections == 1


@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN)
def test_response_that_is_broken_is_an_error_and_its_connection_is_closed(script, wire):
    server = wire(script, WHOLE["length"][:1])
    transport = Transport(settings(), connections=1)
    with pytest.raises(TransportError):
        read(transport, server.url)
    assert read(transport, server.url)[2] == b"hello"
    assert server.connections == 2


def test_chunks_of_a_byte_are_no_overhead(wire):
    server = wire([CHUNKED + b"1\r\nx\r\n" * MAX_OVERHEAD_BYTES + b"0\r\n\r\n"])
    _, _, body = read(Transport(settings(), connections=1), server.url)
    assert len(body) == MAX_OVERHEAD_BYTES


def test_connection_that_died_in_the_pool_is_replaced_once_and_the_request_signed_anew(wire):
    server = wire(WHOLE["length"][:1], [None], WHOLE["length"][:1], [None], [None], WHOLE["length"][:1])
    transport = Transport(settings(), connections=1)
    signed = iter(range(9))

    def ask() -> bytes:
        until = time.monotonic() + 10
        with transport.send(
            "GET", server.url, lambda: {"X-Sign": str(next(signed))}, deadline=until
        ) as response:
            return response.read1(100)

    assert [ask(), ask()] == [b"hello"] * 2
    with pytest.raises(TransportError, match="Remote end closed connection"):
        ask()
    assert server.connections == 3
    assert [request.split(b"X-Sign: ")[1][:1] for request in server.requests] == [
        b"0",
        b"1",
        b"2",
        b"3",
        b"4",
    ]


def test_response_that_is_not_read_to_its_end_closes_the_connection(wire):
    server = wire(WHOLE["length"][:1], WHOLE["length"][:1])
    transport = Transport(settings(), connections=1)
    with transport.send("GET", server.url, dict, deadline=time.monotonic() + 10) as response:
        assert response.read1(2) == b"he"
    assert read(transport, server.url)[2] == b"hello"
    assert server.connections == 2


def test_response_leaves_nothing_to_the_garbage_collector(wire):
    server = wire(WHOLE["length"][:1])

    def ours() -> list[str]:
        ours = [each for each in gc.get_objects() if type(each).__module__ == with_limits.__module__]
        return [type(each).__name__ for each in ours if not isinstance(each, HTTPConnection)]

    gc.collect()
    gc.disable()
    try:
        before = ours()
        read(Transport(settings(), connections=1), server.url)
        after = ours()
    finally:
        gc.enable()
    assert after == before


@pytest.mark.parametrize(
    "odd",
    [b" Location: {}", b"nonsense {}", b": {}", b"Content-Type: multipart/mixed\r\nX: {}", b"X: a\rb {}"],
)
def test_odd_lines_of_a_head_are_in_no_log(odd, wire, caplog):
    caplog.set_level(logging.DEBUG)
    server = wire(
        [WHOLE["length"][0].replace(OK, OK + odd.replace(b"{}", b"http://x/?Signature=canary") + b"\r\n")]
    )
    assert read(Transport(settings(), connections=1), server.url)[2] == b"hello"
    assert "GET /file" in caplog.text
    assert "canary" not in caplog.text


def test_request_is_one_line_and_one_line_a_header(wire):
    server = wire(WHOLE["length"][:1])
    read(Transport(settings(), connections=1), f"{server.url}?a=%20b", **{"If-Range": '"x"'})
    lines = server.requests[0].split(b"\r\n")
    assert lines[0] == b"GET /file?a=%20b HTTP/1.1"
    assert b'If-Range: "x"' in lines
    assert f"Host: {server.url.split('/')[2]}".encode() in lines
    assert lines[-2:] == [b"", b""]


@pytest.mark.parametrize("value", ["x\r\nX-Evil: 1", "x\nX-Evil: 1", "x\rX"])
def test_request_with_a_line_break_in_a_header_is_not_sent(value, wire):
    server = wire(WHOLE["length"][:1])
    with pytest.raises(TransportError):
        read(Transport(settings(), connections=1), server.url, **{"If-Range": value})
    assert server.requests == []


@pytest.mark.parametrize("target", ["a b", "a\r\nX-Evil: 1", "ä", "?q=a b", "?q=\n"])
def test_request_target_is_sent_encoded(target, wire):
    server = wire(WHOLE["length"][:1])
    read(Transport(settings(), connections=1), f"{server.url}{target}")
    lines = server.requests[0].split(b"\r\n")
    assert lines[0].isascii()
    assert lines[0].count(b" ") == 2
    assert not any(line.startswith(b"X-Evil") for line in lines)


@given(
    junk=st.binary(max_size=300), head=st.sampled_from([b"", OK, CHUNKED, OK + b"Content-Length: 5\r\n\r\n"])
)
def test_any_bytes_are_a_response_or_an_error(junk, head):
    server = Wire([head + junk, None])
    try:
        status, _, _ = read(Transport(settings(), connections=1), server.url)
        assert status >= 200
    except TransportError:
        pass
    finally:
        server.close()
