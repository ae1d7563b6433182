"""Whatever comes in from outside, only the documented errors come out, and no object that is not whole."""

from __future__ import annotations

import hashlib
import json
import socketserver
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Connection
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from airflow_provider_nxcloud.api.client import NxCloudClient
from airflow_provider_nxcloud.api.codes import CODES
from airflow_provider_nxcloud.connection.settings import ConnectionSettings
from airflow_provider_nxcloud.exceptions import NxCloudError, NxCloudInputError
from airflow_provider_nxcloud.hooks.nxcloud import NxCloudHook
from airflow_provider_nxcloud.media import parse_media_ids
from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator
from airflow_provider_nxcloud.text import UNSAFE

CONTENT = b"the bytes of the media" * 20
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PHONE = "8613800138000"


def properties(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


class RawServer(socketserver.ThreadingTCPServer):
    """Reads a request, answers the bytes it was given for that method, whatever they are, and closes."""

    daemon_threads = True
    request_queue_size = 64
    #: By method; a function gets the path and the body.
    answers: dict[bytes, bytes | Callable[[str, bytes], bytes]]

    class RequestHandlerClass(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            method, path, _ = self.rfile.readline().split(b" ")
            length = 0
            while (line := self.rfile.readline()).strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            body = self.rfile.read(length)
            answer = self.server.answers[method]
            with suppress(OSError):
                self.wfile.write(answer(path.decode(), body) if callable(answer) else answer)

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), self.RequestHandlerClass)
        self.answers = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with RawServer() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def hook(server: RawServer) -> NxCloudHook:
    hook = NxCloudHook()
    settings = ConnectionSettings(
        "nxcloud_default", server.url, "key", "secret", business_phone=PHONE, timeout=5, max_attempts=2
    )
    hook.client = NxCloudClient(settings, sleep=lambda seconds: None)
    return hook


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait neither for a retry nor as long as a ``Retry-After`` asks for."""
    for module in ("concurrency", "transfer.transfer"):
        name = f"airflow_provider_nxcloud.{module}.stoppable_sleep"
        monkeypatch.setattr(name, lambda stop: lambda seconds: None)


@pytest.fixture
def connected(server: RawServer, monkeypatch: pytest.MonkeyPatch, no_waiting: None) -> None:
    """Let ``nxcloud_default`` lead to the raw server, and downloads to nowhere else."""
    extra = {
        "business_phone": PHONE,
        "timeout": 5,
        "max_attempts": 2,
        "allowed_media_hosts": ["127.0.0.1"],
    }
    connection = {"conn_type": "nxcloud", "login": "key", "password": "secret", "host": server.url}
    monkeypatch.setenv("AIRFLOW_CONN_NXCLOUD_DEFAULT", json.dumps({**connection, "extra": extra}))


# Lone surrogates too: JSON can carry them.
TEXT = st.text(max_size=30) | st.text(st.characters(), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
MIME_TYPES = TEXT | st.sampled_from(
    [
        "image/jpeg",
        "IMAGE/JPEG; a=b",
        "text/html",
        "audio/ogg; codecs=opus",
        "../x",
        "image/../../etc",
        "a/b/c",
    ]
)
FILE_NAMES = TEXT | st.sampled_from(
    ["", ".", "..", ".hidden", "../up", "/etc/passwd", "a\\b", "a\0b", "a" * 300, "牛" * 100, "con", "x.jpg"]
)
ODD_URLS = [
    "http://",
    "http:///x",
    "http://[::1",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:0/",
    "http://127.0.0.1\\@x/",
    "http://127.0.0.1/\udcff",
    "http://127.0.0.1:1/ä b\r\nX: y",
    "http://a@127.0.0.1/",
    "http://%31/",
    "http://" + "a" * 300,
    "file:///etc/passwd",
    "//127.0.0.1:1/x",
    "?",
    "",
]
URLS = TEXT | st.sampled_from(ODD_URLS)
ENVELOPES = st.fixed_dictionaries(
    {},
    optional={
        "code": st.sampled_from([0, *CODES, 1000, 1009]) | st.integers() | JSON,
        "message": JSON,
        "data": JSON | st.fixed_dictionaries({}, optional={"url": URLS | JSON, "mime_type": JSON}),
    },
)
BROKEN_BODIES = [
    b"",
    b"[" * 100_000,
    b'{"code": ' + b"9" * 5000 + b"}",
    b'{"code": ' + b"9" * 4000 + b"}",
    b'{"code": 1e999}',
    b'{"code": true}',
    b'{"code": 0, "data": [1]}',
    b'{"code": 0, "data": {"url": 5}}',
    b'{"code": 0, "data": {"url": "http://[::1"}}',
    b"\xef\xbb\xbf{}",
    '{"code": 0}'.encode("utf-16"),
    b'{"code": 0, "message": "\xff"}',
    b"\x1f\x8b\x08\x00broken gzip",
]
JSON_BODIES = (ENVELOPES | JSON).map(lambda value: json.dumps(value).encode())
BODIES = JSON_BODIES | st.binary(max_size=60) | st.sampled_from(BROKEN_BODIES)
STATUSES = st.sampled_from(
    [*[200] * 15, 204, 206, 301, 302, 304, 307, 400, 401, 403, 404, 408, 410, 416, 429, 500, 503]
)
HEADER_VALUES = [
    "",
    "0",
    "-1",
    "10",
    "10, 10",
    "9" * 400,
    "9" * 5000,
    "\xb2",
    "1e3",
    "gzip",
    "identity",
    "br, deflate",
    "zstd",
    "chunked",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 99999 08:49:37 GMT",
    "Sun, 31 Feb 2026 25:61:61 +9999",
    "bytes 0-9/10",
    f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}",
    f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT) + 10}",
    "bytes 0-9/*",
    "bytes 9-0/" + "9" * 5000,
    '"' + "0" * 32 + '"',
    'W/"x"',
    "=" * 24,
    "image/jpeg",
    "text/html; charset=nothing",
    "/elsewhere",
    "http://[::1",
    "http://127.0.0.1:99999/",
    "file:///etc/passwd",
]
#: Those that say where the body ends are left out where a test sets them itself.
FRAMING = ["Content-Length", "Transfer-Encoding", "Connection"]
HEADER_NAMES = [
    "Content-Type",
    "Content-Encoding",
    "Content-Range",
    "Content-MD5",
    "ETag",
    "Date",
    "Retry-After",
    "Location",
    "Set-Cookie",
]


def headers(names: list[str]) -> st.SearchStrategy[list[tuple[str, str]]]:
    value = st.sampled_from(HEADER_VALUES) | st.text(max_size=10)
    return st.lists(st.tuples(st.sampled_from(names), value), max_size=4)


def http(status: object, fields: list[tuple[str, str]], body: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace") + body


ANSWERS = st.one_of(
    st.builds(http, st.just(200), headers(HEADER_NAMES + FRAMING), BODIES),
    st.builds(http, st.integers(-1, 1000) | TEXT, headers(HEADER_NAMES + FRAMING), BODIES),
    st.binary(max_size=60).map(lambda rest: b"HTTP/1.1 200 OK\r\n" + rest),
)
EVERY_HEADER = [(name, value) for name in HEADER_NAMES for value in HEADER_VALUES]


def always(name: str, values: Iterable[Any], **others: Any) -> Callable[[Any], Any]:
    """Try each of these values, beside those that are generated."""

    def decorate(test: Any) -> Any:
        for value in values:
            test = example(**{name: value, **others})(test)
        return test

    return decorate


@properties(150)
@given(answer=st.builds(http, STATUSES, headers(HEADER_NAMES), BODIES) | ANSWERS)
@always("answer", [http(200, [], body) for body in BROKEN_BODIES])
@always("answer", [http(200, [field], b'{"code": 1004}') for field in EVERY_HEADER])
@always("answer", [http(503, [field], b"") for field in EVERY_HEADER if field[0] == "Retry-After"])
def test_whatever_the_api_answers_gives_data_or_a_documented_error(server, hook, answer):
    server.answers[b"POST"] = answer
    with suppress(NxCloudError):
        hook.get_media("1")
    with suppress(NxCloudError):
        hook.call("deleteMedia", {})
    works, text = hook.test_connection()
    assert isinstance(works, bool)
    assert text.isprintable()


@properties(100)
@given(body=ENVELOPES)
@always("body", [{"code": 0, "data": {"url": url}} for url in [*ODD_URLS, 5, True, ["x"], {"x": 1}]])
def test_whatever_shape_an_answer_has_the_operator_ends_with_a_documented_error(server, connected, body):
    server.answers[b"POST"] = http(200, [], json.dumps(body).encode())
    # Should a URL lead here, there is nothing.
    server.answers[b"GET"] = http(404, [("Content-Length", "0")], b"")
    with tempfile.TemporaryDirectory() as folder:
        with pytest.raises(NxCloudError):
            fetch(folder, ["1"])
        assert all_below(folder) == {}


def fetch(folder: str, media_ids: Any, **arguments: Any) -> list[dict[str, Any]]:
    operator = NxCloudGetMediaOperator(task_id="fetch", media_ids=media_ids, destination=folder, **arguments)
    return operator.execute(context={})


def all_below(folder: str | Path) -> dict[str, bytes | None]:
    """Return everything in a folder by its path there: the content of files, None for folders."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in Path(folder).rglob("*")
    }


