"""
The one retry policy, for API calls and downloads alike.

Retried are temporary errors, up to ``max_attempts`` attempts, after an exponential wait
with jitter (0.5 to 1.5 s at first, at most 31 s) or what the server's ``Retry-After`` asks for, if that is
longer. Everything else is raised at once, and the last error is raised as it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_exponential,
    wait_random,
)

from airflow_provider_nxcloud.exceptions import NxCloudError
from airflow_provider_nxcloud.text import OncePerCause

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds after which a retry with the same cause is logged at INFO again.
RETRY_LOG_INTERVAL = 60.0
#: HTTP statuses below 500 that ask to come again.
RETRYABLE_STATUSES = frozenset({408, 425, 429})
#: The longest wait a server may ask for, in seconds; asked for more, the policy gives up at once and leaves the
#: waiting to Airflow's own retry, which holds no worker.
MAX_RETRY_AFTER = 300.0

#: The wait before the second attempt is 0.5 to 1.5 s, and doubles up to 31 s.
BACKOFF = wait_exponential(multiplier=0.5, max=30) + wait_random(0, 1)


def call_with_retries(
    attempt: Callable[[], T],
    *kinds: type[NxCloudError],
    max_attempts: int,
    sleep: Callable[[float], None],
    log_once: OncePerCause,
    max_seconds: float = float("inf"),
) -> T:
    """
    Call a function under the policy, which retries what ``kinds`` it raises.

    ``sleep`` may raise to end the retrying. No attempt starts later than ``max_seconds`` after the first.
    ``log_once`` chooses which failures are logged at INFO; the others are at DEBUG.
    """
    started = time.monotonic()
    # The policy is made only once the first attempt has failed, because it takes a while and most succeed.
    try:
        return attempt()
    except kinds as error:
        first_errors = [error]

    def attempt_again() -> T:
        if first_errors:
            raise first_errors.pop()
        return attempt()

    def is_retryable(error: BaseException) -> bool:
        return isinstance(error, kinds) and (error.retry_after or 0.0) <= MAX_RETRY_AFTER

    left = max_seconds - (time.monotonic() - started)
    policy = Retrying(
        stop=stop_after_attempt(max_attempts) | stop_before_delay(left),
        wait=_wait,
        retry=retry_if_exception(is_retryable),
        before_sleep=partial(_log_wait, log_once),
        sleep=sleep,
        reraise=True,
    )
    return policy(attempt_again)


def _error(state: RetryCallState) -> Any:
    return state.outcome and state.outcome.exception()


def _wait(state: RetryCallState) -> float:
    return max(BACKOFF(state), _error(state).retry_after or 0.0)


def _log_wait(log_once: OncePerCause, state: RetryCallState) -> None:
    error, wait = _error(state), state.upcoming_sleep
    level = logging.INFO if log_once.is_due(error.summary) else logging.DEBUG
    log.log(level, "Attempt %d failed: %s; retrying in %.1f s", state.attempt_number, error, wait)
