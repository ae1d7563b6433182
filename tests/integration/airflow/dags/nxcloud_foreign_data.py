"""DAGs that feed what a customer sent to operator and sensor, by every way Airflow offers; a test runs them."""

from __future__ import annotations

import json
import os
from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator
from airflow_provider_nxcloud.sensors.nxcloud import NxCloudMediaSensor
from airflow_provider_nxcloud.webhook import media_from_webhook

OUT = os.environ["OUT"]
CALLBACK = json.loads(os.environ.get("CALLBACK", "{}"))
#: What names each file, so that a rendered one would show.
NAMED = {"nxcloud_conn_id": "the_nxcloud", "object_name": "{media_id}-{file_name}"}

for rendering in ("text", "native"):
    with DAG(
        f"foreign_{rendering}",
        start_date=datetime(2026, 1, 1),
        schedule=None,
        catchup=False,
        render_template_as_native_obj=rendering == "native",
        params={"listed": Param(media_from_webhook(CALLBACK) if CALLBACK else [], type="array")},
    ):

        @task
        def media():
            return media_from_webhook(CALLBACK)

        @task
        def media_as_text():
            return json.dumps(media_from_webhook(CALLBACK))

        @task
        def batch(destination, as_text=False):
            listed = media_from_webhook(CALLBACK)
            return [{"media_ids": json.dumps(listed) if as_text else listed, "destination": destination}]

        listed, text = media(), media_as_text()
        waited = NxCloudMediaSensor(
            task_id="wait", media_ids=listed, nxcloud_conn_id="the_nxcloud", poke_interval=1, deferrable=True
        )
        feeds = {
            "literal": media_from_webhook(CALLBACK) if CALLBACK else [],
            "literal_text": json.dumps(media_from_webhook(CALLBACK)) if CALLBACK else "[]",
            "xcom_arg": listed,
            "xcom_text": text,
            "template_json": "{{ ti.xcom_pull(task_ids='media_as_text') }}",
            "template_literal": "{{ ti.xcom_pull(task_ids='media') }}",
            "params": "{{ params.listed }}",
            "sensor": waited.output,
        }
        for feed, media_ids in feeds.items():
            [listed, text] >> NxCloudGetMediaOperator(
                task_id=feed, media_ids=media_ids, destination=f"{OUT}/{rendering}/{feed}", **NAMED
            )

        mapped = {
            "expand_kwargs": batch.override(task_id="batch")(f"{OUT}/{rendering}/expand_kwargs"),
            "expand_kwargs_text": batch.override(task_id="batch_text")(
                f"{OUT}/{rendering}/expand_kwargs_text", as_text=True
            ),
        }
        for feed, kwargs in mapped.items():
            NxCloudGetMediaOperator.partial(task_id=feed, **NAMED).expand_kwargs(kwargs)
        NxCloudGetMediaOperator.partial(
            task_id="map", destination=f"{OUT}/{rendering}/map", if_exists="overwrite", **NAMED
        ).expand_kwargs(listed.map(lambda item: {"media_ids": [item]}))
        NxCloudGetMediaOperator.partial(
            task_id="expand", destination=f"{OUT}/{rendering}/expand", **NAMED
        ).expand(media_ids=listed.map(lambda item: [item]))
        NxCloudMediaSensor.partial(task_id="wait_mapped", nxcloud_conn_id="the_nxcloud").expand_kwargs(
            listed.map(lambda item: {"media_ids": [item]})
        )

with DAG("foreign_odd", start_date=datetime(2026, 1, 1), schedule=None, catchup=False):

    @task
    def odd_batches():
        """What no parser reads, and what is no ID; all that a task returns is data."""
        evil = "{{ ti.xcom_push('rendered', 'yes') }}"
        odd = [[f"{evil}1"], evil, f"[{{'caption': '{evil}', 'at': datetime(2026, 1, 1)}}]"]
        return [{"media_ids": media_ids, "destination": f"{OUT}/odd"} for media_ids in odd]

    NxCloudGetMediaOperator.partial(task_id="get_media", **NAMED).expand_kwargs(odd_batches())