def announce(server: RawServer, mime_type: str | None) -> None:
    data = {"url": f"{server.url}/media?Signature=x", "mime_type": mime_type, "file_name": "photo"}
    server.answers[b"POST"] = http(200, [], json.dumps({"code": 0, "data": data}).encode())


TRUE_LENGTH = ("Content-Length", str(len(CONTENT)))
CORRUPT = bytes([CONTENT[0] ^ 1]) + CONTENT[1:]


@properties(120)
@given(mime_type=st.none() | MIME_TYPES, answer=ANSWERS)
@example(mime_type="image/jpeg", answer=http(200, [TRUE_LENGTH], CONTENT))
@example(mime_type="image/jpeg", answer=http(200, [TRUE_LENGTH], CORRUPT))
@example(mime_type="image/jpeg", answer=http(200, [("Content-Length", "9")], CONTENT))
@example(mime_type="image/jpeg", answer=http(200, [("Content-Length", "9" * 5000)], CONTENT))
def test_whatever_a_download_answers_only_the_given_content_is_stored(server, connected, mime_type, answer):
    announce(server, mime_type)
    server.answers[b"GET"] = answer
    with tempfile.TemporaryDirectory() as folder:
        try:
            (record,) = fetch(folder, [{"media_id": "1", "sha256": SHA256}])
        except NxCloudError:
            assert all_below(folder) == {}
        else:
            assert (record["status"], record["sha256"]) == ("stored", SHA256)
            assert list(all_below(folder).values()) == [CONTENT]


