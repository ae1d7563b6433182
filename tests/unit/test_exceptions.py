"""The taxonomy: which class each code has, who is stopped by it, and that errors travel whole."""

from __future__ import annotations

import inspect
import pickle

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_nxcloud import exceptions
from airflow_provider_nxcloud.exceptions import NxCloudError

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
