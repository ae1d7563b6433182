"""
The rate at which a task calls NXCloud once NXCloud limits it.

Retries alone do not help against a rate limit: each call waits by itself, while the others continue at full
speed and are refused as well. Here all calls of a client wait together, as long as ``Retry-After`` says, and
continue at a rate that is halved when calls are refused and grows slowly while they are not, as TCP does (AIMD).
Tasks on other workers do the same, and settle around the limit they share without any communication.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from airflow_provider_nxcloud.exceptions import NxCloudUnavailableError
from airflow_provider_nxcloud.http.retries import MAX_RETRY_AFTER

log = logging.getLogger(__name__)

T = TypeVar("T")

#: What is left of the rate after a refusal.
DECREASE_FACTOR = 0.5
#: What the rate grows by in each second without one, in calls a second.
INCREASE_PER_SECOND = 0.5
#: The rate never falls below this, in calls a second.
MIN_RATE = 0.5


class AdaptiveRateLimiter:
    """Hold calls back after a refusal; none before the first one. May be used by many threads at once."""

    def __init__(self, sleep: Callable[[float], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._sleep = sleep
        self._clock = clock
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        #: Calls a second, None before the first refusal.
        self._rate: float | None = None
        self._next = 0.0
        self._cut_at = float("-inf")
        #: When the last calls went through; more a second are not told apart.
        self._passed: deque[float] = deque(maxlen=1000)

    def call(self, attempt: Callable[[], T]) -> T:
        """Make a call when it is its turn."""
        if self._rate is not None:
            self._wait()
        started = self._clock()
        try:
            result = attempt()
        except NxCloudUnavailableError as error:
            # Asked to wait for longer, every call is left to Airflow's own retry.
            if error.retry_after is not None and error.retry_after <= MAX_RETRY_AFTER:
                self._refused(started, error.retry_after)
            raise
        self._went_through()
        return result

    def _wait(self) -> None:
        # One waits for the next call, the others for it: a stop ends the first sleep, and so the others.
        with self._turn:
            seconds = self._next - self._clock()
            if seconds > 0:
                self._sleep(seconds)
            with self._lock:
                self._next = max(self._next, self._clock()) + 1 / (self._rate or MIN_RATE)

    def _refused(self, started: float, retry_after: float) -> None:
        with self._lock:
            now = self._clock()
            self._next = max(self._next, now + retry_after)
            # Calls that were under way when the rate was cut say nothing about what it is now.
            if started <= self._cut_at:
                return
            self._cut_at = now
            if self._rate is None:
                self._rate = sum(at >= now - 1 for at in self._passed)
            self._rate = max(self._rate * DECREASE_FACTOR, MIN_RATE)
            log.info(
                "NXCloud is rate limiting: pausing %.1f s, then at most %.1f calls/s", retry_after, self._rate
            )

    def _went_through(self) -> None:
        with self._lock:
            if self._rate is None:
                self._passed.append(self._clock())
            else:
                self._rate += INCREASE_PER_SECOND / self._rate
