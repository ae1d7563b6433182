"""Every argument that Airflow gives all sensors, with the outcome of ``poke`` in the other modes."""

from __future__ import annotations

import inspect
import os
from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, BaseSensorOperator
from waiting import MODES, TaskDeferralError, wait

from airflow_provider_nxcloud.api.client import NxCloudClient
from airflow_provider_nxcloud.sandbox import NxCloudSandbox

MEDIA_ID = "1000000001"
ARGUMENTS = {
    "poke_interval": {"poke_interval": timedelta(seconds=0.1)},
    "timeout": {},  # each has one
    "soft_fail": {"soft_fail": True},
    "never_fail": {"never_fail": True},
    "silent_fail": {"silent_fail": True},
    # While deferred they are without effect, which only the time between two looks shows.
    "exponential_backoff": {"exponential_backoff": True},
    "max_wait": {"exponential_backoff": True, "max_wait": 0.1},
}


def after_one_call(sandbox, act):
    def observe(_):
        sandbox.observer = None
        act()

    sandbox.observer = observe


def there(sandbox, monkeypatch):
    pass


def later_there(sandbox, monkeypatch):
    sandbox.media[MEDIA_ID].available_after_calls = 1


def never_there(sandbox, monkeypatch):
    sandbox.media[MEDIA_ID].available_after_calls = 1_000_000


def refused(sandbox, monkeypatch):
    sandbox.inject("api.code", code=1003, times=None)


def refused_later(sandbox, monkeypatch):
    later_there(sandbox, monkeypatch)
    after_one_call(sandbox, lambda: refused(sandbox, monkeypatch))


def without_connection(sandbox, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CONN_NXCLOUD_DEFAULT")


def without_connection_later(sandbox, monkeypatch):
    later_there(sandbox, monkeypatch)
    after_one_call(sandbox, lambda: os.environ.pop("AIRFLOW_CONN_NXCLOUD_DEFAULT"))


def crashing_later(sandbox, monkeypatch):
    looks = iter([False])

    def crash(self, media_id, business_phone=None):
        for there in looks:
            return there
        raise RuntimeError("a bug")

    monkeypatch.setattr(NxCloudClient, "is_available", crash)


SITUATIONS = [
    there,
    later_there,
    never_there,
    refused,
    refused_later,
    without_connection,
    without_connection_later,
    crashing_later,
]


def outcome(mode: str, situation, arguments: dict) -> tuple[object, int | None]:
    """Return the result or the class of the error, and how many calls it took where that is certain."""
    with pytest.MonkeyPatch.context() as monkeypatch, NxCloudSandbox() as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_NXCLOUD_DEFAULT", sandbox.connection_json)
        situation(sandbox, monkeypatch)
        timeout = timedelta(seconds=0.3 if situation is never_there else 20)
        try:
            end = wait(monkeypatch, mode, media_ids=[MEDIA_ID], timeout=timeout, **arguments)
        except Exception as error:  # noqa: BLE001, any of them is an outcome
            # What Airflow says of any crash in the triggerer.
            end = RuntimeError if isinstance(error, TaskDeferralError) else type(error)
        return end, None if situation is never_there else len(sandbox.calls())


def test_all_arguments_are_tried_here():
    signature = inspect.signature(inspect.unwrap(BaseSensorOperator.__init__))
    named = {name for name, each in signature.parameters.items() if each.kind is each.KEYWORD_ONLY}
    assert named == {*ARGUMENTS, "mode"}


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.__name__)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_outcome_and_calls_are_those_of_poke(name, situation):
    if name == "silent_fail" and situation is crashing_later:
        pytest.skip("a trigger that crashed cannot go on")
    outcomes = {mode: outcome(mode, situation, ARGUMENTS[name]) for mode in MODES}
    assert outcomes == dict.fromkeys(MODES, outcomes["poke"])


def test_retry_in_reschedule_mode_looks_anew_but_gets_no_new_timeout(sandbox, monkeypatch):
    later_there(sandbox, monkeypatch)
    retry = {"media_ids": [MEDIA_ID], "timeout": 60, "waited": timedelta(hours=1)}
    with pytest.raises(AirflowSensorTimeout):
        wait(monkeypatch, "reschedule", **retry)
    assert wait(monkeypatch, "reschedule", **retry) == [MEDIA_ID]
    assert len(sandbox.calls()) == 2
