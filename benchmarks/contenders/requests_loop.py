"""``requests`` in a loop, as in a Python task."""

from __future__ import annotations

from pathlib import Path

import requests
from job import Job, signed_call


def fetch_one(job: Job, media_id: str) -> None:
    headers, body = signed_call(media_id)
    answer = requests.post(job.api_url, data=body, headers=headers, timeout=30)
    answer.raise_for_status()
    media = requests.get(answer.json()["data"]["url"], timeout=30)
    media.raise_for_status()
    Path(job.destination, f"{media_id}.jpg").write_bytes(media.content)


def fetch(job: Job) -> None:
    for media_id in job.media_ids:
        fetch_one(job, media_id)
