"""The sensor: one outcome for each situation, whatever the mode."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowNotFoundException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from waiting import CRASHED, MODES, TRIGGER_FAILED, TaskDeferralError, defer, make_sensor, wait

from airflow_provider_nxcloud.api.client import NxCloudClient
from airflow_provider_nxcloud.exceptions import (
    NxCloudCredentialsError,
    NxCloudError,
    NxCloudInputError,
    NxCloudPhoneNumberError,
)
from airflow_provider_nxcloud.sensors.nxcloud import NxCloudMediaSensor

NEVER = 1_000_000
IDS = ["1000000002", "1000000001", "1000000003"]


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["hard", "soft_fail"])
def soft_fail(request):
    return request.param


def after_the_first_call(sandbox, act):
    """Let something happen while the sensor waits: after NXCloud was asked once."""

    def observe(_):
        sandbox.observer = None
        act()

    sandbox.observer = observe


@pytest.mark.parametrize("calls", [0, 3], ids=["there", "later there"])
def test_media_that_come_end_the_wait_with_all_ids(sandbox, monkeypatch, mode, soft_fail, calls):
    sandbox.media[IDS[1]].available_after_calls = calls
    assert wait(monkeypatch, mode, media_ids=IDS, soft_fail=soft_fail) == IDS
    assert len(sandbox.calls(IDS[1])) == calls + 1
    assert sandbox.downloads() == []


def test_media_that_never_come_time_out(sandbox, monkeypatch, mode, soft_fail):
    sandbox.media[IDS[0]].available_after_calls = NEVER
    expected = AirflowSkipException if soft_fail else AirflowSensorTimeout
    started = time.monotonic()
    with pytest.raises(expected, match="Sensor has timed out") as caught:
        wait(monkeypatch, mode, media_ids=IDS, soft_fail=soft_fail, timeout=0.5)
    assert caught.type is expected
    assert time.monotonic() - started >= 0.5


@pytest.mark.parametrize("fault", ["api.reset", "api.html", "api.status"])
def test_api_that_stays_down_times_out(sandbox, monkeypatch, mode, soft_fail, fault, caplog):
    sandbox.inject(fault, times=None)
    expected = AirflowSkipException if soft_fail else AirflowSensorTimeout
    with pytest.raises(expected) as caught:
        wait(monkeypatch, mode, media_ids=IDS, soft_fail=soft_fail, timeout=0.3)
    assert caught.type is expected
    assert "Cannot check whether media files are available" in caplog.text


def test_api_that_comes_back_is_waited_for(sandbox, monkeypatch, mode):
    sandbox.inject("api.reset")
    sandbox.inject("api.status", times=2)
    assert wait(monkeypatch, mode, media_ids=IDS[:1]) == IDS[:1]
    assert len(sandbox.calls()) == 4


def test_nothing_listening_times_out(sandbox, monkeypatch, mode):
    sandbox.stop()
    with pytest.raises(AirflowSensorTimeout):
        wait(monkeypatch, mode, media_ids=IDS, timeout=0.3)


@pytest.mark.parametrize("when", ["at once", "while waiting"])
@pytest.mark.parametrize(
    ("code", "expected"), [(1003, NxCloudCredentialsError), (9002, NxCloudPhoneNumberError)]
)
def test_what_nxcloud_will_never_allow_fails(sandbox, monkeypatch, mode, soft_fail, when, code, expected):
    sandbox.media[IDS[0]].available_after_calls = NEVER

    def refuse():
        sandbox.inject("api.code", code=code, times=None)

    refuse() if when == "at once" else after_the_first_call(sandbox, refuse)
    with pytest.raises(NxCloudError, match=f"^NXCloud {code}, .*'nxcloud_default'") as caught:
        wait(monkeypatch, mode, media_ids=IDS[:1], soft_fail=soft_fail)
    assert caught.type is expected
    assert len(sandbox.calls()) == (1 if when == "at once" else 2)


def test_wrong_secret_fails_with_the_first_call(sandbox, connect, monkeypatch, mode, soft_fail):
    connect(password="wrong-secret")
    with pytest.raises(NxCloudCredentialsError, match="1003"):
        wait(monkeypatch, mode, media_ids=IDS[:1], soft_fail=soft_fail)
    assert len(sandbox.calls()) == 1


@pytest.mark.parametrize("when", ["at once", "while waiting"])
def test_missing_connection_fails_by_name(sandbox, monkeypatch, mode, soft_fail, when):
    sandbox.media[IDS[0]].available_after_calls = NEVER
    monkeypatch.setenv("AIRFLOW_CONN_GONE", sandbox.connection_json)

    def remove():
        os.environ.pop("AIRFLOW_CONN_GONE")

    remove() if when == "at once" else after_the_first_call(sandbox, remove)
    with pytest.raises(AirflowNotFoundException, match="gone"):
        wait(monkeypatch, mode, media_ids=IDS[:1], soft_fail=soft_fail, nxcloud_conn_id="gone")
    assert len(sandbox.calls()) == (0 if when == "at once" else 1)


@pytest.mark.parametrize("when", ["at once", "while waiting"])
def test_wrong_connection_field_fails_by_name(sandbox, connect, monkeypatch, mode, soft_fail, when):
    sandbox.media[IDS[0]].available_after_calls = NEVER

    def spoil():
        connect(extra={"timeout": "soon"})

    spoil() if when == "at once" else after_the_first_call(sandbox, spoil)
    with pytest.raises(NxCloudInputError, match=r"^timeout.*'soon'.*nxcloud_default"):
        wait(monkeypatch, mode, media_ids=IDS[:1], soft_fail=soft_fail)


def test_crash_is_never_skipped(sandbox, monkeypatch, mode, soft_fail):
    looks = iter([False])

    def crash(self, media_id, business_phone=None):
        for there in looks:
            return there
        raise RuntimeError("a bug")

    monkeypatch.setattr(NxCloudClient, "is_available", crash)
    expected = TaskDeferralError if mode == "deferrable" else RuntimeError
    with pytest.raises(expected):
        wait(monkeypatch, mode, media_ids=IDS[:1], soft_fail=soft_fail)


def test_wrong_media_ids_fail_before_any_call(sandbox, monkeypatch, mode, soft_fail):
    with pytest.raises(NxCloudInputError, match=r"media_ids\[1\]"):
        wait(monkeypatch, mode, media_ids=["1000000001", ".."], soft_fail=soft_fail)
    assert sandbox.calls() == []


def test_empty_list_is_there_at_once(sandbox, monkeypatch, mode):
    assert wait(monkeypatch, mode, media_ids=[]) == []
    assert sandbox.calls() == []


def test_mappings_and_repeated_ids_give_each_id_once(sandbox, monkeypatch, mode):
    media_ids = [{"media_id": IDS[0], "sha256": "0" * 64}, IDS[1], IDS[0]]
    sandbox.media[IDS[0]].available_after_calls = 1
    assert wait(monkeypatch, mode, media_ids=media_ids) == media_ids[:2]
    assert {call.media_id for call in sandbox.calls()} == set(IDS[:2])


@pytest.mark.parametrize("mode", ["poke", "deferrable"])
def test_what_was_seen_is_not_asked_for_again(sandbox, monkeypatch, mode):
    sandbox.media[IDS[1]].available_after_calls = 1
    sandbox.media[IDS[2]].available_after_calls = 4
    assert wait(monkeypatch, mode, media_ids=IDS) == IDS
    assert [len(sandbox.calls(media_id)) for media_id in IDS] == [1, 2, 5]


def test_reschedule_keeps_nothing_between_pokes(sandbox, monkeypatch):
    sandbox.media[IDS[1]].available_after_calls = 2
    assert wait(monkeypatch, "reschedule", media_ids=IDS[:2]) == IDS[:2]
    assert [len(sandbox.calls(media_id)) for media_id in IDS[:2]] == [3, 3]


def test_many_ids_are_asked_for_at_once(sandbox):
    sandbox.api_latency = 0.25
    started = time.monotonic()
    assert len(make_sensor(media_ids=list(sandbox.media)).execute({})) == 18
    assert time.monotonic() - started < 18 * 0.25 / 2


def test_deferring_needs_a_first_look_that_finds_something_missing(sandbox):
    sandbox.media[IDS[1]].available_after_calls = NEVER
    deferred = defer(media_ids=IDS, nxcloud_conn_id="nxcloud_default", poke_interval=7, business_phone=None)
    assert [len(sandbox.calls(media_id)) for media_id in IDS] == [1, 1, 1]
    assert deferred.method_name == "execute_complete"
    assert deferred.trigger.serialize() == (
        "airflow_provider_nxcloud.triggers.nxcloud.NxCloudMediaTrigger",
        {
            "media_ids": [IDS[1]],
            "nxcloud_conn_id": "nxcloud_default",
            "business_phone": None,
            "poke_interval": 7,
        },
    )


def test_business_phone_reaches_the_trigger(sandbox):
    sandbox.media[IDS[0]].available_after_calls = NEVER
    deferred = defer(media_ids=IDS[:1], business_phone="+86 138-0013-8000")
    assert deferred.trigger.business_phone == "+86 138-0013-8000"


@pytest.mark.parametrize("timeout", [30, timedelta(seconds=30)])
def test_deferral_gets_the_time_that_is_left(sandbox, timeout):
    sandbox.media[IDS[0]].available_after_calls = NEVER
    sandbox.api_latency = 0.5
    deferred = defer(media_ids=IDS[:1], timeout=timeout)
    assert timedelta(seconds=15) < deferred.timeout <= timedelta(seconds=29.5)


def test_no_time_left_times_out_without_deferring(sandbox, soft_fail):
    sandbox.media[IDS[0]].available_after_calls = NEVER
    sandbox.api_latency = 0.3
    with pytest.raises(AirflowSkipException if soft_fail else AirflowSensorTimeout):
        make_sensor(deferrable=True, media_ids=IDS[:1], timeout=0.1, soft_fail=soft_fail).execute({})


def test_resuming_needs_no_state_and_no_call(sandbox):
    event = {"status": "success", "media_ids": [IDS[1]]}
    assert make_sensor(media_ids=json.dumps(IDS)).execute_complete({}, event) == IDS
    assert sandbox.calls() == []


@pytest.mark.parametrize(
    "event", [None, {}, {"status": "done"}, {"media_ids": IDS}, "success", ["success"], {"status": "error"}]
)
def test_event_of_another_kind_fails(sandbox, event):
    with pytest.raises(NxCloudError):
        make_sensor(media_ids=IDS).execute_complete({}, event)


def test_missing_event_fails():
    with pytest.raises(NxCloudError):
        make_sensor(media_ids=IDS).execute_complete({})


@pytest.mark.parametrize("error", [None, "KeyError", "TEMPORARY", "ConciseTraceback", "AirflowException"])
def test_error_event_never_raises_what_is_no_error_of_ours(error):
    event = {"status": "error", "message": "what happened", "error": error}
    with pytest.raises(NxCloudError, match="what happened") as caught:
        make_sensor(media_ids=IDS).execute_complete({}, event)
    assert caught.type is NxCloudError


def test_crash_keeps_its_name_when_resumed(sandbox, soft_fail):
    failure = {"error": CRASHED, "traceback": ["RuntimeError: a bug"]}
    with pytest.raises(TaskDeferralError):
        make_sensor(media_ids=IDS, soft_fail=soft_fail).resume_execution(TRIGGER_FAILED, failure, {})


def test_deferring_never_starts_in_the_triggerer():
    assert not NxCloudMediaSensor.start_from_trigger
    sensor = make_sensor(media_ids=IDS, deferrable=True)
    assert (sensor.start_from_trigger, sensor.start_trigger_args) == (False, None)


def test_every_template_field_takes_a_template(sandbox, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", sandbox.connection_json)
    values = {"media_ids": IDS, "nxcloud_conn_id": "other", "business_phone": "+8613800138000"}
    assert set(values) == set(NxCloudMediaSensor.template_fields)
    sensor = make_sensor(**{name: f"{{{{ params.{name} }}}}" for name in values})
    sensor.render_template_fields({"params": values})
    assert sensor.execute({}) == IDS
    sent = sandbox.calls(IDS[0])[0]
    assert json.loads(sent.body)["business_phone"] == "8613800138000"


def test_poke_can_be_called_by_itself(sandbox):
    result = make_sensor(media_ids=["1000000001"]).poke({})
    assert (bool(result), result.xcom_value) == (True, ["1000000001"])


def test_gateway_that_answers_404_for_a_while_does_not_end_the_wait(sandbox):
    sandbox.inject("api.status", status=404, body="<html>no such page</html>")
    assert make_sensor(media_ids=["1000000001"]).execute({}) == ["1000000001"]
