"""Run work in daemon threads without blocking the caller."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from airflow_provider_nxcloud.exceptions import NxCloudCancelledError

T = TypeVar("T")
R = TypeVar("R")

#: Seconds to wait for cancelled threads. A task has to end within three seconds after it was cancelled, and
#: there is more to do in that time.
_JOIN_TIMEOUT = 0.5


def run_in_threads(
    work: Callable[[T], R], items: Iterable[T], *, threads: int, stop: threading.Event, tick: float
) -> Iterator[tuple[T, R] | None]:
    """
    Work on items in daemon threads and yield each result as soon as it is available.

    ``concurrent.futures`` would wait for its threads when an exception is raised, and again when the process
    ends; one stalled read would then outlive a cancelled task.

    None is yielded after ``tick`` seconds without a result, so that the consumer can do other things. ``stop``
    ends it, and is set when the consumer leaves early or work raises, which is raised again here.
    """
    results: queue.SimpleQueue[tuple[T, R] | BaseException] = queue.SimpleQueue()
    todo = deque(items)
    waiting_for = len(todo)

    def take() -> None:
        while not stop.is_set():
            try:
                item = todo.popleft()
            except IndexError:
                return
            try:
                results.put((item, work(item)))
            except BaseException as error:  # noqa: BLE001, raised again in the consumer
                todo.clear()
                results.put(error)

    workers = [
        threading.Thread(target=take, name=f"nxcloud-{number}", daemon=True)
        for number in range(min(threads, waiting_for))
    ]
    for worker in workers:
        worker.start()
    try:
        while waiting_for and not stop.is_set():
            result = _get(results, tick)
            if isinstance(result, BaseException):
                raise result
            waiting_for -= result is not None
            yield result
    except BaseException:
        stop.set()
        raise
    finally:
        todo.clear()
        until = time.monotonic() + _JOIN_TIMEOUT
        for worker in workers:
            worker.join(max(0.0, until - time.monotonic()))


def _get(results: queue.SimpleQueue[T], seconds: float) -> T | None:
    try:
        return results.get(timeout=seconds)
    except queue.Empty:
        return None


def run_with_time_limit(work: Callable[[], object], *, seconds: float) -> None:
    """Run work, which must not raise, in a daemon thread, and wait at most ``seconds`` for it."""
    thread = threading.Thread(target=work, name="nxcloud-time-limited", daemon=True)
    thread.start()
    thread.join(seconds)


def stoppable_sleep(stop: threading.Event) -> Callable[[float], None]:
    """Return a sleep that raises :class:`NxCloudCancelledError` once the event is set."""

    def sleep(seconds: float) -> None:
        if stop.wait(seconds):
            raise NxCloudCancelledError("the task was cancelled")

    return sleep


class WeightedSemaphore:
    """A weighted semaphore; one request waits for capacity at a time, so that large ones do not starve."""

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._queue = threading.Lock()
        self._changed = threading.Condition()

    @contextmanager
    def acquire(self, size: int) -> Iterator[None]:
        """Wait for capacity and hold it; a request larger than all of it takes all of it."""
        size = min(size, self._size)
        with self._queue, self._changed:
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()
