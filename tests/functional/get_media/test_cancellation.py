"""A cancelled task ends within three seconds and leaves nothing half done."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout, timeout

from airflow_provider_nxcloud.exceptions import NxCloudCancelledError
from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator
from airflow_provider_nxcloud.sandbox import NxCloudSandbox
from airflow_provider_nxcloud.storage.staging import FOLDER_PREFIX

#: What Airflow 3 gives a task between SIGTERM and SIGKILL is 5 seconds.
LIMIT = 3.0
MEDIA = [f"clip-{number}" for number in range(12)]
WORKERS = 4

#: Executes the operator as a task process does; argv is how SIGTERM is handled, destination and media IDs.
SCRIPT = """
import signal, sys
from airflow_provider_nxcloud.exceptions import NxCloudCancelledError
from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator

class Terminated(BaseException):
    pass

def handler(signum, frame):
    operator.on_kill()
    if sys.argv[1] == "raises":
        raise Terminated

operator = NxCloudGetMediaOperator(
    task_id="fetch", media_ids=sys.argv[3:], destination=sys.argv[2], max_workers=4
)
signal.signal(signal.SIGTERM, handler)
try:
    operator.execute(context={})
except NxCloudCancelledError:
    sys.exit(33)
except Terminated:
    sys.exit(44)
"""

STUCK = {
    "download stalls": ("download.stall", {"at": 0.5}),
    "download hangs": ("download.hang", {}),
    "download drips": ("download.drip", {"interval": 0.2}),
    "download drips headers": ("download.drip_head", {"interval": 0.2}),
    "download is asked to wait": ("download.status", {"status": 503, "retry_after": 60}),
    "API hangs": ("api.hang", {}),
    "API drips": ("api.drip", {"interval": 0.2}),
    "API drips headers": ("api.drip_head", {"interval": 0.2}),
    "API asks to wait": ("api.status", {"status": 429, "retry_after": 60}),
}


@pytest.fixture
def stuck(sandbox: NxCloudSandbox) -> Callable[..., threading.Event]:
    """Let every transfer get stuck; the event is set once the workers are."""
    for media_id in MEDIA:
        # Large enough for staging on disk.
        sandbox.add_media(random.Random(media_id).randbytes(1_200_000), "video/mp4", media_id=media_id)

    def stuck(fault: str, *, workers: int = WORKERS, **options) -> threading.Event:
        reached = threading.Event()
        seen = threading.Semaphore(0)
        kind = fault.partition(".")[0]

        def observe(request) -> None:
            if request.kind == kind and request.media_id != "1000000001":
                seen.release()
                if seen._value >= workers:
                    reached.set()

        sandbox.observer = observe
        for media_id in MEDIA:
            sandbox.inject(fault, media_id=media_id, times=None, **options)
        return reached

    return stuck


@pytest.fixture
def operator(destination: Path) -> NxCloudGetMediaOperator:
    return NxCloudGetMediaOperator(
        task_id="fetch", media_ids=MEDIA, destination=str(destination), max_workers=WORKERS
    )


@pytest.fixture
def start(destination: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Start the operator in a process of its own."""
    started = []

    def start(handler: str, *media_ids: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, handler, str(destination), *media_ids],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def workers() -> list[threading.Thread]:
    return [
        thread
        for thread in threading.enumerate()
        if thread.name.startswith("nxcloud-") and not thread.name.startswith("nxcloud-sandbox")
    ]


def assert_nothing_comes_late(sandbox: NxCloudSandbox, destination: Path) -> None:
    """Let the daemon threads get unstuck, and look whether one still publishes."""
    sandbox.stop()
    for thread in workers():
        thread.join(5)
        assert not thread.is_alive()
    assert list(destination.iterdir()) == []


@pytest.mark.parametrize("fault", STUCK.values(), ids=STUCK)
def test_on_kill_from_another_thread_ends_the_task(fault, sandbox, stuck, operator, destination, temporary):
    name, options = fault
    # Asked to wait by one call, the others wait with it.
    reached = stuck(name, workers=1 if name == "api.status" else WORKERS, **options)
    killed_at = []

    def kill() -> None:
        reached.wait(10)
        killed_at.append(time.monotonic())
        operator.on_kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(NxCloudCancelledError, match="cancelled"):
        operator.execute(context={})
    took = time.monotonic() - killed_at[0]
    killer.join()

    assert took < LIMIT
    assert list(destination.iterdir()) == []
    assert list(temporary.iterdir()) == []
    asked = {call.media_id for call in sandbox.calls()}
    assert reached.is_set()
    assert len(asked) <= WORKERS, "what was queued must never start"
    assert_nothing_comes_late(sandbox, destination)


def test_downloads_of_a_stopped_task_do_not_go_on(sandbox, stuck, operator, destination):
    reached = stuck("download.drip", interval=0.05)
    killer = threading.Thread(target=lambda: reached.wait(10) and operator.on_kill())
    killer.start()
    with pytest.raises(NxCloudCancelledError, match="cancelled"):
        operator.execute(context={})
    killer.join()

    # The sandbox would go on for hours.
    for thread in workers():
        thread.join(5)
    assert not any(thread.is_alive() for thread in workers())


