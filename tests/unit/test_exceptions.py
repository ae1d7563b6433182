"""The taxonomy: which class each code has, who is stopped by it, and that errors travel whole."""

from __future__ import annotations

import inspect
import pickle

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_nxcloud import exceptions
from airflow_provider_nxcloud.exceptions import (
    NxCloudClockError,
    NxCloudCredentialsError,
    NxCloudError,
    NxCloudMediaNotReadyError,
    NxCloudPhoneNumberError,
    NxCloudRequestError,
    NxCloudUnavailableError,
    describe_code,
)

CLASSES = sorted(
    (kind for _, kind in inspect.getmembers(exceptions, inspect.isclass) if issubclass(kind, NxCloudError)),
    key=lambda kind: kind.__name__,
)
STOP_THE_TASK = {
    "NxCloudConnectionNotFoundError",
    "NxCloudInputError",
    "NxCloudCredentialsError",
    "NxCloudClockError",
    "NxCloudRequestError",
    "NxCloudPhoneNumberError",
    "NxCloudMediaLostError",
    "NxCloudStorageRefusedError",
}
ROWS = [
    (-1, NxCloudMediaNotReadyError, "request failed"),
    (1000, NxCloudCredentialsError, "authentication"),
    (1001, NxCloudRequestError, "header is missing"),
    (1002, NxCloudRequestError, "bizType, action or a body parameter"),
    (1003, NxCloudCredentialsError, "invalid signature"),
    (1004, NxCloudClockError, "timestamp expired"),
    (1005, NxCloudCredentialsError, "access key"),
    (1006, NxCloudCredentialsError, "authentication"),
    (1007, NxCloudCredentialsError, "authentication"),
    (1008, NxCloudCredentialsError, "authentication"),
    (1009, NxCloudCredentialsError, "authentication"),
    (9000, NxCloudRequestError, "body parameter is missing"),
    (9001, NxCloudMediaNotReadyError, "system business error"),
    (9002, NxCloudPhoneNumberError, "not a WhatsApp number"),
    (9006, NxCloudPhoneNumberError, "not bound"),
    (999, NxCloudUnavailableError, "not document"),
    (1010, NxCloudUnavailableError, "not document"),
    (7777, NxCloudUnavailableError, "not document"),
    (-2, NxCloudUnavailableError, "not document"),
]


@pytest.mark.parametrize(("code", "kind", "meaning"), ROWS)
def test_code_is_described_by_class_and_meaning(code, kind, meaning):
    described = describe_code(code)
    assert described.error is kind
    assert meaning in described.meaning
    assert described.remedy


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_class_stops_the_task_only_where_a_retry_cannot_help(kind):
    assert issubclass(kind, AirflowException)
    assert issubclass(kind, AirflowFailException) == (kind.__name__ in STOP_THE_TASK)


def test_input_error_is_a_value_error():
    assert issubclass(exceptions.NxCloudInputError, ValueError)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_error_pickled_keeps_class_text_and_attributes(kind):
    error = kind("what, where, what to do", code=1005, media_id="1001", retry_after=2.5)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == "what, where, what to do"
    assert (copy.code, copy.media_id, copy.retry_after) == (1005, "1001", 2.5)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_error_without_details_has_them_as_none(kind):
    error = kind("text")
    assert (error.code, error.media_id, error.retry_after) == (None, None, None)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_retry_policy_of_airflow_matches_by_dotted_name(kind):
    policies = pytest.importorskip("airflow.sdk.definitions.retry_policy")
    rule = policies.RetryRule(
        exception=f"{kind.__module__}.{kind.__name__}", action=policies.RetryAction.FAIL
    )
    policy = policies.ExceptionRetryPolicy(rules=[rule])
    assert policy.evaluate(kind("text"), 1, 3).action is policies.RetryAction.FAIL
    other = RuntimeError("not ours")
    assert policy.evaluate(other, 1, 3).action is policies.RetryAction.DEFAULT
