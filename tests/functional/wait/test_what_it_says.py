"""What a wait tells whoever reads its log: which media files are missing, how often it checks, until when."""

from __future__ import annotations

import asyncio
import logging
import re
import traceback
from datetime import datetime, timedelta, timezone

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, AirflowSkipException
from airflow_processes import AIRFLOW_2
from waiting import MODES, TIMED_OUT, TRIGGER_FAILED, defer, first_event, make_sensor, wait

from airflow_provider_nxcloud.exceptions import NxCloudCredentialsError
from airflow_provider_nxcloud.triggers import nxcloud as triggers

NEVER = 1_000_000
IDS = ["1000000001", "1000000002", "1000000003"]


@pytest.fixture
def said(caplog, capsys):
    """Airflow 2 logs a task's lines and shows them too, Airflow 3 writes a trigger's to standard output."""
    caplog.set_level(logging.INFO)
    return lambda: caplog.text + ("" if AIRFLOW_2 else capsys.readouterr().out)


def never(sandbox, *media_ids):
    for media_id in media_ids:
        sandbox.media[media_id].available_after_calls = NEVER


@pytest.mark.parametrize("soft_fail", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_timeout_names_what_is_missing_and_what_to_do(sandbox, monkeypatch, mode, soft_fail, said):
    never(sandbox, IDS[2], IDS[0])
    expected = AirflowSkipException if soft_fail else AirflowSensorTimeout
    with pytest.raises(expected) as caught:
        wait(monkeypatch, mode, media_ids=IDS, soft_fail=soft_fail, timeout=0.7)
    assert str(caught.value) == (
        "Sensor has timed out after 1 seconds; 1 of 3 media files available; missing: "
        "'1000000001', '1000000003'"
    )
    lines = said()
    for line in ("Cause: Sensor has timed out after 1 seconds", "Hint: check these IDs (wrong or older"):
        assert lines.count(line) == (0 if soft_fail else 1)


def test_timeout_of_a_deferral_says_so_although_nothing_can_be_checked(sandbox, monkeypatch, said):
    monkeypatch.delenv("AIRFLOW_CONN_NXCLOUD_DEFAULT")
    with pytest.raises(AirflowSensorTimeout, match=r"after 20 seconds.*missing: '1000000001', "):
        make_sensor(media_ids=IDS).resume_execution(TRIGGER_FAILED, {"error": TIMED_OUT}, {})
    assert "Cannot check what is missing: connection 'nxcloud_default' is not defined" in said()


def test_media_that_came_just_too_late_are_not_called_missing(sandbox):
    with pytest.raises(AirflowSensorTimeout, match=r"after 20 seconds; 3 of 3 media files available$"):
        make_sensor(media_ids=IDS).resume_execution(TRIGGER_FAILED, {"error": TIMED_OUT}, {})


def test_deferring_sensor_says_what_is_missing_how_often_it_checks_and_until_when(sandbox, said):
    ids = [sandbox.add_media(b"photo", "image/jpeg", media_id=f"photo-{n:02}").media_id for n in range(25)]
    never(sandbox, *ids)
    now = datetime.now(timezone.utc)
    defer(media_ids=[*IDS, *ids], poke_interval=90, timeout=timedelta(hours=2))
    text = said()
    names = ", ".join(map(repr, ids[:20]))
    assert f"3 of 28 media files available; missing: {names} and 5 more" in text
    assert "photo-20" not in text
    until = re.search("checking every 1 min 30 s, until (.*) UTC", text)
    left = datetime.strptime(until[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc) - now
    assert timedelta(hours=1, minutes=59) < left < timedelta(hours=2, minutes=1)


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_each_check_on_a_worker_names_what_is_missing(sandbox, monkeypatch, mode, said):
    sandbox.media[IDS[1]].available_after_calls = 2
    wait(monkeypatch, mode, media_ids=IDS)
    text = said()
    assert text.count("2 of 3 media files available; missing: '1000000002'") == 2
    assert "3 of 3 media files available" in text


@pytest.mark.parametrize(("interval", "lines"), [(0.0, 4), (3600.0, 1)])
def test_trigger_speaks_of_changes_and_at_least_once_an_interval(sandbox, monkeypatch, said, interval, lines):
    """Thousands of triggers start at once, and a triggerer's log is a pipe: nothing is said at the start."""
    assert triggers.LOG_INTERVAL == 3600
    monkeypatch.setattr(triggers, "LOG_INTERVAL", interval)
    sandbox.media[IDS[1]].available_after_calls = sandbox.media[IDS[2]].available_after_calls = 4
    trigger = triggers.NxCloudMediaTrigger(IDS, "nxcloud_default", poke_interval=0.01)
    assert asyncio.run(first_event(trigger)).payload["status"] == "success"
    text = said()
    assert text.count("2 of 3 media files missing: '1000000002', '1000000003'") == lines
    assert "3 of 3 media files missing" not in text


@pytest.mark.parametrize("mode", ["poke", "deferrable"])
def test_expected_error_shows_where_execute_is_and_nothing_else(sandbox, connect, monkeypatch, mode):
    connect(password="wrong-secret")
    with pytest.raises(NxCloudCredentialsError) as caught:
        wait(monkeypatch, mode, media_ids=IDS)
    shown = "".join(traceback.format_exception(caught.value))
    assert shown.count("airflow_provider_nxcloud/") == 2
    assert "During handling" not in shown
    assert "direct cause" not in shown
