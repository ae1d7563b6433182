"""A thread pool over one ``requests.Session``, its connection pool made as large as the thread pool."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import requests
from job import Job, signed_call
from requests.adapters import HTTPAdapter


def fetch_one(job: Job, session: requests.Session, media_id: str) -> None:
    headers, body = signed_call(media_id)
    answer = session.post(job.api_url, data=body, headers=headers, timeout=30)
    answer.raise_for_status()
    with session.get(answer.json()["data"]["url"], stream=True, timeout=30) as media:
        media.raise_for_status()
        with Path(job.destination, f"{media_id}.jpg").open("wb") as file:
            for chunk in media.iter_content(256 * 1024):
                file.write(chunk)


def fetch(job: Job) -> None:
    with requests.Session() as session, ThreadPoolExecutor(job.workers) as pool:
        session.mount("http://", HTTPAdapter(pool_maxsize=job.workers))
        list(pool.map(partial(fetch_one, job, session), job.media_ids))
