"""The servers of a run, each in a process of its own: NXCloud's stand-in and S3."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from scenarios import Scenario

BUCKET = "bench"


@contextmanager
def nxcloud(scenario: Scenario, port: int) -> Iterator[tuple[str, psutil.Process]]:
    """
    Run the server for a scenario.

    :param scenario: its latency, link and size.
    :param port: where.
    :return: the base URL and the process.
    """
    options = ["--latency-ms", str(scenario.latency_ms), "--link-mbit", str(scenario.link_mbit)]
    script = str(Path(__file__).with_name("server.py"))
    process = subprocess.Popen(
        [sys.executable, script, *options, "--port", str(port), "--size", str(scenario.size)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        bound = process.stdout.readline().strip()
        if not bound:
            raise RuntimeError("the server did not start")
        yield f"http://127.0.0.1:{bound}", psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


@contextmanager
def s3(folder: Path) -> Iterator[str]:
    """
    Run rclone as an S3 server.

    :param folder: where it keeps its buckets.
    :return: its endpoint.
    """
    (folder / BUCKET).mkdir(exist_ok=True)
    port = free_port(0)
    rclone = str(Path(sys.executable).with_name("rclone"))
    address = f"127.0.0.1:{port}"
    process = subprocess.Popen(
        [rclone, "serve", "s3", "--auth-key", "testing,testing", "--addr", address, str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        yield f"http://{address}"
    finally:
        process.kill()
        process.wait()


def wait_for(port: int) -> None:
    """Wait until somebody listens there."""
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


def free_port(wanted: int) -> int:
    """Return the wanted port, or a free one where that is 0 or in use."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
