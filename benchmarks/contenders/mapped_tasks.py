"""One mapped task per ID, run by ``dag.test()``: one after the other in one process."""

from __future__ import annotations

import json
import os
import runpy
from dataclasses import asdict
from pathlib import Path

from job import Job

DAG_FILE = Path(__file__).parent.parent / "dags" / "mapped_tasks.py"


def fetch(job: Job) -> None:
    os.environ["BENCH_JOB"] = json.dumps(asdict(job))
    run = runpy.run_path(str(DAG_FILE))["dag"].test()
    if run.state != "success":
        raise RuntimeError(f"the DAG run ended {run.state}")
