"""What differs between Airflow's versions and not every allowed ``common-compat`` evens out."""

from __future__ import annotations

from airflow import __version__ as airflow_version

try:
    from airflow.sdk.log import mask_secret
except ImportError:
    try:  # Airflow 3.0
        from airflow.sdk.execution_time.secrets_masker import mask_secret  # type: ignore[no-redef]
    except ImportError:  # Airflow 2.11
        from airflow.utils.log.secrets_masker import (  # type: ignore[import-not-found,no-redef]
            mask_secret,
        )

__all__ = ["mask_secret", "no_triggerer_runs"]


def no_triggerer_runs() -> bool:
    """
    Tell whether it is known that no triggerer runs.

    :return: False on Airflow 3, where a task cannot know.
    """
    if not airflow_version.startswith("2."):
        return False
    from airflow.jobs.job import most_recent_job
    from sqlalchemy.exc import SQLAlchemyError

    try:
        job = most_recent_job("TriggererJob")
    except SQLAlchemyError:  # a unit test may have no tables
        return False
    return job is None or not job.is_alive()
