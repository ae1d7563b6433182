"""One mapped task per media ID, each with ``requests``."""

from __future__ import annotations

import json
import os

from airflow.sdk import dag, task
from contenders import requests_loop
from job import Job

job = Job(**json.loads(os.environ["BENCH_JOB"]))


@task
def fetch_media(media_id: str) -> None:
    requests_loop.fetch_one(job, media_id)


@dag(schedule=None)
def mapped_tasks() -> None:
    fetch_media.expand(media_id=job.media_ids)


dag = mapped_tasks()
