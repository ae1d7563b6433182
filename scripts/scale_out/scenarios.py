"""What can be shown: how batches spread, what a dead worker costs, what a rate limit does, and waiting."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress

import psutil

from airflow_provider_nxcloud.sandbox import NxCloudSandbox
from processes import kill, memory_bytes
from scale_out.cluster import Cluster
from scale_out.fetching import Fetch, add_media
from scale_out.pressure import Pressure

SENSORS = "scale_out_sensors"
#: What Airflow calls the process of a task.
TASK = "airflow worker -- "


def spread(cluster: Cluster, sandbox: NxCloudSandbox, media: int, batches: int) -> None:
    """Fetch the same with one worker and with two."""
    ids = add_media(sandbox, media)
    rates = []
    for run_id, worker in (("one-worker", "w1"), ("two-workers", "w2")):
        start_worker(cluster, worker)
        heading(f"{media} media in {batches} batches, {run_id}")
        fetch = Fetch(cluster, sandbox, run_id, ids, batches)
        fetch.start()
        rates.append(fetch.finish())
    print(f"\nTwo workers fetch {rates[1] / rates[0]:.2f} times as fast as one.")
    used = {name: memory_bytes(process) / 2**20 for name, process in cluster.processes.running.items()}
    print("Memory in MiB:", ", ".join(f"{name} {mib:.0f}" for name, mib in used.items()))


def kill_worker(cluster: Cluster, sandbox: NxCloudSandbox, media: int, batches: int) -> None:
    """Kill a worker in the middle of its batches, and later the process of one task."""
    ids = add_media(sandbox, media)
    start_worker(cluster, "w1")
    start_worker(cluster, "w2")
    heading(f"{media} media in {batches} batches, a worker and a task killed")
    fetch = Fetch(cluster, sandbox, "killed", ids, batches)
    fetch.start()
    fetch.wait_until_stored(0.2)
    cluster.processes.kill("w2")
    killed_at = time.time()
    stored = fetch.stored()
    in_flight = started(sandbox) - stored
    print(f"  kill -9 of w2 with all its processes; {len(stored)} media stored, {len(in_flight)} in flight")
    fetch.wait_until_stored(0.5)
    task = task_process(cluster, "w1")
    kill(task)
    stored = fetch.stored()
    in_flight |= started(sandbox) - stored
    print(f"  kill -9 of a task's process on w1; {len(stored)} media stored", flush=True)
    fetch.finish()
    sql = (
        "select extract(epoch from start_date) from task_instance where run_id = 'killed' and try_number > 1"
    )
    again_after = sorted(float(start) - killed_at for (start,) in cluster.query(sql))
    print("  tried again, seconds after w2 was killed:", ", ".join(f"{s:.0f}" for s in again_after))
    downloads = Counter(request.media_id for request in sandbox.downloads())
    again = {media_id for media_id, number in downloads.items() if number > 1}
    print(
        f"  {downloads.total()} downloads of {len(downloads)} media; {len(again)} were fetched more than once"
    )
    print("  records:", dict(fetch.statuses()))
    if not again <= in_flight or set(downloads) != set(ids):
        raise SystemExit(f"Fetched again although stored already: {sorted(again - in_flight)[:5]}")
    print("  each of these was in flight when something was killed")


def rate_limit(cluster: Cluster, sandbox: NxCloudSandbox, media: int, batches: int, limit: int) -> None:
    """Let NXCloud refuse what is more than so many calls a second."""
    ids = add_media(sandbox, media)
    start_worker(cluster, "w1")
    start_worker(cluster, "w2")
    heading(f"{media} media in {batches} batches, NXCloud takes {limit} calls a second")
    sandbox.rate_limit = limit
    pressure = Pressure(sandbox)
    fetch = Fetch(cluster, sandbox, "limited", ids, batches)
    fetch.start()
    try:
        fetch.finish()
    finally:
        pressure.report(media)


def sensors(cluster: Cluster, sandbox: NxCloudSandbox, number: int) -> None:
    """Let sensors wait, kill the triggerer meanwhile, and let the media come."""
    ids = add_media(sandbox, number)
    for media_id in ids:
        sandbox.media[media_id].available_after_calls = 1_000_000_000
    start_worker(cluster, "w1")
    start_worker(cluster, "w2")
    heading(f"{number} deferrable sensors")
    began = time.monotonic()
    cluster.trigger(SENSORS, "waits", {"media_ids": ids})
    wait_until = cluster.processes.wait_until
    wait_until(lambda: cluster.states("waits", "wait")["deferred"] == number, "all sensors wait")
    print(f"  all deferred after {time.monotonic() - began:.1f} s: {dict(cluster.states('waits', 'wait'))}")
    print(f"  tasks on workers: {len(tasks(cluster, 'w1')) + len(tasks(cluster, 'w2'))}")
    print(
        f"  memory of the triggerer: {memory_bytes(cluster.processes.running['triggerer']) / 2**20:.0f} MiB"
    )
    cluster.processes.kill("triggerer")
    sandbox.requests.clear()
    killed = time.monotonic()
    cluster.restart("triggerer")
    wait_until(lambda: len(started(sandbox, "api")) == number, "the new triggerer has asked for all media")
    print(f"  triggerer killed; {time.monotonic() - killed:.1f} s later a new one had asked for all {number}")
    print(f"  {dict(cluster.states('waits', 'wait'))}", flush=True)
    for media_id in ids:
        sandbox.media[media_id].available_after_calls = 0
    there = time.monotonic()
    state = cluster.wait_for_end("waits")
    print(f"  media there; run ended in {state} after {time.monotonic() - there:.1f} s more")
    states = cluster.states("waits", "wait")
    print(f"  {dict(states)}; triggers left: {cluster.query('select count(*) from trigger')[0][0]}")
    if state != "success" or states != {"success": number}:
        raise SystemExit("Not all sensors succeeded.")


def start_worker(cluster: Cluster, name: str) -> None:
    """Start a worker, and let the pool have a slot for each task that the workers can run at once."""
    cluster.start_worker(name)
    cluster.set_pool(cluster.concurrency * sum(other in cluster.processes.running for other in ("w1", "w2")))


def heading(text: str) -> None:
    """Print what comes next."""
    print(f"\n{text}", flush=True)


def started(sandbox: NxCloudSandbox, kind: str = "download") -> set[str]:
    """Return the media that were asked for."""
    return {
        request.media_id for request in list(sandbox.requests) if request.kind == kind and request.media_id
    }


def tasks(cluster: Cluster, worker: str) -> list[psutil.Process]:
    """Return the processes in which a worker's tasks run, each below its supervisor's."""
    found = []
    for process in cluster.processes.running[worker].children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found += [process] if " ".join(process.cmdline()).startswith(TASK) else []
    return found


def task_process(cluster: Cluster, worker: str) -> psutil.Process:
    """Return one of them, as soon as there is one."""
    return cluster.processes.wait_until(lambda: tasks(cluster, worker), f"a task runs on {worker}")[0]
