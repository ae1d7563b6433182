"""Deferred sensors that do not end well; a test runs them with a real triggerer."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_nxcloud.sensors.nxcloud import NxCloudMediaSensor

with DAG("nxcloud_waits", schedule=None, start_date=datetime(2026, 1, 1), catchup=False):
    for task_id, media_id, arguments in [
        ("times_out", "never", {"timeout": 20}),
        ("times_out_softly", "never", {"timeout": 20, "soft_fail": True}),
        ("is_refused", "refused", {"soft_fail": True}),
    ]:
        NxCloudMediaSensor(
            task_id=task_id,
            media_ids=[media_id],
            deferrable=True,
            # A task that is resumed within seconds may meet a scheduler that has not seen it defer.
            poke_interval=15,
            retries=1,
            retry_delay=timedelta(hours=1),
            **arguments,
        )
