"""``requests`` and boto3's ``put_object`` in a thread pool, as a DAG author writes it: nothing is checked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import boto3
import requests
from botocore.config import Config
from job import Job, signed_call
from requests.adapters import HTTPAdapter


def store_one(job: Job, session: requests.Session, s3: Any, media_id: str) -> None:
    headers, body = signed_call(media_id)
    answer = session.post(job.api_url, data=body, headers=headers, timeout=30)
    answer.raise_for_status()
    media = session.get(answer.json()["data"]["url"], timeout=30)
    media.raise_for_status()
    bucket, _, folder = job.destination.removeprefix("s3://").partition("/")
    s3.put_object(
        Bucket=bucket,
        Key=f"{folder}/{media_id}.jpg",
        Body=media.content,
        ContentType=media.headers["Content-Type"],
    )


def fetch(job: Job) -> None:
    s3 = boto3.client("s3", endpoint_url=job.s3_endpoint, config=Config(max_pool_connections=job.workers))
    with requests.Session() as session, ThreadPoolExecutor(job.workers) as pool:
        session.mount("http://", HTTPAdapter(pool_maxsize=job.workers))
        list(pool.map(partial(store_one, job, session, s3), job.media_ids))
