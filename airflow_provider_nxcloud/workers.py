"""Many at once, without ever holding the process: daemon threads and a consumer that keeps its breath."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Seconds that threads which were told to stop are waited for. A task has to be over three seconds after it was
#: told to stop, and there is more to be done in them.
_FAREWELL = 0.5


def run_in_threads(
    work: Callable[[T], R], items: Iterable[T], *, threads: int, stop: threading.Event, tick: float
) -> Iterator[tuple[T, R] | None]:
    """
    Work on items in daemon threads and yield each result as soon as it is there.

    ``concurrent.futures`` would wait for its threads when an exception leaves, and again when the process
    ends; one stalled read then outlives a task that was told to stop.

    :param work: called with each item.
    :param items: what to work on, taken as threads get free.
    :param threads: how many threads at most.
    :param stop: once set, no further item is taken and the iteration ends; set by this function too when the
        consumer leaves early or an item's work raises.
    :param tick: seconds without a result after which None is yielded, so that the consumer can look around.
    :return: pairs of item and result in the order of completion, and None now and then.
    :raises BaseException: what the work on an item raised.
    """
    results: queue.SimpleQueue[tuple[T, R] | BaseException] = queue.SimpleQueue()
    todo: queue.SimpleQueue[T] = queue.SimpleQueue()
    for item in items:
        todo.put(item)
    waiting_for = todo.qsize()

    over = threading.Event()

    def take() -> None:
        while not stop.is_set() and not over.is_set():
            try:
                item = todo.get_nowait()
            except queue.Empty:
                return
            try:
                results.put((item, work(item)))
            except BaseException as error:  # noqa: BLE001, it is raised again where it is awaited
                over.set()
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
        over.set()
        _take_leave_of(workers)


def _get(results: queue.SimpleQueue[T], seconds: float) -> T | None:
    try:
        return results.get(timeout=seconds)
    except queue.Empty:
        return None


def run_in_passing(work: Callable[[], object], *, seconds: float) -> None:
    """
    Do something on the way out, if it takes a moment only.

    :param work: what to do; it must not raise, and goes on in a daemon thread when it takes longer.
    :param seconds: how long to wait for it.
    """
    thread = threading.Thread(target=work, name="nxcloud-in-passing", daemon=True)
    thread.start()
    thread.join(seconds)


class Room:
    """
    Room for so much at once, given in turn: what is large is not passed by for ever by what is small.

    :param size: how much.
    """

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._door = threading.Lock()
        self._changed = threading.Condition()

    @contextmanager
    def take(self, size: int) -> Iterator[None]:
        """
        Wait for room and hold it.

        :param size: how much; what is larger than the room takes all of it.
        """
        size = min(size, self._size)
        with self._door, self._changed:
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()


def _take_leave_of(workers: Iterable[threading.Thread]) -> None:
    """Give threads the time to clean up behind themselves, unless they are stuck."""
    until = time.monotonic() + _FAREWELL
    for worker in workers:
        worker.join(max(0.0, until - time.monotonic()))
