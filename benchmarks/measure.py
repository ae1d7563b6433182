"""Run one contender in a process of its own and measure it; started as a script, this is that process."""

from __future__ import annotations

import gc
import hashlib
import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

import psutil
from job import Job


class ContenderError(Exception):
    """A contender that did not do its job; the text says what happened."""


@dataclass(frozen=True)
class Measurement:
    """
    What one run took.

    :param rate: media per second.
    :param cpu_ms: CPU time per media file, of the process and those that it started, in milliseconds.
    :param growth_mb: how far the process's memory rose over what it had before, in MB (Linux only, else 0).
    :param server_share: how much of one core the server used meanwhile, 0 to 1.
    """

    rate: float
    cpu_ms: float
    growth_mb: float
    server_share: float


def measure(
    contender: str, job: Job, *, folder: Path, server: psutil.Process, environment: Mapping[str, str]
) -> Measurement:
    """
    Run a contender and check every file it wrote.

    :param contender: a module of :mod:`contenders`.
    :param job: what to do.
    :param folder: where the files can be seen afterwards.
    :param server: the server's process.
    :param environment: the process's.
    :return: what it took.
    :raises ContenderError: when it failed, or a file is missing or wrong.
    """
    before = server.cpu_times()
    done = subprocess.run(
        [sys.executable, __file__, contender],
        input=json.dumps(asdict(job)),
        env={**environment, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ContenderError((done.stderr.strip() or "no word").splitlines()[-1][:300])
    after = server.cpu_times()
    figures = json.loads(done.stdout.splitlines()[-1])
    check_files(folder, job)
    server_seconds = after.user + after.system - before.user - before.system
    count = len(job.media_ids)
    return Measurement(
        rate=count / figures["seconds"],
        cpu_ms=figures["cpu"] / count * 1e3,
        growth_mb=figures["growth"],
        server_share=server_seconds / figures["seconds"],
    )


def check_files(folder: Path, job: Job) -> None:
    """Compare every file with what the server has."""
    found = {path.stem: path for path in folder.iterdir() if path.is_file()}
    if found.keys() != set(job.media_ids):
        raise ContenderError(f"wrote {len(found)} of {len(job.media_ids)} files")
    wrong = [
        name for name, path in found.items() if hashlib.sha256(path.read_bytes()).hexdigest() != job.sha256
    ]
    if wrong:
        raise ContenderError(f"wrote {len(wrong)} wrong files, for example {wrong[0]}")


def main() -> None:
    """Warm up, run, print the figures as JSON."""
    job = Job(**json.load(sys.stdin))
    contender = import_module(f"contenders.{sys.argv[1]}")
    contender.fetch(job.warm_up())
    gc.collect()
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
    resident = memory("VmRSS")
    cpu, started = cpu_seconds(), time.perf_counter()
    contender.fetch(job)
    seconds = time.perf_counter() - started
    figures = {"seconds": seconds, "cpu": cpu_seconds() - cpu, "growth": memory("VmHWM") - resident}
    print("\n" + json.dumps(figures))


def cpu_seconds() -> float:
    """Return the CPU time of this process and of those it started and waited for."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def memory(field: str) -> float:
    """Return a figure of this process's memory in MB."""
    if sys.platform != "linux":
        return 0.0
    return int(re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024


if __name__ == "__main__":
    main()
