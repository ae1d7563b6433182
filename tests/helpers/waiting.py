"""
A sensor's whole wait, in each mode, as Airflow runs it.

Between two steps only what Airflow stores survives: every step gets a new sensor, a trigger goes through JSON.
"""

from __future__ import annotations

import asyncio
import json
import pkgutil
import time
import traceback
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import airflow
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_nxcloud.sensors.nxcloud import NxCloudMediaSensor

try:
    from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason

    TRIGGER_FAILED = TRIGGER_FAIL_REPR
    TIMED_OUT: str = TriggerFailureReason.TRIGGER_TIMEOUT
    CRASHED: str = TriggerFailureReason.TRIGGER_FAILURE
except ImportError:  # Airflow 2 has no names for what its scheduler and triggerer write
    TRIGGER_FAILED, TIMED_OUT, CRASHED = "__fail__", "Trigger/execution timeout", "Trigger failure"

try:
    from airflow.sdk.exceptions import AirflowRescheduleException, TaskDeferralError
except ImportError:  # Airflow 2.11 and 3.0
    from airflow.exceptions import AirflowRescheduleException, TaskDeferralError

__all__ = [
    "CRASHED",
    "MODES",
    "TIMED_OUT",
    "TRIGGER_FAILED",
    "TaskDeferralError",
    "defer",
    "make_sensor",
    "wait",
]

MODES = {
    "poke": {"mode": "poke", "deferrable": False},
    "reschedule": {"mode": "reschedule", "deferrable": False},
    "deferrable": {"deferrable": True},
}


def make_sensor(**arguments: Any) -> NxCloudMediaSensor:
    return NxCloudMediaSensor(
        **{"task_id": "wait", "poke_interval": 0.05, "timeout": 20, "deferrable": False, **arguments}
    )


def wait(monkeypatch, mode: str, **arguments: Any) -> Any:
    """Return what the task returns, or raise what ends it."""
    run = {"poke": _poke, "reschedule": _reschedule, "deferrable": _defer}[mode]
    return run({**MODES[mode], **arguments}, monkeypatch)


def rebuilt(trigger: BaseTrigger) -> BaseTrigger:
    """Return the trigger as a triggerer builds it from the database."""
    path, kwargs = json.loads(json.dumps(trigger.serialize()))
    return pkgutil.resolve_name(path)(**kwargs)


async def first_event(trigger: BaseTrigger, timeout: float = 20) -> TriggerEvent:
    events = trigger.run()
    try:
        return await asyncio.wait_for(events.__anext__(), timeout)
    finally:
        await events.aclose()


def defer(**arguments: Any) -> TaskDeferred:
    """Return how a sensor defers after its first look."""
    try:
        make_sensor(deferrable=True, **arguments).execute({})
    except TaskDeferred as deferred:
        return deferred
    raise AssertionError("the sensor did not defer")


def _poke(arguments: dict[str, Any], _: Any) -> Any:
    return make_sensor(**arguments).execute({})


def _reschedule(arguments: dict[str, Any], monkeypatch) -> Any:
    started = datetime.now(timezone.utc) - arguments.pop("waited", timedelta())  # in tries before this one
    task_instance = SimpleNamespace(
        get_first_reschedule_date=lambda context: started,
        **dict.fromkeys(("max_tries", "dag_id", "task_id", "run_id", "map_index")),
    )
    if airflow.__version__.startswith("2."):  # which asks its database, not the task instance
        monkeypatch.setattr("airflow.sensors.base._orig_start_date", lambda **_: started)
    while True:
        try:
            return make_sensor(**arguments).execute({"ti": task_instance})
        except AirflowRescheduleException as pause:
            time.sleep(max(0.0, (pause.reschedule_date - datetime.now(timezone.utc)).total_seconds()))


def _defer(arguments: dict[str, Any], _: Any) -> Any:
    try:
        return make_sensor(**arguments).execute({})
    except TaskDeferred as pause:
        deferred = pause
    method, kwargs = deferred.method_name, dict(deferred.kwargs or {})
    try:
        event = asyncio.run(first_event(rebuilt(deferred.trigger), deferred.timeout.total_seconds()))
        kwargs["event"] = json.loads(json.dumps(event.payload))
    except asyncio.TimeoutError:
        method, kwargs = TRIGGER_FAILED, {"error": TIMED_OUT}
    except Exception as crash:  # noqa: BLE001, a triggerer survives whatever a trigger raises
        method, kwargs = TRIGGER_FAILED, {"error": CRASHED, "traceback": traceback.format_exception(crash)}
    return make_sensor(**arguments).resume_execution(method, kwargs, {})
