"""
Wait until media files are available, without holding a worker meanwhile, then fetch them.

The wait needs a running triggerer, as every
[deferrable task](https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/deferring.html)
does.
"""

# [START example_nxcloud_wait_for_media]
from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Asset, Param

from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator
from airflow_provider_nxcloud.sensors.nxcloud import NxCloudMediaSensor

DESTINATION = os.environ.get("NXCLOUD_DESTINATION", "file:///tmp/nxcloud-media")

with DAG(
    dag_id="example_nxcloud_wait_for_media",
    description="Wait until media files are available, then fetch them",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["example", "nxcloud"],
    params={
        "media_ids": Param(
            ["1000000001", "1000000004"],
            type="array",
            items={"type": "string"},
            title="Media IDs",
            description="As NXCloud's callbacks name them, one a line",
        ),
        "destination": Param(
            DESTINATION,
            type="string",
            title="Destination",
            description="A folder, or a bucket such as s3://aws_default@my-bucket/whatsapp, gs://... or abfs://...",
        ),
    },
):
    wait_for_media = NxCloudMediaSensor(
        task_id="wait_for_media",
        media_ids="{{ params.media_ids }}",
        deferrable=True,
        poke_interval=timedelta(seconds=10),
        timeout=timedelta(hours=1),
    )
    # The sensor's result is the list of media IDs, which also makes the operator wait for it.
    NxCloudGetMediaOperator(
        task_id="get_media",
        media_ids=wait_for_media.output,
        destination="{{ params.destination }}",
        outlets=[Asset("whatsapp_media")],
    )
# [END example_nxcloud_wait_for_media]
