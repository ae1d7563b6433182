"""
What it costs to publish local files so that they survive a power cut, with 1 and with 16 workers on this disk.

Reported is the median over all runs, for one file of 64 KB, with the syncs and with them turned off.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

from airflow_provider_nxcloud.storage.local import LocalStorage

CONTENT = os.urandom(64 * 1024)


def seconds_per_file(folder: Path, workers: int, files: int) -> float:
    """Publish that many files into a new folder."""
    with tempfile.TemporaryDirectory(dir=folder) as root:

        def publish(number: int) -> None:
            staged = storage.stage(md5=False)
            staged.write(CONTENT)
            storage.publish(f"{number}.jpg", staged)

        with LocalStorage(Path(root)) as storage, ThreadPoolExecutor(workers) as pool:
            started = time.perf_counter()
            list(pool.map(publish, range(files)))
            return (time.perf_counter() - started) / files


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk to measure (default: here)")
    parser.add_argument("--files", type=int, default=400, help="in one run (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="(default: %(default)s)")
    arguments = parser.parse_args()
    print("| workers | ms without | ms with syncs |\n|---|---|---|")
    for workers in (1, 16):
        runs: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(arguments.runs):
            for synced, times in runs.items():
                with mock.patch("os.fsync", os.fsync if synced else lambda _: None):
                    times.append(seconds_per_file(arguments.folder, workers, arguments.files))
        without, synced = (statistics.median(times) * 1e3 for times in runs.values())
        print(f"| {workers} | {without:.2f} | {synced:.2f} |")


if __name__ == "__main__":
    main()
