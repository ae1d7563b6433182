"""
Fetch the media of a webhook callback, verified by the SHA-256 it names, into a folder for each day.

Whatever receives NXCloud's callbacks triggers this DAG with the callback as its configuration:

    airflow dags trigger example_nxcloud_webhook --conf "$CALLBACK"

NXCloud may deliver a callback again; its media are stored once.
"""

# [START example_nxcloud_webhook]
from __future__ import annotations

import os
from collections import defaultdict
from datetime import datetime, timezone

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator
from airflow_provider_nxcloud.webhook import media_from_webhook

DESTINATION = os.environ.get("NXCLOUD_DESTINATION", "file:///tmp/nxcloud-media")

with DAG(
    dag_id="example_nxcloud_webhook",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["example", "nxcloud"],
):

    @task
    def media_by_day(dag_run=None):
        """List the callback's media by the day (UTC) their message was sent on."""
        days = defaultdict(list)
        for media in media_from_webhook(dag_run.conf):
            sent = media["timestamp"]
            day = datetime.fromtimestamp(sent, timezone.utc).strftime("%Y-%m-%d") if sent else "undated"
            days[day].append(media)
        return [{"media_ids": media, "destination": f"{DESTINATION}/{day}"} for day, media in days.items()]

    # One task a day; a callback without media gives none, and the task is skipped.
    NxCloudGetMediaOperator.partial(task_id="get_media").expand_kwargs(media_by_day())
# [END example_nxcloud_webhook]
