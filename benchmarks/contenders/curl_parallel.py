"""
``curl -Z`` in two phases: all signed API calls, then all the URLs they gave.

curl cannot sign or read JSON in between, so Python prepares the calls and the list of URLs; that counts too.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from job import Job, signed_call


def run_curl(job: Job, config: str) -> None:
    """Run the transfers of a config file; ``--parallel-immediate`` spares curl a wait for HTTP/2."""
    command = ["curl", "-Z", "--parallel-immediate", "--parallel-max", str(job.workers), "-sS", "-K-"]
    subprocess.run(command, input=config, text=True, check=True)


def fetch(job: Job) -> None:
    with tempfile.TemporaryDirectory(dir=job.destination) as answers:
        calls = []
        for media_id in job.media_ids:
            headers, body = signed_call(media_id)
            lines = ["fail", f'url = "{job.api_url}"', f'output = "{answers}/{media_id}"']
            lines += [f'header = "{name}: {value}"' for name, value in headers.items()]
            calls.append("\n".join([*lines, f"data-raw = {json.dumps(body.decode())}"]))
        run_curl(job, "\nnext\n".join(calls))
        downloads = ["fail"]
        for media_id in job.media_ids:
            url = json.loads(Path(answers, media_id).read_bytes())["data"]["url"]
            downloads += [f'url = "{url}"', f'output = "{job.destination}/{media_id}.jpg"']
        run_curl(job, "\n".join(downloads))
