"""DAGs that use the operator in every way Airflow offers to feed one; a test runs them."""

from __future__ import annotations

import os
from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, Asset, Param, TaskGroup, task

from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator

OUT = os.environ["OUT"]
USUAL = {"start_date": datetime(2026, 1, 1), "catchup": False}
PARAMS = {
    "media_ids": ["1000000001", "1000000011"],
    "text": '["1000000001", "1000000011"]',
    "folder": OUT,
    "nxcloud": "the_nxcloud",
    "storage": "the_storage",
    "phone": "+86 138-0013-8000",
}

for rendering in ("text", "native"):
    with DAG(
        f"templated_{rendering}",
        render_template_as_native_obj=rendering == "native",
        params={name: Param(value) for name, value in PARAMS.items()},
        schedule=None,
        **USUAL,
    ):

        @task
        def list_media():
            return [{"media_id": "1000000001", "mime_type": "image/jpeg"}, "1000000011"]

        listed = list_media()
        feeds = {
            "param": "{{ params.media_ids }}",
            "json_text": "{{ params.text }}",
            "jinja_xcom": "{{ ti.xcom_pull(task_ids='list_media') }}",
            "xcom_arg": listed,
        }
        for feed, media_ids in feeds.items():
            listed >> NxCloudGetMediaOperator(
                task_id=feed,
                media_ids=media_ids,
                destination=f"{{{{ params.folder }}}}/{rendering}/{feed}",
                nxcloud_conn_id="{{ params.nxcloud }}",
                storage_conn_id="{{ params.storage }}",
                business_phone="{{ params.phone }}",
                manifest=f"{{{{ params.folder }}}}/{rendering}/{feed}.jsonl",
            )

with DAG("mapped", schedule=None, **USUAL):

    @task
    def batches():
        return [["1000000001"], [{"media_id": "1000000002"}, "1000000003"], []]

    NxCloudGetMediaOperator.partial(
        task_id="mapped", destination=f"{OUT}/mapped", nxcloud_conn_id="the_nxcloud"
    ).expand(media_ids=batches())

    @task
    def no_batches():
        return []

    NxCloudGetMediaOperator.partial(
        task_id="mapped_over_nothing", destination=f"{OUT}/nothing", nxcloud_conn_id="the_nxcloud"
    ).expand(media_ids=no_batches())

with DAG("mapped_by_kwargs", schedule=None, **USUAL), TaskGroup("group"):

    @task
    def kwargs_of_each_batch():
        return [
            {"media_ids": ["1000000001"], "destination": f"{OUT}/first"},
            {"media_ids": '["1000000002"]', "destination": f"{OUT}/second", "if_exists": "fail"},
        ]

    NxCloudGetMediaOperator.partial(
        task_id="get_media", nxcloud_conn_id="the_nxcloud", business_phone="{{ '8613800138000' }}"
    ).expand_kwargs(kwargs_of_each_batch())

with DAG("rendered_to_none", schedule=None, render_template_as_native_obj=True, **USUAL):
    NxCloudGetMediaOperator(
        task_id="get_media",
        media_ids="{{ none }}",
        destination=f"{OUT}/none",
        nxcloud_conn_id="the_nxcloud",
    )

with DAG("outlets", schedule=None, **USUAL):
    NxCloudGetMediaOperator(
        task_id="get_media",
        media_ids=["1000000001", "1000000002", "1000009999"],
        destination=f"{OUT}/outlets",
        nxcloud_conn_id="the_nxcloud",
        manifest=f"{OUT}/outlets.jsonl",
        ignore_media_errors=True,
        outlets=[Asset("x-nxcloud://whatsapp/media"), Asset("x-nxcloud://whatsapp/archive")],
    )
    NxCloudGetMediaOperator(
        task_id="no_outlets",
        media_ids=["1000000001"],
        destination=f"{OUT}/no_outlets",
        nxcloud_conn_id="the_nxcloud",
    )

with DAG("dated", schedule=None, **USUAL) as dated:
    NxCloudGetMediaOperator(
        task_id="get_media",
        media_ids=["1000000001"],
        destination=f"{OUT}/{{{{ (dag_run.logical_date or dag_run.run_after) | ds }}}}",
        nxcloud_conn_id="the_nxcloud",
    )

with DAG("failing", schedule=None, **USUAL):
    NxCloudGetMediaOperator(
        task_id="get_media",
        media_ids=["1000000001"],
        destination=f"{OUT}/failing",
        nxcloud_conn_id="wrong_secret",
    )

if __name__ == "__main__":
    dated.test(logical_date=None)  # as a run that an asset starts; not to be had from the command line
