"""This package's operator with every check on: length, MD5 of the ETag, the given SHA-256, type and content."""

from __future__ import annotations

import json
import os

from job import Job
from server import ACCESS_KEY, ACCESS_SECRET, PHONE

from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator


def fetch(job: Job, if_exists: str = "skip") -> None:
    os.environ["AIRFLOW_CONN_NXCLOUD_DEFAULT"] = json.dumps(
        {
            "conn_type": "nxcloud",
            "login": ACCESS_KEY,
            "password": ACCESS_SECRET,
            "host": job.base_url,
            "extra": {"business_phone": PHONE},
        }
    )
    operator = NxCloudGetMediaOperator(
        task_id="get_media",
        media_ids=[{"media_id": media_id, "sha256": job.sha256} for media_id in job.media_ids],
        destination=job.destination,
        storage_conn_id="aws_default" if job.s3_endpoint else None,
        max_workers=job.workers,
        if_exists=if_exists,
    )
    operator.execute({})
