"""``s5cmd cp`` of the same files from local disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from job import Job


def fetch(job: Job) -> None:
    s5cmd = str(Path(sys.executable).with_name("s5cmd"))
    options = ["--endpoint-url", job.s3_endpoint, "--numworkers", str(job.workers), "--log", "error"]
    subprocess.run([s5cmd, *options, "cp", f"{job.source}/", f"{job.destination}/"], check=True)
