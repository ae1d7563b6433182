"""
What importing the operator and the sensor costs a DAG file, over what importing Airflow's SDK costs it anyway.

Each run is a fresh process that times the import from inside; reported is the median over all runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

PROBE = """
import json, sys, time
try:
    from airflow.sdk import DAG, BaseOperator, BaseSensorOperator
except ImportError:
    from airflow import DAG
    from airflow.models import BaseOperator
    from airflow.sensors.base import BaseSensorOperator
before, started = set(sys.modules), time.perf_counter()
from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator
from airflow_provider_nxcloud.sensors.nxcloud import NxCloudMediaSensor
elapsed = time.perf_counter() - started
heavy = {"requests", "urllib3", "fsspec", "s3fs", "gcsfs", "adlfs", "boto3"}
print(json.dumps({"ms": elapsed * 1e3, "heavy": sorted(heavy & (set(sys.modules) - before))}))
"""


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="fresh processes (default: %(default)s)")
    runs = parser.parse_args().runs
    if runs < 1:
        parser.error("--runs must be at least 1")
    results = [probe() for _ in range(runs)]
    times = sorted(result["ms"] for result in results)
    heavy = results[0]["heavy"]
    median, fastest, slowest = statistics.median(times), times[0], times[-1]
    print(f"import of operator and sensor: median {median:.1f} ms ({fastest:.1f} to {slowest:.1f})")
    print(f"heavy modules it pulls in: {', '.join(heavy) or 'none'}")


def probe() -> dict:
    """Import in a fresh process."""
    done = subprocess.run([sys.executable, "-c", PROBE], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
