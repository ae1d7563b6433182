"""What differs between Airflow's versions and not every allowed ``common-compat`` evens out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow import __version__ as airflow_version
from airflow.exceptions import AirflowRescheduleException
from airflow.providers.common.compat.sdk import AirflowException, AirflowSensorTimeout, AirflowSkipException

try:
    from airflow.sdk.log import mask_secret
except ImportError:
    try:  # Airflow 3.0
        from airflow.sdk.execution_time.secrets_masker import mask_secret  # type: ignore[no-redef]
    except ImportError:  # Airflow 2.11
        from airflow.utils.log.secrets_masker import (  # type: ignore[import-not-found,no-redef]
            mask_secret,
        )

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseSensorOperator

__all__ = ["deferral_timed_out", "mask_secret", "no_triggerer_runs", "same_sensor_outcome"]

#: How Airflow resumes a task whose trigger failed, and what it says of a timeout (2.11, 3.x).
_TRIGGER_FAILED = "__fail__"
_TIMED_OUT = ("Trigger/execution timeout", "Trigger timeout")


def deferral_timed_out(next_method: str, next_kwargs: Mapping[str, Any] | None) -> bool:
    """Tell a deferral's timeout from a trigger that crashed; Airflow 2 raises the same error for both."""
    return next_method == _TRIGGER_FAILED and (next_kwargs or {}).get("error") in _TIMED_OUT


@contextmanager
def same_sensor_outcome(
    sensor: BaseSensorOperator, timeout_error: Callable[[], AirflowException]
) -> Iterator[None]:
    """
    Let a sensor end alike in every mode and every Airflow, whatever its base class makes of an error.

    A timeout ends with ``timeout_error``'s text. Airflow's ``soft_fail`` skips on errors that end a task for good
    too, and its ``never_fail`` differs between modes and versions. Here the first skips on a timeout only, the
    second on anything else.
    """
    try:
        yield
    except AirflowRescheduleException:
        raise
    except Exception as end:
        error = end.__cause__ if isinstance(end, AirflowSkipException) else end
        if error is None or isinstance(error, AirflowSensorTimeout):
            raise timeout_error() from None
        if sensor.never_fail:
            raise AirflowSkipException("Skipping due to never_fail is set to True.") from error
        if error is end or not isinstance(error, Exception):  # an execution_timeout is none
            raise
        raise error from error.__cause__


def no_triggerer_runs() -> bool:
    """Tell whether it is known that no triggerer runs; on Airflow 3 a task cannot know."""
    if not airflow_version.startswith("2."):
        return False
    from airflow.jobs.job import most_recent_job
    from sqlalchemy.exc import SQLAlchemyError

    try:
        job = most_recent_job("TriggererJob")
    except SQLAlchemyError:  # a unit test may have no tables
        return False
    return job is None or not job.is_alive()
