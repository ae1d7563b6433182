"""The receiver of the pages, as a server of its own, and its poster: what was answered 200 reaches Airflow."""

from __future__ import annotations

import http.server
import json
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pages import ROOT
from receiving import SECRET, poster, receiver, send, wait_for

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

ASSET = "x-nxcloud://whatsapp/callbacks"


class FakeAirflow(http.server.ThreadingHTTPServer):
    """Answers what the poster asks Airflow for, as the tests want it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.assets = [{"id": 1, "uri": "x-nxcloud://whatsapp/callbacks/of/another"}, {"id": 7, "uri": ASSET}]
        self.tokens = 0
        self.events: list[dict] = []
        #: Whether what answers an event is Airflow.
        self.is_airflow = True
        #: Gives the status of a login.
        self.login = lambda: 201
        #: Gives the status of an event, by the request's body.
        self.status = lambda body: 201

    def callbacks(self) -> list[dict]:
        return [callback for event in list(self.events) for callback in event["extra"]["callbacks"]]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FakeAirflow

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/auth/token":
            assert body == {"username": "receiver", "password": "canary-password"}
            self.server.tokens += 1
            self._answer(self.server.login(), {"access_token": f"token-{self.server.tokens}"})
        elif self.headers["Authorization"] != f"Bearer token-{self.server.tokens}":
            self._answer(401, {"detail": "Invalid JWT token"})
        else:
            status = self.server.status(body)
            if status == 201:
                self.server.events.append(body)
            self._answer(status, {"asset_id": body["asset_id"]} if self.server.is_airflow else {})

    def do_GET(self) -> None:
        self._answer(200, {"assets": self.server.assets})

    def _answer(self, status: int, document: dict) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def fake_airflow() -> Iterator[FakeAirflow]:
    with FakeAirflow() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def callbacks(count: int, begin: int = 0) -> list[dict]:
    return [{"statuses": [], "number": number} for number in range(begin, begin + count)]


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[tuple[int, Path]]:
    folder = tmp_path_factory.mktemp("receiver")
    with receiver(folder) as (port, _):
        yield port, folder


def queued(folder: Path, table: str = "waiting") -> list[str]:
    with closing(sqlite3.connect(folder / "callbacks.sqlite")) as queue:
        return [callback for (callback,) in queue.execute(f"select callback from {table} order by id")]


@pytest.mark.parametrize("name", ["receiver", "poster"])
def test_it_is_short_enough_to_copy(name):
    source = (ROOT / f"docs/{name}.py").read_text()
    assert len(source.split("# [START", 1)[1].splitlines()) < 62


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe{}", 400),
        (b"[]", 400),
        (b'"text"', 400),
        (b'{"a": NaN}', 400),
        (b'{"a": -Infinity}', 400),
        (b'{"a": 1e999}', 400),
        (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", 400),
        (b'{"a": ' + b"[" * 98 + b"]" * 98 + b"}", 200),
        (b"[" * 90_000, 400),
        (b'{"a": "' + b"x" * 100_000 + b'"}', 413),
        (b"{}", 200),
        ('{"name": "牛小信 😀"}'.encode(), 200),
    ],
    ids=lambda value: str(value)[:20],
)
def test_only_json_objects_of_a_callbacks_size_are_queued(running, body, status):
    port, folder = running
    before = queued(folder)
    assert send(port, body) == status
    assert queued(folder) == before + ([body.decode()] if status == 200 else [])


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b'{"caption": "half \\ud83d"}', '{"caption": "half ?"}'),
        (b'{"caption": "half \xed\xa0\xbd"}', '{"caption": "half ?"}'),
        (b'\xef\xbb\xbf{"a": 1}', '{"a": 1}'),
        ('{"a": 1}'.encode("utf-16"), '{"a": 1}'),
    ],
)
def test_what_airflow_would_fail_on_is_queued_without_it(running, body, kept):
    port, folder = running
    assert send(port, body) == 200
    assert queued(folder)[-1] == kept


def test_body_of_unknown_length_is_cut_off(running):
    assert send(running[0], iter([b"x" * 50_000] * 4)) == 413


@pytest.mark.parametrize("secret", ["", "x", SECRET[:-1], SECRET + "x", "%C3%A9"])
def test_wrong_secret_is_not_found(running, secret):
    port, folder = running
    before = queued(folder)
    assert send(port, {}, secret=secret) == 404
    assert queued(folder) == before


def test_secret_is_not_logged(running):
    port, folder = running
    send(port, {})
    send(port, {}, method="GET")
    assert SECRET not in (folder / "log").read_text()


def test_full_queue_is_refused_and_drains(tmp_path, fake_airflow):
    source = (ROOT / "docs/receiver.py").read_text()
    assert "1_000_000" in source
    with receiver(tmp_path, source.replace("1_000_000", "3")) as (port, _):
        assert [send(port, each) for each in callbacks(4)] == [200, 200, 200, 503]
        with poster(tmp_path, fake_airflow.url):
            wait_for(lambda: not queued(tmp_path), "an empty queue")
            assert send(port, {}) == 200


def test_many_callbacks_become_few_events(tmp_path, fake_airflow):
    with receiver(tmp_path) as (port, _):
        assert {send(port, each) for each in callbacks(250)} == {200}
        with poster(tmp_path, fake_airflow.url):
            wait_for(lambda: len(fake_airflow.callbacks()) == 250, "all callbacks")
    assert fake_airflow.callbacks() == callbacks(250)
    assert [len(event["extra"]["callbacks"]) for event in fake_airflow.events] == [100, 100, 50]
    assert {event["asset_id"] for event in fake_airflow.events} == {7}
    assert fake_airflow.tokens == 1


def test_what_was_answered_survives_kills_of_both(tmp_path, fake_airflow):
    answered = []
    for begin in (0, 40, 80):
        with receiver(tmp_path) as (port, process), poster(tmp_path, fake_airflow.url) as posting:
            for each in callbacks(40, begin):
                if send(port, each) == 200:
                    answered.append(each)
                if each["number"] % 40 == 20:
                    posting.send_signal(signal.SIGKILL)
            process.send_signal(signal.SIGKILL)
            process.wait()
    with poster(tmp_path, fake_airflow.url):
        wait_for(lambda: not queued(tmp_path), "an empty queue")
    assert len(answered) == 120
    posted = fake_airflow.callbacks()
    assert [each for each in answered if each not in posted] == []


def test_airflow_that_is_down_is_told_and_waited_for(tmp_path, fake_airflow):
    states = iter([503, 500])
    fake_airflow.status = lambda body: next(states, 201)
    with receiver(tmp_path) as (port, _), poster(tmp_path, fake_airflow.url):
        send(port, {"number": 1})
        wait_for(lambda: not queued(tmp_path), "an empty queue")
    assert fake_airflow.callbacks() == [{"number": 1}]
    assert "Callbacks wait for Airflow, next try in 1 s: 503 Server Error" in (tmp_path / "log").read_text()
    assert "next try in 2 s: 500 Server Error" in (tmp_path / "log").read_text()


def test_token_that_expired_is_renewed(tmp_path, fake_airflow):
    with receiver(tmp_path) as (port, _), poster(tmp_path, fake_airflow.url):
        send(port, {"number": 1})
        wait_for(fake_airflow.callbacks, "the first")
        fake_airflow.tokens += 1  # the one that the poster has is not the last any more
        send(port, {"number": 2})
        wait_for(lambda: len(fake_airflow.callbacks()) == 2, "the second")
    assert "401 Client Error" in (tmp_path / "log").read_text()
    assert "token-" not in (tmp_path / "log").read_text()


def test_asset_that_is_not_there_is_named_and_waited_for(tmp_path, fake_airflow):
    assets, fake_airflow.assets = fake_airflow.assets, fake_airflow.assets[:1]
    with receiver(tmp_path) as (port, _), poster(tmp_path, fake_airflow.url):
        send(port, {"number": 1})
        wait_for(lambda: f"Airflow has no asset '{ASSET}'" in (tmp_path / "log").read_text(), "the line")
        assert fake_airflow.events == []
        fake_airflow.assets = assets
        wait_for(fake_airflow.callbacks, "the callback")


def test_answer_that_is_not_airflows_loses_nothing(tmp_path, fake_airflow):
    fake_airflow.is_airflow = False
    with receiver(tmp_path) as (port, _), poster(tmp_path, fake_airflow.url):
        send(port, {"number": 1})
        wait_for(lambda: "next try in 1 s: 'asset_id'" in (tmp_path / "log").read_text(), "the line")
        assert queued(tmp_path) == ['{"number": 1}']
        fake_airflow.is_airflow = True
        wait_for(lambda: not queued(tmp_path), "an empty queue")


def test_login_that_is_refused_refuses_no_callback(tmp_path, fake_airflow):
    states = iter([422, 413])
    fake_airflow.login = lambda: next(states, 201)
    with receiver(tmp_path) as (port, _), poster(tmp_path, fake_airflow.url):
        send(port, {"number": 1})
        wait_for(fake_airflow.callbacks, "the callback")
    assert queued(tmp_path, "refused") == []


def test_poster_killed_as_it_puts_a_callback_aside_goes_on(tmp_path, fake_airflow):
    fake_airflow.status = lambda body: 422 if '"poison"' in json.dumps(body) else 201
    with poster(tmp_path, fake_airflow.url):  # also without a receiver before it
        wait_for((tmp_path / "callbacks.sqlite").exists, "the queue")
        with closing(
            sqlite3.connect(tmp_path / "callbacks.sqlite", isolation_level=None, timeout=60)
        ) as queue:
            wait_for(lambda: len(queue.execute("select 1 from sqlite_master").fetchall()) > 1, "the tables")
            queue.execute("insert into refused values (1, ?)", ['{"number": "poison"}'])
            queue.execute("insert into waiting (callback) values (?)", ['{"number": "poison"}'])
            queue.execute("insert into waiting (callback) values (?)", ['{"number": 2}'])
        wait_for(fake_airflow.callbacks, "the other")
    assert queued(tmp_path, "refused") == ['{"number": "poison"}']


def test_callback_that_airflow_refuses_holds_up_no_other(tmp_path, fake_airflow):
    fake_airflow.status = lambda body: 422 if '"poison"' in json.dumps(body) else 201
    good = callbacks(3)
    with receiver(tmp_path) as (port, _):
        for each in (good[0], {"number": "poison"}, *good[1:]):
            send(port, each)
        with poster(tmp_path, fake_airflow.url):
            wait_for(lambda: not queued(tmp_path), "an empty queue")
    assert fake_airflow.callbacks() == good
    assert queued(tmp_path, "refused") == ['{"number": "poison"}']
    assert "Airflow refuses callback 2, now in the table refused: 422" in (tmp_path / "log").read_text()
