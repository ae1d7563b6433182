"""The retry policy: how often, how long in between, and what is raised at the end."""

from __future__ import annotations

import logging
import time

import pytest

from airflow_provider_nxcloud.exceptions import (
    NxCloudCredentialsError,
    NxCloudDownloadError,
    NxCloudUnavailableError,
)
from airflow_provider_nxcloud.http.retries import MAX_RETRY_AFTER, call_with_retries
from airflow_provider_nxcloud.text import OncePerCause


class Flaky:
    """Raises the errors one after the other, then returns."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return "done"


def unavailable(retry_after: float | None = None) -> NxCloudUnavailableError:
    return NxCloudUnavailableError("HTTP 503", retry_after=retry_after)


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def policy(waits):
    def policy(work, max_attempts: int = 5, **options):
        options = {"sleep": waits.append, "log_once": OncePerCause(0), **options}
        return call_with_retries(work, NxCloudUnavailableError, max_attempts=max_attempts, **options)

    return policy


def test_policy_passing_failure_returns_the_result(policy, waits):
    work = Flaky(unavailable(), unavailable())
    assert policy(work) == "done"
    assert (work.calls, len(waits)) == (3, 2)


def test_policy_lasting_failure_raises_the_last_error_itself(policy, waits):
    errors = [unavailable() for _ in range(9)]
    work = Flaky(*errors)
    with pytest.raises(NxCloudUnavailableError) as caught:
        policy(work, max_attempts=4)
    assert caught.value is errors[3]
    assert (work.calls, len(waits)) == (4, 3)


def test_policy_one_attempt_waits_never(policy, waits):
    work = Flaky(unavailable())
    with pytest.raises(NxCloudUnavailableError):
        policy(work, max_attempts=1)
    assert (work.calls, waits) == (1, [])


@pytest.mark.parametrize("error", [NxCloudCredentialsError("no"), NxCloudDownloadError("no"), KeyError("no")])
def test_policy_other_error_is_raised_at_once(policy, waits, error):
    work = Flaky(error)
    with pytest.raises(type(error)):
        policy(work)
    assert (work.calls, waits) == (1, [])


def test_policy_waits_double_with_jitter_up_to_a_cap(policy, waits):
    with pytest.raises(NxCloudUnavailableError):
        policy(Flaky(*[unavailable() for _ in range(12)]), max_attempts=12)
    lowest = [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30]
    assert len(waits) == len(lowest)
    assert all(low <= wait <= low + 1 for low, wait in zip(lowest, waits, strict=True))
    assert len({wait - low for low, wait in zip(lowest, waits, strict=True)}) > 1


def test_policy_retry_after_longer_than_backoff_is_kept(policy, waits):
    assert policy(Flaky(unavailable(retry_after=7))) == "done"
    assert waits == [7]


def test_policy_retry_after_shorter_than_backoff_does_not_shorten_it(policy, waits):
    assert policy(Flaky(unavailable(retry_after=0.1))) == "done"
    assert 0.5 <= waits[0] <= 1.5


def test_policy_longest_retry_after_is_still_waited(policy, waits):
    assert policy(Flaky(unavailable(retry_after=MAX_RETRY_AFTER))) == "done"
    assert waits == [MAX_RETRY_AFTER]


def test_policy_retry_after_beyond_the_limit_gives_up_at_once(policy, waits):
    work = Flaky(unavailable(retry_after=MAX_RETRY_AFTER + 1))
    with pytest.raises(NxCloudUnavailableError):
        policy(work)
    assert (work.calls, waits) == (1, [])


def test_policy_time_limit_starts_no_attempt_behind_it(policy, waits):
    work = Flaky(unavailable(retry_after=7), unavailable())
    with pytest.raises(NxCloudUnavailableError):
        policy(work, max_seconds=5)
    assert (work.calls, waits) == (1, [])


@pytest.mark.usefixtures("no_backoff")
def test_policy_time_limit_counts_from_the_first_attempt(policy):
    work = Flaky(unavailable(), unavailable())

    def slow_work() -> str:
        time.sleep(0.1)
        return work()

    with pytest.raises(NxCloudUnavailableError):
        policy(slow_work, max_seconds=0.1)
    assert work.calls == 1


def test_policy_sleep_that_raises_ends_the_retrying(policy):
    def stop(_: float) -> None:
        raise InterruptedError

    work = Flaky(unavailable(), unavailable())
    with pytest.raises(InterruptedError):
        policy(work, sleep=stop)
    assert work.calls == 1


def test_policy_wait_is_logged_with_attempt_and_cause(policy, caplog):
    caplog.set_level(logging.INFO, logger="airflow_provider_nxcloud")
    policy(Flaky(unavailable(retry_after=7)))
    assert [record.getMessage() for record in caplog.records] == [
        "Attempt 1 failed: HTTP 503; retrying in 7.0 s"
    ]
