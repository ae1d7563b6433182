"""What each of NXCloud's codes means, as its page "WhatsApp API getMedia" says, and who can fix it."""

from __future__ import annotations

from typing import NamedTuple

from airflow_provider_nxcloud.exceptions import (
    TEMPORARY,
    NxCloudClockError,
    NxCloudCredentialsError,
    NxCloudError,
    NxCloudMediaNotReadyError,
    NxCloudPhoneNumberError,
    NxCloudRequestError,
    NxCloudUnavailableError,
)


class NxCloudCode(NamedTuple):
    """What one of NXCloud's codes means and who can fix it."""

    meaning: str
    remedy: str
    error: type[NxCloudError]


_CREDENTIALS = "check login (access key) and password (access secret) of the connection"
CODES: dict[int, NxCloudCode] = {
    -1: NxCloudCode(
        "request failed",
        f"{TEMPORARY}, or the media ID is wrong or older than seven days",
        NxCloudMediaNotReadyError,
    ),
    1001: NxCloudCode(
        "a common header is missing",
        "check whether a proxy removes headers on the way to NXCloud",
        NxCloudRequestError,
    ),
    1002: NxCloudCode(
        "bizType, action or a body parameter is wrong",
        "check the action and its parameters",
        NxCloudRequestError,
    ),
    1003: NxCloudCode("invalid signature", _CREDENTIALS, NxCloudCredentialsError),
    1004: NxCloudCode("timestamp expired", "correct the clock of this machine", NxCloudClockError),
    1005: NxCloudCode("access key wrong or without the permission", _CREDENTIALS, NxCloudCredentialsError),
    9000: NxCloudCode("a body parameter is missing", "check the parameters", NxCloudRequestError),
    9001: NxCloudCode("system business error", TEMPORARY, NxCloudMediaNotReadyError),
    9002: NxCloudCode(
        "the merchant number is not a WhatsApp number", "fix business_phone", NxCloudPhoneNumberError
    ),
    9006: NxCloudCode(
        "the WhatsApp number is not bound to the application",
        "have NXCloud bind business_phone to the application",
        NxCloudPhoneNumberError,
    ),
}
_OTHER_AUTHENTICATION = NxCloudCode("authentication trouble", _CREDENTIALS, NxCloudCredentialsError)
_UNDOCUMENTED = NxCloudCode("a code NXCloud does not document", TEMPORARY, NxCloudUnavailableError)


def describe_code(code: int) -> NxCloudCode:
    """Return what a code means; 0 is undocumented here, and 1000 to 1009 without a row are authentication."""
    return CODES.get(code) or (_OTHER_AUTHENTICATION if 1000 <= code <= 1009 else _UNDOCUMENTED)
