"""
Fetch the media of a webhook callback, verified by the SHA-256 it names, into a folder for each day.

Whatever receives NXCloud's callbacks triggers this DAG with the callback as its configuration:

    airflow dags trigger example_nxcloud_webhook --conf "$CALLBACK"

The form in the UI has a first callback in it, which announces a photo of the sandbox. NXCloud may deliver a
callback again; its media are stored once.
"""

# [START example_nxcloud_webhook]
from __future__ import annotations

import os
from collections import defaultdict
from datetime import datetime, timezone

from airflow.providers.common.compat.sdk import DAG, AirflowFailException, Asset, Param, task

from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator
from airflow_provider_nxcloud.webhook import media_from_webhook

DESTINATION = os.environ.get("NXCLOUD_DESTINATION", "file:///tmp/nxcloud-media")
#: For the form in the UI; its photo is the sandbox's.
CALLBACK = {
    "messaging_product": "whatsapp",
    "business_phone": "8613800138000",
    "messages": [
        {
            "id": "wamid.first",
            "from": "447700900000",
            "timestamp": "1767225600",
            "type": "image",
            "image": {
                "id": "1000000001",
                "mime_type": "image/jpeg",
                "sha256": "db2f6a7e76a73b829133ada54930f2cd60c7357e17bfc0504ab0db129d32c41c",
            },
        }
    ],
}

with DAG(
    dag_id="example_nxcloud_webhook",
    description="Fetch the media of a webhook callback into a folder for each day",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["example", "nxcloud"],
    params={
        "callback": Param(
            CALLBACK,
            type="object",
            title="Callback",
            description="What NXCloud has sent; a program gives it as the whole configuration instead",
        ),
    },
):

    @task
    def media_by_day(dag_run=None):
        """List the callback's media by the day (UTC) their message was sent on."""
        if not dag_run.conf:
            raise AirflowFailException("trigger with the callback as configuration (its JSON as conf)")
        days = defaultdict(list)
        for media in media_from_webhook(dag_run.conf.get("callback", dag_run.conf)):
            sent = media["timestamp"]
            day = datetime.fromtimestamp(sent, timezone.utc).strftime("%Y-%m-%d") if sent else "undated"
            days[day].append(media)
        return [{"media_ids": media, "destination": f"{DESTINATION}/{day}"} for day, media in days.items()]

    # One task a day; a callback without media gives none, and the task is skipped.
    NxCloudGetMediaOperator.partial(task_id="get_media", outlets=[Asset("whatsapp_media")]).expand_kwargs(
        media_by_day()
    )
# [END example_nxcloud_webhook]
