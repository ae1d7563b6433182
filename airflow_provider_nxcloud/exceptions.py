"""
What can go wrong, one class a family, so that a DAG author can match on the class.

::

    NxCloudError
    ├── NxCloudInputError          (AirflowFailException, ValueError)  a bad argument or connection field
    │   └── NxCloudConnectionNotFoundError  (AirflowNotFoundException)  no such connection
    ├── NxCloudCredentialsError    (AirflowFailException)  1000-100x: access key or secret
    ├── NxCloudClockError          (AirflowFailException)  1004 again after the clock was corrected
    ├── NxCloudRequestError        (AirflowFailException)  1001, 1002, 9000, other HTTP statuses: the caller
    ├── NxCloudPhoneNumberError    (AirflowFailException)  9002, 9006: business_phone
    ├── NxCloudUnavailableError    the API cannot be reached, is overloaded or talks nonsense
    ├── NxCloudMediaNotReadyError  -1, 9001, no url: this media cannot be had now
    ├── NxCloudDownloadError       a download failed and may pass later
    ├── NxCloudMediaRefusedError   this media can never be stored as asked
    │   └── NxCloudMediaGoneError  the store behind NXCloud no longer has the file
    ├── NxCloudStorageError        the destination cannot be read or written
    ├── NxCloudCancelledError      the task was told to stop
    └── NxCloudMediaFailedError    the operator's summary: some media were not stored
        └── NxCloudMediaLostError  (AirflowFailException)  and no retry can bring them

Every class that is an ``AirflowFailException`` stops the task without a retry, because each retry would fail
alike. The codes are those of NXCloud's page "WhatsApp API getMedia".
"""

from __future__ import annotations

from typing import NamedTuple

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
)


class NxCloudError(AirflowException):
    """
    Base of every error this provider raises about NXCloud, its media and their destination.

    :param message: the whole text: what is wrong, where, and what to do.
    :param code: NXCloud's code, where NXCloud gave one.
    :param media_id: the media concerned, where it is about one.
    :param retry_after: seconds the server asked to wait before the next attempt.
    """

    def __init__(
        self,
        message: str = "",
        *,
        code: int | None = None,
        media_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.media_id = media_id
        self.retry_after = retry_after


class NxCloudInputError(NxCloudError, AirflowFailException, ValueError):
    """An argument or a field of the connection is wrong; the author of the DAG or the connection mends it."""


class NxCloudConnectionNotFoundError(NxCloudInputError, AirflowNotFoundException):
    """There is no such Airflow Connection."""


class NxCloudCredentialsError(NxCloudError, AirflowFailException):
    """NXCloud refuses the access key or its secret (1000, 1003, 1005 to 1009)."""


class NxCloudClockError(NxCloudError, AirflowFailException):
    """NXCloud calls the timestamp expired (1004), also after the clock offset was learned from its answer."""


class NxCloudRequestError(NxCloudError, AirflowFailException):
    """NXCloud refuses the request itself (1001, 1002, 9000, a redirect, an HTTP status that no retry mends)."""


class NxCloudPhoneNumberError(NxCloudError, AirflowFailException):
    """The merchant number is not a WhatsApp number (9002) or not bound to the application (9006)."""


class NxCloudUnavailableError(NxCloudError):
    """The API cannot be reached, is overloaded (429, 5xx) or answers what NXCloud does not document."""


class NxCloudMediaNotReadyError(NxCloudError):
    """NXCloud cannot serve this media now (-1, 9001, or success without a URL); it may later."""


class NxCloudDownloadError(NxCloudError):
    """A download failed or was not what was announced; another attempt may succeed."""


class NxCloudMediaRefusedError(NxCloudError):
    """A media that can never be stored as asked: too large, a forbidden host, a name already taken."""


class NxCloudMediaGoneError(NxCloudMediaRefusedError):
    """The file behind the media ID is gone: its URL answers 404, also some seconds later."""


class NxCloudStorageError(NxCloudError):
    """The destination cannot be read or written; the text names the connection, the path and the cause."""


class NxCloudCancelledError(NxCloudError):
    """The task was told to stop (``on_kill``) before all media were stored."""


class NxCloudMediaFailedError(NxCloudError):
    """Some media were not stored; another try of the task may store them."""


class NxCloudMediaLostError(NxCloudMediaFailedError, AirflowFailException):
    """Some media were not stored and never can be; a retry would not help."""


class NxCloudCode(NamedTuple):
    """What one of NXCloud's codes means and who can fix it."""

    meaning: str
    remedy: str
    error: type[NxCloudError]


_CREDENTIALS = "check login (access key) and password (access secret) of the connection"
CODES: dict[int, NxCloudCode] = {
    -1: NxCloudCode("request failed", "it may pass later", NxCloudMediaNotReadyError),
    1001: NxCloudCode(
        "a common header is missing", "a proxy may strip headers on the way to NXCloud", NxCloudRequestError
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
    9001: NxCloudCode("system business error", "it may pass later", NxCloudMediaNotReadyError),
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
_UNDOCUMENTED = NxCloudCode("a code NXCloud does not document", "it may pass later", NxCloudUnavailableError)


def describe_code(code: int) -> NxCloudCode:
    """
    Return what a code other than 0 means.

    :param code: NXCloud's ``code``; 1000 to 1009 without an entry of their own count as authentication
        trouble, any other unknown code as an answer NXCloud does not document.
    :return: meaning, remedy and the class to raise.
    """
    return CODES.get(code) or (_OTHER_AUTHENTICATION if 1000 <= code <= 1009 else _UNDOCUMENTED)
