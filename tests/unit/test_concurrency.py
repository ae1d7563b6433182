"""Threads that work through items: what comes out when, and that nothing waits for them."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from airflow_provider_nxcloud.concurrency import WeightedSemaphore, run_in_threads, run_with_time_limit

TIMEOUT = 10


@pytest.fixture
def stop():
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def gate():
    """Holds the work of a test, at the latest until the test ends."""
    event = threading.Event()
    yield event
    event.set()


def run(work, items, *, stop, threads=2, tick=TIMEOUT):
    return run_in_threads(work, items, threads=threads, stop=stop, tick=tick)


def test_workers_every_item_gives_its_result(stop):
    results = list(run(lambda item: item * 10, range(50), stop=stop, threads=4))
    assert sorted(results) == [(item, item * 10) for item in range(50)]


def test_workers_without_items_give_nothing(stop):
    assert list(run(str, [], stop=stop)) == []


def test_workers_one_thread_keeps_the_order(stop):
    assert [item for item, _ in run(str, range(20), stop=stop, threads=1)] == list(range(20))


def test_workers_results_come_in_order_of_completion(stop, gate):
    def work(item):
        if item == "slow":
            gate.wait(TIMEOUT)
        return item

    results = run(work, ["slow", "fast"], stop=stop)
    assert next(results) == ("fast", "fast")
    gate.set()
    assert next(results) == ("slow", "slow")
    assert list(results) == []


def test_workers_run_as_many_threads_as_asked_and_no_more(stop):
    # The barrier opens for three at once only; a fourth thread would leave its name.
    barrier = threading.Barrier(3)
    names = {name for _, name in run(lambda _: _meet(barrier), range(6), stop=stop, threads=3)}
    assert len(names) == 3


def _meet(barrier: threading.Barrier) -> str:
    barrier.wait(TIMEOUT)
    return threading.current_thread().name


def test_workers_start_no_more_threads_than_items(stop, monkeypatch):
    started, start = [], threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda self: (started.append(self.name), start(self)))
    assert len(list(run(str, range(3), stop=stop, threads=200))) == 3
    assert len([name for name in started if name.startswith("nxcloud-")]) == 3


def test_workers_are_daemons(stop):
    assert [daemon for _, daemon in run(lambda _: threading.current_thread().daemon, [1], stop=stop)] == [
        True
    ]


def test_workers_without_result_yield_none_each_tick(stop, gate):
    results = run(lambda _: gate.wait(TIMEOUT), ["item"], stop=stop, tick=0.01)
    assert [next(results), next(results)] == [None, None]
    gate.set()
    assert [result for result in results if result] == [("item", True)]


@pytest.mark.parametrize("error", [ValueError("bad item"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_workers_error_is_raised_and_stops_the_others(stop, error):
    def work(item):
        if item == 0:
            raise error
        return item

    with pytest.raises(type(error)) as caught:
        list(run(work, range(1000), stop=stop, threads=1))
    assert caught.value is error
    assert stop.is_set()


def test_workers_error_leaves_at_once_although_another_item_stalls(stop, gate):
    stalled = threading.Event()

    def work(item):
        if item == "stalled":
            stalled.set()
            gate.wait(TIMEOUT)
        stalled.wait(TIMEOUT)
        raise ValueError(item)

    with pytest.raises(ValueError, match="bad"):
        list(run(work, ["stalled", "bad"], stop=stop))
    assert not gate.is_set()


def test_workers_stopped_end_although_an_item_stalls(stop, gate):
    taken = []

    def work(item):
        taken.append(item)
        gate.wait(TIMEOUT)

    results = run(work, ["stalled", "never taken"], stop=stop, threads=1, tick=0.01)
    assert next(results) is None
    stop.set()
    assert list(results) == []
    gate.set()
    _join("nxcloud-")
    assert taken == ["stalled"]


def test_workers_left_early_stop(stop, gate):
    taken = []

    def work(item):
        taken.append(item)
        if item:
            gate.wait(TIMEOUT)

    results = run(work, range(100), stop=stop, threads=1)
    assert next(results) == (0, None)
    results.close()
    assert stop.is_set()
    gate.set()
    _join("nxcloud-")
    assert len(taken) <= 2


def test_workers_stopped_before_the_start_take_nothing(stop):
    stop.set()
    taken = []
    assert list(run(taken.append, range(10), stop=stop)) == []
    _join("nxcloud-")
    assert taken == []


def test_workers_stalled_do_not_hold_the_process():
    code = (
        "import threading\n"
        "from airflow_provider_nxcloud.concurrency import run_in_threads\n"
        "stop, never = threading.Event(), threading.Event()\n"
        "results = run_in_threads(lambda _: never.wait(), [1, 2], threads=2, stop=stop, tick=0.01)\n"
        "print(next(results))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT, check=True
    )
    assert "None" in done.stdout.splitlines()


def _join(prefix: str) -> None:
    for thread in threading.enumerate():
        if thread.name.startswith(prefix) and not thread.name.startswith("nxcloud-sandbox"):
            thread.join(TIMEOUT)
            assert not thread.is_alive()


def test_workers_that_end_well_leave_stop_to_its_owner(stop):
    list(run(str, range(5), stop=stop))
    assert not stop.is_set()


def test_workers_told_to_stop_are_given_a_moment_to_clean_up(stop):
    cleaned, started = threading.Event(), threading.Event()

    def work(item):
        started.set()
        stop.wait(TIMEOUT)
        threading.Event().wait(0.1)
        cleaned.set()

    results = run(work, [1], stop=stop, tick=0.01)
    assert next(results) is None
    assert started.wait(TIMEOUT)
    stop.set()
    list(results)
    assert cleaned.is_set()


def test_in_passing_waits_no_longer_than_said(gate):
    started = time.monotonic()
    run_with_time_limit(lambda: gate.wait(TIMEOUT), seconds=0.1)
    assert 0.1 <= time.monotonic() - started < TIMEOUT / 2


def test_in_passing_waits_for_what_takes_a_moment():
    done = []
    run_with_time_limit(lambda: (threading.Event().wait(0.05), done.append(1)), seconds=TIMEOUT)
    assert done == [1]


def hold(room, size, inside, gate):
    with room.acquire(size):
        inside.release()
        gate.wait(TIMEOUT)


@pytest.mark.parametrize(("size", "fit"), [(1, 10), (3, 3), (10, 1), (99, 1)])
def test_room_lets_in_no_more_than_fits(size, fit, gate):
    room, inside = WeightedSemaphore(10), threading.Semaphore(0)
    threads = [threading.Thread(target=hold, args=(room, size, inside, gate)) for _ in range(fit + 3)]
    for thread in threads:
        thread.start()
    for _ in range(fit):
        assert inside.acquire(timeout=TIMEOUT)
    assert not inside.acquire(timeout=0.05)
    gate.set()
    for thread in threads:
        thread.join(TIMEOUT)
    with room.acquire(10):
        pass


def test_room_gives_a_large_request_its_turn_before_later_small_ones(gate):
    room, inside, small = WeightedSemaphore(10), threading.Semaphore(0), threading.Semaphore(0)
    first, large = (threading.Thread(target=hold, args=(room, size, inside, gate)) for size in (6, 10))
    first.start()
    assert inside.acquire(timeout=TIMEOUT)
    large.start()
    deadline = time.monotonic() + TIMEOUT
    while not room._queue.locked() and time.monotonic() < deadline:
        time.sleep(0.001)
    later = threading.Thread(target=hold, args=(room, 1, small, gate))
    later.start()
    assert not small.acquire(timeout=0.1)  # although it would fit beside the first
    gate.set()
    for semaphore in (inside, small):
        assert semaphore.acquire(timeout=TIMEOUT)
    for thread in (first, large, later):
        thread.join(TIMEOUT)


def test_room_is_left_by_an_error():
    room = WeightedSemaphore(10)
    with pytest.raises(ValueError, match="out"), room.acquire(10):
        raise ValueError("out")
    with room.acquire(10):
        pass
