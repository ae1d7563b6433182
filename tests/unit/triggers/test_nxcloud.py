"""The trigger: it only asks, never blocks its event loop, and ends with one event."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest
from airflow.providers.common.compat.sdk import Connection
from waiting import first_event, rebuilt

from airflow_provider_nxcloud.sandbox import NxCloudSandbox
from airflow_provider_nxcloud.triggers.nxcloud import NxCloudMediaTrigger

NEVER = 1_000_000
IDS = ["1000000001", "1000000002", "1000000003"]
CONN = "nxcloud_default"


def make(media_ids=IDS, conn_id=CONN, *, poke_interval=0.05, **arguments) -> NxCloudMediaTrigger:
    return NxCloudMediaTrigger(media_ids, conn_id, poke_interval=poke_interval, **arguments)


def run(trigger: NxCloudMediaTrigger, timeout: float = 20) -> dict:
    return asyncio.run(first_event(trigger, timeout)).payload


def test_media_that_are_there_give_one_event(sandbox):
    async def all_events():
        return [event.payload async for event in make().run()]

    assert asyncio.run(all_events()) == [{"status": "success", "media_ids": IDS}]


def test_only_what_is_missing_is_asked_for_again(sandbox):
    sandbox.media[IDS[1]].available_after_calls = 1
    sandbox.media[IDS[2]].available_after_calls = 3
    assert run(make()) == {"status": "success", "media_ids": IDS}
    assert [len(sandbox.calls(media_id)) for media_id in IDS] == [1, 2, 4]


def test_api_that_is_down_is_waited_for(sandbox, caplog):
    for fault in ("api.reset", "api.status", "api.html", "api.empty"):
        sandbox.inject(fault)
    assert run(make(IDS[:1]))["status"] == "success"
    assert len(sandbox.calls()) == 5
    assert caplog.text.count("Cannot check whether media files are available") == 4


def test_api_that_is_down_is_told_once_for_all_triggers_of_a_loop(sandbox, caplog):
    """Each trigger has a merchant number, and with it a client, of its own."""
    caplog.set_level(logging.INFO)
    sandbox.inject("api.status", status=503, times=None)

    async def wait_together() -> None:
        triggers = [make([f"photo-{phone}"], business_phone=str(phone)) for phone in range(10_000, 10_200)]
        waits = [asyncio.create_task(first_event(trigger)) for trigger in triggers]
        while len(sandbox.requests) < 1_000:
            await asyncio.sleep(0.02)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    asyncio.run(wait_together())
    lines = [each.getMessage() for each in caplog.records if each.name.startswith("airflow_provider_nxcloud")]
    assert sum("Cannot check whether media files are available" in line for line in lines) == 1
    assert len(lines) <= 20


def test_looks_are_an_interval_apart_with_jitter(sandbox, monkeypatch):
    sandbox.media[IDS[0]].available_after_calls = 30
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr("airflow_provider_nxcloud.triggers.nxcloud.asyncio.sleep", sleep)
    assert run(make(IDS[:1], poke_interval=60))["status"] == "success"
    assert len(waits) == 30
    assert all(54 <= seconds <= 66 for seconds in waits)
    assert len(set(waits)) > 20, "many triggers would ask at the same moment"


@pytest.mark.parametrize(
    ("code", "error"),
    [(1003, "NxCloudCredentialsError"), (1005, "NxCloudCredentialsError"), (9006, "NxCloudPhoneNumberError")],
)
def test_what_never_heals_ends_the_wait_at_once(sandbox, code, error):
    sandbox.inject("api.code", code=code, times=None)
    event = run(make(IDS[:1], poke_interval=3600))
    assert (event["status"], event["error"]) == ("error", error)
    assert str(code) in event["message"]
    assert CONN in event["message"]
    assert len(sandbox.calls()) == 1


def test_unknown_connection_is_an_event_that_names_it(sandbox):
    event = run(make(conn_id="no_such_connection"))
    assert (event["status"], event["error"]) == ("error", "NxCloudConnectionNotFoundError")
    assert "no_such_connection" in event["message"]
    assert sandbox.calls() == []


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"password": ""}, "password"), ({"host": "ftp://x"}, "host"), ({"extra": {"timeout": 0}}, "timeout")],
)
def test_connection_that_cannot_be_used_is_an_event_that_names_the_field(sandbox, connect, fields, named):
    connect(**fields)
    event = run(make())
    assert (event["status"], event["error"]) == ("error", "NxCloudInputError")
    assert named in event["message"]
    assert CONN in event["message"]


def test_missing_merchant_number_is_an_event(sandbox, connect):
    connect(extra={"business_phone": None})
    event = run(make())
    assert (event["status"], event["error"]) == ("error", "NxCloudInputError")
    assert "business_phone" in event["message"]


def test_own_merchant_number_beats_the_connection(sandbox, connect):
    connect(extra={"business_phone": "99999"})
    assert run(make(business_phone="+86 13800138000"))["status"] == "success"


def test_json_round_trip_gives_an_equal_trigger():
    trigger = NxCloudMediaTrigger(iter(IDS), "conn", "8613800138000", 12.5)
    again = rebuilt(trigger)
    assert again.serialize() == trigger.serialize()
    assert trigger.serialize() == (
        "airflow_provider_nxcloud.triggers.nxcloud.NxCloudMediaTrigger",
        {
            "media_ids": IDS,
            "nxcloud_conn_id": "conn",
            "business_phone": "8613800138000",
            "poke_interval": 12.5,
        },
    )


def test_two_triggerers_with_one_trigger_only_read(sandbox):
    stored = make()
    before = dict(sandbox.media)
    sandbox.media[IDS[2]].available_after_calls = 3

    async def both():
        return await asyncio.gather(*(first_event(rebuilt(stored)) for _ in range(2)))

    assert [event.payload for event in asyncio.run(both())] == [{"status": "success", "media_ids": IDS}] * 2
    assert {request.path for request in sandbox.requests} == {"/api/wa/getMedia"}
    assert sandbox.media == before


def test_no_secret_leaves_the_trigger(monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    secret = "canary-s3cret"
    with NxCloudSandbox(access_secret=secret) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_NXCLOUD_DEFAULT", sandbox.connection_json)
        trigger = make()
        good = run(trigger)
        sandbox.inject("api.code", code=1003)
        bad = run(make(IDS[:1]))
        signatures = [call.headers["sign"] for call in sandbox.calls()]
    shown = json.dumps([good, bad, trigger.serialize()]) + repr(trigger) + repr(vars(trigger)) + caplog.text
    assert len(signatures) == 4
    assert not [text for text in [secret, "Signature=", *signatures] if text in shown]


def open_connections(sandbox: NxCloudSandbox) -> int:
    port = int(sandbox.base_url.rpartition(":")[2])
    connections = psutil.Process().net_connections(kind="tcp")
    return sum(c.status == psutil.CONN_ESTABLISHED and c.raddr[1:] == (port,) for c in connections)


def eventually(condition, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def add_photos(sandbox: NxCloudSandbox, count: int) -> list[str]:
    return [sandbox.add_media(b"photo", "image/jpeg", media_id=f"photo-{n}").media_id for n in range(count)]


def test_waits_for_the_same_media_share_their_calls(sandbox):
    sandbox.media[IDS[1]].available_after_calls = 1

    async def crowd():
        return await asyncio.gather(*(first_event(make(poke_interval=0.5)) for _ in range(100)))

    assert {event.payload["status"] for event in asyncio.run(crowd())} == {"success"}
    assert [len(sandbox.calls(media_id)) for media_id in IDS] == [1, 2, 1]


def test_wait_that_begins_later_asks_no_more_often_than_one_alone(sandbox):
    sandbox.media[IDS[0]].available_after_calls = 4

    async def one_after_the_other():
        first = asyncio.ensure_future(first_event(make(IDS[:1], poke_interval=0.4)))
        await asyncio.sleep(0.2)
        return await asyncio.gather(first, first_event(make(IDS[:1], poke_interval=0.4)))

    assert {event.payload["status"] for event in asyncio.run(one_after_the_other())} == {"success"}
    asked = [call.at for call in sandbox.calls()]
    assert len(asked) == 5
    assert all(later - earlier > 0.35 for earlier, later in itertools.pairwise(asked))


@pytest.mark.parametrize(
    ("other", "outcome"),
    [({"business_phone": "8613800138001"}, "error"), ({"conn_id": "other"}, "error"), ({}, "success")],
)
def test_only_equal_connections_share(sandbox, monkeypatch, other, outcome):
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({**sandbox.connection, "password": "wrong"}))

    async def both():
        return await asyncio.gather(first_event(make()), first_event(make(**other)))

    good, event = asyncio.run(both())
    assert (good.payload["status"], event.payload["status"]) == ("success", outcome)


def test_changed_connection_holds_for_the_next_trigger(sandbox, connect):
    sandbox.media[IDS[0]].available_after_calls = NEVER

    async def change_midway():
        waiting = asyncio.ensure_future(first_event(make(IDS[:1])))
        await asyncio.to_thread(eventually, lambda: len(sandbox.calls()) > 2)
        connect(password="wrong")
        event = await first_event(make(IDS[:1]))
        assert not waiting.done()
        waiting.cancel()
        return event

    assert asyncio.run(change_midway()).payload["error"] == "NxCloudCredentialsError"


def test_connection_is_looked_up_once_for_all_that_start_together(sandbox, monkeypatch):
    lookups = []

    async def get_connection(conn_id):
        lookups.append(conn_id)
        await asyncio.sleep(0.2)
        fields = sandbox.connection
        return Connection(conn_id=conn_id, **{**fields, "extra": json.dumps(fields["extra"])})

    monkeypatch.setattr("airflow_provider_nxcloud.api.polling.get_async_connection", get_connection)

    async def crowd():
        first = asyncio.ensure_future(first_event(make()))
        rest = [asyncio.ensure_future(first_event(make())) for _ in range(50)]
        await asyncio.sleep(0.1)
        first.cancel()
        return await asyncio.gather(*rest)

    assert {event.payload["status"] for event in asyncio.run(crowd())} == {"success"}
    assert lookups == [CONN]


def test_cancelled_trigger_takes_no_answer_from_another(sandbox):
    sandbox.api_latency = 0.3

    async def cancel_one():
        cancelled, other = (asyncio.ensure_future(first_event(make())) for _ in range(2))
        await asyncio.to_thread(eventually, lambda: len(sandbox.calls()) == 3)
        cancelled.cancel()
        return await other

    assert asyncio.run(cancel_one()).payload["status"] == "success"


def test_cancelled_triggers_ask_nothing_more(sandbox):
    ids = add_photos(sandbox, 200)
    sandbox.api_latency = 0.2

    async def cancel_all():
        crowd = [asyncio.ensure_future(first_event(make(ids[n : n + 10]))) for n in range(0, 200, 10)]
        await asyncio.to_thread(eventually, lambda: len(sandbox.calls()) >= 16)
        for each in crowd:
            each.cancel()
        await asyncio.wait(crowd)

    asyncio.run(cancel_all())
    assert len(sandbox.calls()) <= 32


def test_trigger_with_many_media_leaves_others_their_turn(sandbox):
    ids = add_photos(sandbox, 500)
    sandbox.api_latency = 0.02

    async def both():
        many = asyncio.ensure_future(first_event(make(ids)))
        await asyncio.to_thread(eventually, lambda: len(sandbox.calls()) >= 16)
        await first_event(make(IDS[:1]))
        return len(sandbox.calls()), await many

    asked, event = asyncio.run(both())
    assert event.payload["status"] == "success"
    assert asked < 100


def test_credentials_that_are_wrong_stop_the_look_at_many_media(sandbox):
    ids = add_photos(sandbox, 500)
    sandbox.inject("api.code", code=1003, times=None)

    assert run(make(ids))["error"] == "NxCloudCredentialsError"
    assert len(sandbox.calls()) <= 2 * 16


def test_cancelled_trigger_closes_its_connections(sandbox):
    sandbox.media[IDS[0]].available_after_calls = NEVER

    async def cancel_midway():
        task = asyncio.ensure_future(first_event(make(poke_interval=3600)))
        while len(sandbox.calls()) < 3:
            await asyncio.sleep(0.01)
        assert await asyncio.to_thread(eventually, lambda: open_connections(sandbox) > 0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel_midway())
    assert eventually(lambda: open_connections(sandbox) == 0)


def test_many_triggers_share_a_bounded_pool_and_leave_nothing_open(sandbox):
    sandbox.api_latency = 0.1

    ids = add_photos(sandbox, 180)

    async def crowd():
        return await asyncio.gather(*(first_event(make(ids[n : n + 3]), 120) for n in range(0, 180, 3)))

    assert {event.payload["status"] for event in asyncio.run(crowd())} == {"success"}
    arrivals = sorted(call.at for call in sandbox.calls())
    assert len(arrivals) == 180
    # Whoever asks waits 0.1 s for the answer, so 17 questions within that time come from 17 at once.
    assert all(later - earlier > 0.095 for earlier, later in zip(arrivals, arrivals[16:], strict=False))
    assert eventually(lambda: open_connections(sandbox) == 0)


def test_event_loop_goes_on_while_calls_wait(sandbox):
    """No call is answered before the event loop has run on."""
    ticked, stuck = threading.Event(), []

    def wait_for_a_tick(request):
        ticked.clear()
        if not ticked.wait(10):
            stuck.append(request)

    async def tick():
        while True:
            ticked.set()
            await asyncio.sleep(0.001)

    ids = add_photos(sandbox, 30)

    async def crowd():
        ticker = asyncio.ensure_future(tick())
        events = await asyncio.gather(*(first_event(make(ids[n : n + 3]), 60) for n in range(0, 30, 3)))
        ticker.cancel()
        return events

    sandbox.observer = wait_for_a_tick
    assert {event.payload["status"] for event in asyncio.run(crowd())} == {"success"}
    assert len(sandbox.calls()) == 30
    assert stuck == []


def test_slow_secrets_backend_does_not_block_the_event_loop(sandbox, tmp_path):
    """A connection from a vault that answers only once the event loop has run on; in a process of its own."""
    (tmp_path / "slow_backend.py").write_text(
        textwrap.dedent(
            """
            import os, threading
            from airflow.secrets import BaseSecretsBackend

            ticked, goes_on = threading.Event(), []

            class SlowBackend(BaseSecretsBackend):
                def get_conn_value(self, conn_id, **_):
                    if conn_id != "in_the_vault":
                        return None
                    ticked.clear()
                    goes_on.append(ticked.wait(10))
                    return os.environ["VAULT"]
            """
        )
    )
    script = textwrap.dedent(
        """
        import asyncio
        from airflow_provider_nxcloud.triggers.nxcloud import NxCloudMediaTrigger
        from slow_backend import goes_on, ticked

        async def main():
            async def tick():
                while True:
                    ticked.set()
                    await asyncio.sleep(0.001)

            ticker = asyncio.ensure_future(tick())
            async for event in NxCloudMediaTrigger(["1000000001"], "in_the_vault").run():
                ticker.cancel()
                print("RESULT", event.payload["status"], goes_on)

        asyncio.run(main())
        """
    )
    environment = {
        **os.environ,
        "AIRFLOW__SECRETS__BACKEND": "slow_backend.SlowBackend",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
        "VAULT": sandbox.connection_json,
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120
    )
    result = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert result, done.stdout + done.stderr
    assert set(result[0].removeprefix("RESULT success ").strip("[]").split(", ")) == {"True"}
