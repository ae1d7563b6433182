"""A DAG that an asset starts, and the one that updates it; a test runs both with a real scheduler."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG, Asset, task

from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator

MEDIA = Asset("x-nxcloud://whatsapp/inbox")
USUAL = {"start_date": datetime(2026, 1, 1), "catchup": False}

with DAG("nxcloud_producer", schedule=None, **USUAL):
    NxCloudGetMediaOperator(
        task_id="get_media",
        media_ids=["1000000001", "1000000002"],
        destination=os.environ.get("NXCLOUD_DESTINATION", "media"),
        outlets=[MEDIA],
    )

with DAG("nxcloud_consumer", schedule=[MEDIA], **USUAL):

    @task
    def read(**context):
        # Airflow 2 calls assets datasets.
        events = context.get("triggering_asset_events") or context["triggering_dataset_events"]
        ((event, *_), *_) = events.values()
        Path(os.environ["NXCLOUD_DESTINATION"], "event.json").write_text(json.dumps(event.extra))

    read()
