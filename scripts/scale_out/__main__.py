"""Run the example DAG over two Celery workers, with everything they need, and leave nothing behind."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

from airflow_provider_nxcloud.sandbox import NxCloudSandbox
from processes import Processes, ignore_interrupts, interrupt_once
from scale_out import scenarios
from scale_out.cluster import Cluster
from scale_out.servers import check_installed


def main() -> None:
    """Start, show, tear down."""
    options = parse_arguments()
    check_installed()
    interrupt_once()
    folder = Path(tempfile.mkdtemp(prefix="nxcloud-scale-out-"))
    folder.chmod(0o755)  # PostgreSQL's user goes through it
    processes = Processes(folder)
    failed = True
    try:
        try:
            with NxCloudSandbox(api_latency=options.latency, download_latency=options.latency) as sandbox:
                show(options, processes, sandbox)
            failed = False
        finally:
            ignore_interrupts()
    except KeyboardInterrupt:
        failed = False
        raise SystemExit("Interrupted.") from None
    finally:
        tear_down(processes, folder, keep=failed)


def show(options: argparse.Namespace, processes: Processes, sandbox: NxCloudSandbox) -> None:
    """Start the cluster and show what was asked for."""
    print("Starting PostgreSQL, Redis, S3 and Airflow ...", flush=True)
    cluster = Cluster(processes, sandbox, options.concurrency)
    cluster.start()
    size = (cluster, sandbox, options.media, options.batches)
    if options.kill_worker:
        scenarios.kill_worker(*size)
    elif options.rate_limit:
        scenarios.rate_limit(*size, options.rate_limit)
    elif options.sensors:
        scenarios.sensors(cluster, sandbox, options.sensors)
    else:
        scenarios.spread(*size)


def tear_down(processes: Processes, folder: Path, keep: bool) -> None:
    """End all processes; remove what they wrote, or say where it is."""
    with suppress(OSError):  # a closed terminal or pipe must not keep anything running
        print("\nTearing down ...", flush=True)
    processes.end()
    if keep:
        print(f"The logs are in {folder}")
    else:
        shutil.rmtree(folder)
    print(f"Processes left: {len(psutil.Process().children(recursive=True))}")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make scale-out ARGS=...", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--kill-worker", action="store_true", help="kill -9 a worker and a task meanwhile")
    what.add_argument("--rate-limit", type=positive, metavar="CALLS", help="a second, more get a 429")
    what.add_argument("--sensors", type=positive, metavar="NUMBER", help="deferred, and the triggerer killed")
    add = parser.add_argument
    add("--media", type=positive, default=5000, help="how many media (default %(default)s)")
    add("--batches", type=positive, default=50, help="in how many batches (default %(default)s)")
    add("--concurrency", type=positive, default=4, help="tasks at once on a worker (default %(default)s)")
    add(
        "--latency", type=seconds, default=0.25, help="seconds before NXCloud's answers (default %(default)s)"
    )
    return parser.parse_args()


def positive(text: str) -> int:
    """Read a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def seconds(text: str) -> float:
    """Read a time that a run can wait for."""
    if not 0 <= float(text) <= 60:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 60")
    return float(text)


if __name__ == "__main__":
    main()