FRAMINGS = ["length", "longer", "shorter", "chunked", "cut chunks", "close"]


def chunked(body: bytes) -> bytes:
    pieces = [body[start : start + 7] for start in range(0, len(body), 7)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@properties(120)
@given(
    mime_type=st.none() | MIME_TYPES,
    status=STATUSES,
    fields=headers(HEADER_NAMES),
    body=st.binary(max_size=60) | BODIES,
    framing=st.sampled_from(FRAMINGS),
)
@always("framing", FRAMINGS, mime_type="image/jpeg", status=200, fields=[], body=CONTENT)
@always("fields", [[it] for it in EVERY_HEADER], mime_type=None, status=200, body=CONTENT, framing="length")
@always(
    "fields",
    [[("Content-Range", value)] for value in HEADER_VALUES],
    mime_type=None,
    status=206,
    body=CONTENT,
    framing="length",
)
@always(
    "fields",
    [[("Location", value)] for value in HEADER_VALUES],
    mime_type=None,
    status=302,
    body=b"",
    framing="length",
)
@example(mime_type="image/jpeg", status=200, fields=[], body=b"", framing="length")
def test_without_a_hash_only_what_was_sent_and_announced_is_stored(
    server, connected, mime_type, status, fields, body, framing
):
    announce(server, mime_type)
    length = len(body) + {"longer": 3, "shorter": -1}.get(framing, 0)
    assume(length >= 0)
    if "chunk" in framing:
        frame = [("Transfer-Encoding", "chunked")]
        sent = chunked(body)[: -7 if framing == "cut chunks" else None]
    else:
        frame = [] if framing == "close" else [("Content-Length", str(length))]
        sent = body
    server.answers[b"GET"] = http(status, [*frame, *fields], sent)
    with tempfile.TemporaryDirectory() as folder:
        try:
            (record,) = fetch(folder, ["1"])
        except NxCloudError:
            assert all_below(folder) == {}
        else:
            (stored,) = all_below(folder).values()
            assert framing not in ("longer", "cut chunks")
            assert stored == body[:length]
            if status == 206:
                assert dict(fields)["Content-Range"].endswith(f"/{len(stored)}")
            assert record["status"] == "stored"
            assert (record["size"], record["sha256"]) == (len(stored), hashlib.sha256(stored).hexdigest())


ANNOUNCED = st.fixed_dictionaries(
    {}, optional={"mime_type": MIME_TYPES | JSON, "file_name": FILE_NAMES | JSON}
)
#: The same from the sender, through the webhook.
SENT = st.fixed_dictionaries({}, optional={"mime_type": MIME_TYPES, "file_name": FILE_NAMES})


NAMES = ["{media_id}{extension}", "{file_name}", "{file_name}{extension}", "{media_id}/{file_name}"]


def fetch_named(server: RawServer, folder: str, announced: list, sent: list, **arguments: Any) -> list:
    """Fetch media of different content, each with what NXCloud announces and what the sender said of it."""

    def answer_call(path: str, body: bytes) -> bytes:
        media_id = json.loads(body)["Media-ID"]
        data = {**announced[int(media_id)], "url": f"{server.url}/{media_id}?Signature=x"}
        return http(200, [], json.dumps({"code": 0, "data": data}).encode())

    def answer_download(path: str, body: bytes) -> bytes:
        return http(200, [("Content-Length", "10")], content_of(path[1]))

    server.answers.update({b"POST": answer_call, b"GET": answer_download})
    media_ids = [{"media_id": str(number), **item} for number, item in enumerate(sent)]
    return fetch(folder, media_ids, ignore_media_errors=True, **arguments)


def content_of(media_id: str) -> bytes:
    return media_id.encode() * 10


@properties(120)
@given(
    announced=st.lists(ANNOUNCED, min_size=3, max_size=3),
    sent=st.lists(SENT, min_size=3, max_size=3),
    object_name=st.sampled_from([*NAMES, "in/{file_name}"]),
)
@example(announced=[{"file_name": "a.jpg"}] * 3, sent=[{}] * 3, object_name="{file_name}")
@example(announced=[{"file_name": "\ud800"}] * 3, sent=[{}] * 3, object_name="{media_id}/{file_name}")
@example(announced=[{"mime_type": "\ud800"}] * 3, sent=[{}] * 3, object_name="{media_id}{extension}")
def test_whatever_names_and_types_come_every_file_is_in_its_place(
    server, connected, announced, sent, object_name
):
    with tempfile.TemporaryDirectory() as folder:
        try:
            records = fetch_named(server, f"{folder}/out", announced, sent, object_name=object_name)
        except NxCloudError:
            records = []
        assert json.loads(json.dumps(records)) == records
        stored = [record for record in records if record["status"] == "stored"]
        expected = {
            record["uri"].removeprefix("file://"): content_of(record["media_id"]) for record in stored
        }
        assert len(expected) == len(stored)
        found = {f"{folder}/{name}": content for name, content in all_below(folder).items()}
        assert {path: content for path, content in found.items() if content is not None} == expected
        for name in all_below(folder):
            assert name.split("/")[0] == "out"
            assert not any(part.startswith(".") or UNSAFE.search(part) for part in name.split("/"))


SURROGATES = [
    ({"file_name": "\ud800"}, {}),
    ({}, {"file_name": "\ud800"}),
    ({"mime_type": "\ud800"}, {}),
]


@properties(60)
@given(announced=ANNOUNCED, sent=SENT)
@example(*SURROGATES[0])
@example(*SURROGATES[1])
@example(*SURROGATES[2])
@example({"file_name": "a\0b"}, {})
def test_whatever_names_and_types_come_the_result_can_be_an_xcom(server, connected, announced, sent):
    with tempfile.TemporaryDirectory() as folder:
        (record,) = fetch_named(server, folder, [announced], [sent])
        assert record["status"] == "stored"
        # Airflow 3 hands an XCom on as UTF-8, which has no lone surrogates, and PostgreSQL's JSONB has no NUL.
        assert json.loads(json.dumps(record, ensure_ascii=False).encode()) == record
        assert "\\u0000" not in json.dumps(record)


@properties(60)
@given(announced=ANNOUNCED, sent=SENT)
@example(*SURROGATES[0])
@example(*SURROGATES[1])
@example(*SURROGATES[2])
def test_whatever_names_and_types_come_the_manifest_has_the_records(server, connected, announced, sent):
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder, "manifest.jsonl")
        records = fetch_named(server, f"{folder}/out", [announced], [sent], manifest=str(manifest))
        (line,) = manifest.read_bytes().splitlines()
        assert json.loads(line)["media_id"] == records[0]["media_id"] == "0"
        assert records[0]["status"] == "stored"


