"""``rclone copyurl --urls``: the API is asked by a thread pool first, since rclone cannot sign."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import requests
from job import Job, signed_call
from requests.adapters import HTTPAdapter


def url_and_name(job: Job, session: requests.Session, media_id: str) -> str:
    headers, body = signed_call(media_id)
    answer = session.post(job.api_url, data=body, headers=headers, timeout=30)
    answer.raise_for_status()
    return f"{answer.json()['data']['url']},{media_id}.jpg\n"


def fetch(job: Job) -> None:
    with requests.Session() as session, ThreadPoolExecutor(job.workers) as pool:
        session.mount("http://", HTTPAdapter(pool_maxsize=job.workers))
        lines = list(pool.map(partial(url_and_name, job, session), job.media_ids))
    rclone = str(Path(sys.executable).with_name("rclone"))
    store = [
        "--s3-provider=Rclone",
        f"--s3-endpoint={job.s3_endpoint}",
        "--s3-env-auth",
        "--s3-no-check-bucket",
    ]
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as urls:
        urls.writelines(lines)
        urls.flush()
        target = f":s3:{job.destination.removeprefix('s3://')}"
        options = ["--config=", f"--transfers={job.workers}", "--urls"]
        subprocess.run([rclone, "copyurl", *options, *store, urls.name, target], check=True)
