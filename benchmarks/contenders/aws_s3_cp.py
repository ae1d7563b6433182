"""``aws s3 cp --recursive`` of the same files from disk, in this process to spare it the start of another."""

from __future__ import annotations

import os
from pathlib import Path

from awscli.clidriver import create_clidriver
from job import Job


def fetch(job: Job) -> None:
    config = Path(job.source).with_name("aws-config")
    config.write_text(f"[default]\ns3 =\n  max_concurrent_requests = {job.workers}\n")
    os.environ["AWS_CONFIG_FILE"] = str(config)
    command = ["s3", "cp", "--only-show-errors", "--recursive", job.source, job.destination]
    if create_clidriver().main([*command, "--endpoint-url", job.s3_endpoint]):
        raise RuntimeError("aws s3 cp failed")
