"""As many deferred sensors as asked for, one media file each."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_nxcloud.sensors.nxcloud import NxCloudMediaSensor

with DAG(
    dag_id="scale_out_sensors",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_tasks=1000,
    params={"media_ids": Param([], type="array")},
):

    @task
    def media_ids(params=None):
        """Give each sensor one media file."""
        return [[media_id] for media_id in params["media_ids"]]

    NxCloudMediaSensor.partial(
        task_id="wait",
        deferrable=True,
        poke_interval=timedelta(seconds=10),
        timeout=timedelta(hours=1),
    ).expand(media_ids=media_ids())
