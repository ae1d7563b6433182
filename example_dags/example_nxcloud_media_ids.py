"""
Fetch the media of a list of IDs into a folder or bucket, with a manifest beside them.

The default IDs are those of the sandbox (`python -m airflow_provider_nxcloud.sandbox`). Give your own when you
trigger the DAG. Run it twice: the second time nothing is downloaded again.
"""

# [START example_nxcloud_media_ids]
from __future__ import annotations

import os
from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, Asset, Param

from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator

DESTINATION = os.environ.get("NXCLOUD_DESTINATION", "file:///tmp/nxcloud-media")
SANDBOX_MEDIA = [f"10000000{number:02}" for number in range(1, 19)]

with DAG(
    dag_id="example_nxcloud_media_ids",
    description="Fetch the media of a list of IDs, with a manifest",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["example", "nxcloud"],
    params={
        "media_ids": Param(
            SANDBOX_MEDIA,
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
    NxCloudGetMediaOperator(
        task_id="get_media",
        media_ids="{{ params.media_ids }}",
        destination="{{ params.destination }}",
        manifest="{{ params.destination }}/manifest.jsonl",
        # DAGs that read the files can be scheduled on it.
        outlets=[Asset("whatsapp_media")],
    )
# [END example_nxcloud_media_ids]