ODD = JSON | st.binary(max_size=5) | st.just(Decimal("NaN")) | st.just({1}) | st.just(...) | st.just(range(3))
ENTRIES = st.fixed_dictionaries(
    {}, optional={name: ODD | TEXT for name in ("media_id", "sha256", "mime_type", "file_name", "other")}
)
DEEP = [
    "[" * 100_000,
    "(" * 5000,
    "{'a':" * 5000,
    "-" * 100_000,
    "9" * 5000,
    "1" + "+1" * 5000,
    "\0",
    "[\ud800]",
]


@properties(200)
@given(value=ODD | st.lists(ODD | ENTRIES, max_size=4) | st.lists(ENTRIES).map(str) | st.sampled_from(DEEP))
@example(value="[" * 100_000)
@example(value="-" * 100_000)
@example(value="[" + "9" * 5000 + "]")
@example(value="[" + "1" + "+1" * 5000 + "]")
@example(value="['\\ud800']")
@example(value="[\ud800]")
@example(value="[\0]")
def test_media_ids_whatever_they_are_give_items_or_the_documented_error(value):
    with suppress(NxCloudInputError):
        for item in parse_media_ids(value):
            assert item.media_id.isprintable()
            assert all(isinstance(text, str | None) for text in (item.sha256, item.mime_type, item.file_name))


