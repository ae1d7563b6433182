"""Which class each code has, and in which words."""

from __future__ import annotations

import pytest

from airflow_provider_nxcloud.api.codes import describe_code
from airflow_provider_nxcloud.exceptions import (
    NxCloudClockError,
    NxCloudCredentialsError,
    NxCloudMediaNotReadyError,
    NxCloudPhoneNumberError,
    NxCloudRequestError,
    NxCloudUnavailableError,
)

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
