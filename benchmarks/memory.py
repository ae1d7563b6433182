"""
How much a worker's memory grows: large documents at once, to a local folder and to S3, and many small media.

The sandbox and the S3 server (moto) run in processes of their own. Growth is the peak of the process's resident
memory while the operator runs, over what it had after it had stored one small media (Linux only).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SANDBOX = """
import os, sys
from airflow_provider_nxcloud.sandbox import NxCloudSandbox
sandbox = NxCloudSandbox()
for count, size, prefix in ((1, 1000, "warm"), (int(sys.argv[1]), int(sys.argv[2]), "media")):
    content = os.urandom(size)
    for number in range(count):
        sandbox.add_media(content, "application/pdf", media_id=f"{prefix}{number}")
sandbox.start()
print(sandbox.connection_json, flush=True)
sys.stdin.read()
"""


def main() -> None:
    """Run each case in a fresh process and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--documents", type=int, default=6, help="large documents at once (default: %(default)s)"
    )
    parser.add_argument("--megabytes", type=int, default=100, help="size of each (default: %(default)s)")
    parser.add_argument("--ids", type=int, default=10_000, help="small media (default: %(default)s)")
    parser.add_argument(
        "--photos", type=int, default=200, help="media of 5 MB, for S3 (default: %(default)s)"
    )
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if min(options.documents, options.megabytes, options.ids, options.photos) < 1:
        parser.error("every number must be at least 1")
    if options.case:
        measure(**json.loads(options.case))
        return
    size = options.megabytes * 2**20
    large = f"{options.documents} documents of {options.megabytes} MB"
    run(f"{large} to file://", options.documents, size, s3=False)
    run(f"{large} to s3://", options.documents, size, s3=True)
    run(f"{options.photos} photos of 5 MB to s3://", options.photos, 5 * 2**20, s3=True)
    run(f"{options.ids} media of 1 KB to file://", options.ids, 1000, s3=False)


def run(name: str, count: int, size: int, *, s3: bool) -> None:
    """Start what the case needs, run it, end what was started."""
    sandbox = subprocess.Popen(
        [sys.executable, "-c", SANDBOX, str(count), str(size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    store = None
    try:
        connection = sandbox.stdout.readline()
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "AIRFLOW_CONN_NXCLOUD_DEFAULT": connection, "AIRFLOW_HOME": folder}
            destination = folder + "/out"
            if s3:
                store, endpoint = start_s3()
                environment["AIRFLOW_CONN_STORE"] = json.dumps(
                    {
                        "conn_type": "aws",
                        "login": "testing",
                        "password": "testing",
                        "extra": {"endpoint_url": endpoint, "region_name": "us-east-1"},
                    }
                )
                destination = "s3://store@bench/out"
            case = json.dumps({"destination": destination, "count": count, "size": size})
            done = subprocess.run(
                [sys.executable, __file__, "--case", case],
                env=environment,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise SystemExit(f"{name}: failed\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
            print(f"{name}: {done.stdout.splitlines()[-1]}", flush=True)
    finally:
        for process in filter(None, (sandbox, store)):
            process.terminate()
            process.wait()


def start_s3() -> tuple[subprocess.Popen, str]:
    """Start moto's S3 server with a bucket."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    from urllib3 import HTTPConnectionPool
    from urllib3.exceptions import HTTPError

    for _ in range(300):
        try:
            HTTPConnectionPool("127.0.0.1", port).request("PUT", "/bench", retries=False)
            return process, f"http://127.0.0.1:{port}"
        except HTTPError:
            time.sleep(0.1)
    raise SystemExit("the S3 server did not start")


def measure(destination: str, count: int, size: int) -> None:
    """Warm up, run, print the growth."""
    from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator

    def fetch(media_ids: list[str]) -> list[dict]:
        operator = NxCloudGetMediaOperator(
            task_id="bench", media_ids=media_ids, destination=destination, max_media_bytes=size * 2
        )
        return operator.execute({})

    fetch(["warm0"])
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    started = time.monotonic()
    records = fetch([f"media{number}" for number in range(count)])
    seconds = time.monotonic() - started
    total = sum(record["size"] for record in records)
    print(
        f"grew by {(resident('VmHWM') - before) / 1024:.1f} MB from {before / 1024:.0f} MB; "
        f"{len(records)} stored, {total / 1e6:.0f} MB in {seconds:.1f} s"
    )


def resident(field: str) -> int:
    """Return a memory figure of this process in KiB."""
    return int(re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


if __name__ == "__main__":
    main()
