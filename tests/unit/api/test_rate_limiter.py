"""The pace: none before a refusal, a shared wait after it, and a rate that falls and grows."""

from __future__ import annotations

import heapq
import itertools
import threading
from contextlib import suppress

import pytest

from airflow_provider_nxcloud.api.rate_limiter import (
    DECREASE_FACTOR,
    INCREASE_PER_SECOND,
    MIN_RATE,
    AdaptiveRateLimiter,
)
from airflow_provider_nxcloud.exceptions import NxCloudCredentialsError, NxCloudUnavailableError
from airflow_provider_nxcloud.http.retries import MAX_RETRY_AFTER


class Clock:
    """Time that passes only in sleep and in calls."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def call(self, seconds: float = 0.1) -> float:
        """Stand for a call that goes through; return when it was made."""
        self.now += seconds
        return self.now - seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> AdaptiveRateLimiter:
    return AdaptiveRateLimiter(clock.sleep, clock)


def refuse(pace: AdaptiveRateLimiter, retry_after: float | None = 3.0) -> None:
    def attempt() -> None:
        raise NxCloudUnavailableError("HTTP 429", retry_after=retry_after)

    with pytest.raises(NxCloudUnavailableError):
        pace.call(attempt)


def gaps(pace: AdaptiveRateLimiter, clock: Clock, calls: int) -> list[float]:
    """Return the seconds between one call and the next."""
    times = [pace.call(lambda: clock.call(0)) for _ in range(calls)]
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def test_calls_are_not_held_back_before_a_refusal(pace, clock):
    assert gaps(pace, clock, 100) == [0] * 99
    assert clock.waits == []


def test_all_calls_wait_as_long_as_one_was_told(pace, clock):
    refuse(pace, retry_after=3)
    refused_at = clock.now
    assert pace.call(clock.call) == refused_at + 3


@pytest.mark.parametrize("error", [NxCloudUnavailableError("HTTP 500"), NxCloudCredentialsError("1003")])
def test_other_failures_hold_nothing_back(pace, clock, error):
    def attempt() -> None:
        raise error

    with pytest.raises(type(error)):
        pace.call(attempt)
    assert gaps(pace, clock, 5) == [0] * 4


def test_a_wait_too_long_for_a_worker_is_left_to_airflow(pace, clock):
    refuse(pace, MAX_RETRY_AFTER + 1)
    pace.call(clock.call)
    assert clock.waits == []


def test_rate_after_a_refusal_is_the_share_of_what_went_through(pace, clock):
    for _ in range(40):
        pace.call(lambda: clock.call(0.05))  # 20 a second
    refuse(pace, retry_after=0)
    pace.call(lambda: clock.call(0))
    assert gaps(pace, clock, 2)[0] == pytest.approx(1 / (20 * DECREASE_FACTOR), rel=0.1)


def test_rate_never_falls_below_the_least(pace, clock):
    for _ in range(5):
        clock.now += 1
        refuse(pace, retry_after=0)
    assert max(gaps(pace, clock, 3)) <= 1 / MIN_RATE


def test_rate_grows_by_so_much_a_second(pace, clock):
    refuse(pace, retry_after=0)
    started, times = clock.now, []
    while clock.now < started + 20:
        times.append(pace.call(lambda: clock.call(0)))
    last_second = sum(time > started + 19 for time in times)
    assert last_second == pytest.approx(MIN_RATE + 20 * INCREASE_PER_SECOND, rel=0.1)


def test_calls_that_were_under_way_at_a_refusal_cut_the_rate_once(clock):
    pace, together = AdaptiveRateLimiter(clock.sleep, clock), threading.Barrier(8)
    for _ in range(64):
        pace.call(lambda: clock.call(1 / 64))

    def attempt() -> None:
        together.wait(10)
        raise NxCloudUnavailableError("HTTP 429", retry_after=0.0)

    def call() -> None:
        with pytest.raises(NxCloudUnavailableError):
            pace.call(attempt)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock.now += 0.01
    pace.call(lambda: clock.call(0))
    assert gaps(pace, clock, 2)[0] == pytest.approx(1 / (64 * DECREASE_FACTOR), rel=0.1)


def test_a_sleep_that_raises_ends_every_call_that_waits():
    def stop(_: float) -> None:
        raise InterruptedError

    pace = AdaptiveRateLimiter(stop)
    refuse(pace, retry_after=60)
    ended = []

    def call() -> None:
        with pytest.raises(InterruptedError):
            pace.call(lambda: None)
        ended.append(True)

    threads = [threading.Thread(target=call, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(ended) == 4


def test_paces_that_know_nothing_of_each_other_settle_below_a_limit_they_share():
    """Eight tasks of sixteen threads at 20 calls a second, in simulated time."""
    limit, until = 20, 120.0
    admitted: list[float] = []
    made = {True: 0, False: 0}

    def gateway(now: float) -> None:
        admitted[:] = [at for at in admitted if at > now - 1]
        through = len(admitted) < limit
        if now > 20:
            made[through] += 1
        if not through:
            raise NxCloudUnavailableError("HTTP 429", retry_after=1.0)
        admitted.append(now)

    queue: list[tuple[float, int, AdaptiveRateLimiter, Clock]] = []
    for task in range(8):
        clock = Clock()
        clock.now = task / 100
        queue += [(clock.now, task, AdaptiveRateLimiter(clock.sleep, clock), clock)]
    while queue:
        at, task, pace, clock = heapq.heappop(queue)
        clock.now = max(clock.now, at)
        wait = max(0.0, pace._next - clock.now) if pace._rate else 0.0
        if wait > 1e-9:
            heapq.heappush(queue, (clock.now + wait, task, pace, clock))
            continue
        with suppress(NxCloudUnavailableError):
            pace.call(lambda clock=clock: gateway(clock.now))
        if clock.now < until:
            # Sixteen threads with calls of a quarter of a second.
            heapq.heappush(queue, (clock.now + 0.25 / 16, task, pace, clock))
    assert made[False] / (made[True] + made[False]) < 0.25
    assert made[True] / (until - 20) > limit * 0.6