EXTRAS = st.dictionaries(
    st.sampled_from(
        ["business_phone", "timeout", "max_attempts", "verify", "proxies", "allowed_media_hosts", "other"]
    ),
    JSON
    | st.dictionaries(st.sampled_from(["http", "https", "x"]), URLS | JSON, max_size=2)
    | st.sampled_from([1e400, -0.0, 10**400, "1_000", "\u0661", "/nowhere", "", "*", ["*", "["]]),
    max_size=4,
)


@properties(200)
@given(
    fields=st.fixed_dictionaries(
        {},
        optional={
            "host": JSON | URLS,
            "login": st.just("key") | JSON,
            "password": st.just("secret") | JSON,
            "schema": st.just("http") | JSON,
            "port": st.just(80) | JSON,
            "extra": EXTRAS | JSON | EXTRAS.map(json.dumps),
        },
    )
)
def test_a_connection_of_fields_of_any_type_gives_a_session_or_the_documented_error(fields):
    connection = Connection(conn_id="nxcloud_default", conn_type="nxcloud")
    for name, value in fields.items():
        try:
            setattr(connection, name, value)
        except Exception:  # noqa: BLE001, Airflow refuses it itself
            assume(False)
    check_connection(connection)


@properties(150)
@given(extra=EXTRAS.map(json.dumps) | JSON.map(json.dumps) | TEXT)
@always("extra", ["[" * 100_000, "{", '{"timeout": ' + "9" * 5000 + "}", '{"verify": "\\u0000"}', "\ud800"])
def test_an_extra_of_any_content_gives_a_session_or_the_documented_error(extra):
    connection = Connection(conn_id="nxcloud_default", conn_type="nxcloud", login="key", password="secret")
    try:
        connection.extra = extra
    except Exception:  # noqa: BLE001, Airflow refuses it itself
        assume(False)
    check_connection(connection)


def check_connection(connection: Connection) -> None:
    try:
        checked = ConnectionSettings.from_connection(connection)
    except NxCloudInputError:
        return
    NxCloudClient(checked)