@pytest.mark.parametrize("fault", ["download.stall", "api.hang"])
def test_timeout_of_the_task_ends_it(fault, sandbox, stuck, operator, destination):
    reached = stuck(fault)
    started = time.monotonic()

    with pytest.raises(AirflowTaskTimeout), timeout(0.7):
        operator.execute(context={})

    assert reached.is_set()
    assert time.monotonic() - started < 0.7 + LIMIT
    assert list(destination.iterdir()) == []
    assert len({call.media_id for call in sandbox.calls()}) == WORKERS
    assert_nothing_comes_late(sandbox, destination)


def test_on_kill_keeps_what_is_stored(sandbox, stuck, destination):
    reached = stuck("download.stall", workers=1)
    operator = NxCloudGetMediaOperator(
        task_id="fetch", media_ids=["1000000001", *MEDIA], destination=str(destination), max_workers=1
    )
    killer = threading.Thread(target=lambda: reached.wait(10) and operator.on_kill())
    killer.start()

    with pytest.raises(NxCloudCancelledError, match="cancelled"):
        operator.execute(context={})
    killer.join()

    (stored,) = destination.iterdir()
    assert stored.read_bytes() == sandbox.media["1000000001"].content


def test_on_kill_before_execute_is_not_lost(sandbox, operator, destination):
    operator.on_kill()

    with pytest.raises(NxCloudCancelledError):
        operator.execute(context={})
    assert sandbox.requests == []
    assert list(destination.iterdir()) == []


def test_on_kill_while_execute_imports_is_not_lost(sandbox, operator, destination, monkeypatch):
    name = "airflow_provider_nxcloud.transfer.result"
    spec = importlib.util.find_spec(name)

    class KillingFinder:
        @staticmethod
        def find_spec(wanted, *_):
            if wanted == name:
                operator.on_kill()
                return spec
            return None

    monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [KillingFinder, *sys.meta_path])

    with pytest.raises(NxCloudCancelledError):
        operator.execute(context={})
    assert sandbox.requests == []


class KillingPath(os.PathLike):
    """A destination that has the task killed at the moment it is looked at."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.operator: NxCloudGetMediaOperator | None = None

    def __fspath__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        if self.operator is not None:
            self.operator.on_kill()
        return str(self.path)


def test_on_kill_while_the_destination_is_made_ready_is_not_lost(sandbox, destination):
    path = KillingPath(destination)
    operator = NxCloudGetMediaOperator(task_id="fetch", media_ids=MEDIA, destination=path)
    path.operator = operator

    with pytest.raises(NxCloudCancelledError):
        operator.execute(context={})

    assert sandbox.requests == []
    assert list(destination.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("handler", "code", "fault"),
    [("returns", 33, "download.stall"), ("raises", 44, "api.hang")],
    ids=["handler returns, as in Airflow 3", "handler raises, as in Airflow 2"],
)
def test_sigterm_ends_the_process(handler, code, fault, stuck, start, destination):
    reached = stuck(fault)
    process = start(handler, *MEDIA)
    assert reached.wait(60)

    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=LIMIT)

    assert process.returncode == code, errors.decode()
    assert list(destination.iterdir()) == []


@pytest.mark.slow
def test_sigkill_leaves_nothing_that_looks_whole_and_the_next_run_goes_on(sandbox, stuck, start, destination):
    reached = stuck("download.stall", workers=1)
    process = start("returns", "1000000001", *MEDIA[:1])
    photo = destination / "1000000001.jpg"
    assert reached.wait(60)
    deadline = time.monotonic() + 10
    while not (photo.exists() and any(destination.rglob(f"{FOLDER_PREFIX}*/*"))):
        assert process.poll() is None
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)

    process.kill()
    process.wait()

    (stray,) = [path for path in destination.iterdir() if path != photo]
    assert stray.name.startswith(FOLDER_PREFIX)
    assert stray.name.startswith(".")
    assert photo.read_bytes() == sandbox.media["1000000001"].content

    sandbox.reset()
    records = NxCloudGetMediaOperator(
        task_id="fetch", media_ids=["1000000001", MEDIA[0]], destination=str(destination)
    ).execute(context={})

    assert [record["status"] for record in records] == ["skipped", "stored"]
    assert (destination / f"{MEDIA[0]}.mp4").read_bytes() == sandbox.media[MEDIA[0]].content
    assert stray.is_dir(), "it may belong to a run on another machine"

    os.utime(stray, (time.time() - 23 * 3600,) * 2)
    run_again(destination)
    assert stray.is_dir()
    os.utime(stray, (time.time() - 25 * 3600,) * 2)
    run_again(destination)
    assert sorted(path.name for path in destination.iterdir()) == ["1000000001.jpg", f"{MEDIA[0]}.mp4"]


def run_again(destination: Path) -> None:
    NxCloudGetMediaOperator(task_id="fetch", media_ids=["1000000001"], destination=str(destination)).execute(
        context={}
    )
