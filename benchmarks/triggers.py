"""
What thousands of waits cost a triggerer: the lag of its event loop, memory, threads, calls to NXCloud.

All triggers run in one event loop, as in a triggerer, and start one after the other, as a triggerer starts them.
The sandbox runs in a process of its own and answers each call after ``--latency``. Memory is what the process
grew by once all wait (Linux only); lag is how late a 10 ms sleep wakes up.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from airflow_provider_nxcloud.triggers.nxcloud import NxCloudMediaTrigger

SANDBOX = """
import collections, json, sys, time
from airflow_provider_nxcloud.sandbox import NxCloudSandbox
sandbox = NxCloudSandbox(api_latency=float(sys.argv[2]))
for number in range(int(sys.argv[1])):
    sandbox.add_media(b"x", "image/jpeg", media_id=f"media{number}", available_after_calls=10**9)
sandbox.start()
print(sandbox.connection_json, flush=True)
sys.stdin.readline()
calls = collections.Counter(call.media_id for call in sandbox.calls())
print(json.dumps(calls), flush=True)
"""
TICK = 0.01


def main() -> None:
    """Let the triggers wait for a while and print what that cost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--triggers", type=int, default=5000, help="waits at once (default: %(default)s)")
    parser.add_argument("--media", type=int, default=5000, help="media they wait for (default: %(default)s)")
    parser.add_argument("--poke-interval", type=float, default=1.0, help="in seconds (default: %(default)s)")
    parser.add_argument(
        "--latency", type=float, default=0.05, help="of a call, seconds (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=40, help="to look at (default: %(default)s)")
    options = parser.parse_args()
    if min(vars(options).values()) <= 0:
        parser.error("every number must be above 0")
    sandbox = subprocess.Popen(
        [sys.executable, "-c", SANDBOX, str(options.media), str(options.latency)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        os.environ["AIRFLOW_CONN_NXCLOUD_DEFAULT"] = sandbox.stdout.readline().strip()
        asyncio.run(measure(options))
        sandbox.stdin.write("\n")
        sandbox.stdin.flush()
        report_calls(sandbox.stdout.readline(), options)
    finally:
        sandbox.kill()
        sandbox.wait()


async def measure(options: argparse.Namespace) -> None:
    """Run the triggers and print lag, memory, CPU and threads."""
    await start(0, options)  # so that what is imported and shared counts for none
    lags: list[float] = []
    ticker = asyncio.create_task(tick(lags))
    await asyncio.sleep(5)
    alone = max(lags)
    gc.collect()
    before = resident()
    lags.clear()
    started = time.monotonic()
    tasks = [await start(number % options.media, options) for number in range(options.triggers)]
    started_in = time.monotonic() - started
    await asyncio.sleep(options.seconds / 2)
    starting, cpu = lags.copy(), time.process_time()
    lags.clear()
    await asyncio.sleep(options.seconds / 2)
    cpu = (time.process_time() - cpu) / (options.seconds / 2)
    ticker.cancel()
    gc.collect()
    grown = resident() - before
    assert not any(task.done() for task in tasks)
    threads = sum(thread.name.startswith("trigger-nxcloud") for thread in threading.enumerate())
    print(
        f"{options.triggers} triggers, started in {started_in:.1f} s; {threads} threads; {cpu:.0%} of a core"
    )
    print(
        f"worst lag of the loop: {max(starting) * 1e3:.0f} ms at the start, {max(lags) * 1e3:.0f} ms later; "
        f"{alone * 1e3:.0f} ms with one trigger"
    )
    print(f"memory: {grown / options.triggers / 1024:.1f} KB a trigger, {grown / 2**20:.0f} MB in all")
    for task in tasks:
        task.cancel()


async def start(number: int, options: argparse.Namespace) -> asyncio.Task[None]:
    """Start one trigger and let the loop run on."""

    async def run() -> None:
        trigger = NxCloudMediaTrigger(
            [f"media{number}"], "nxcloud_default", poke_interval=options.poke_interval
        )
        async for event in trigger.run():
            raise RuntimeError(f"it must wait, but there came {event}")

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    return task


async def tick(lags: list[float]) -> None:
    """Note how late each sleep wakes up."""
    while True:
        begun = time.monotonic()
        await asyncio.sleep(TICK)
        lags.append(time.monotonic() - begun - TICK)


def report_calls(answer: str, options: argparse.Namespace) -> None:
    """Print how many calls NXCloud saw, and how they were spread."""
    calls = Counter(json.loads(answer))
    asked = [calls[f"media{number}"] for number in range(min(options.media, options.triggers))]
    print(
        f"calls: {sum(asked)} in about {options.seconds:.0f} s; each media file was asked for {min(asked)} to "
        f"{max(asked)} times"
    )


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
