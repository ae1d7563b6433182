"""
What can go wrong, one class for each kind, so that a DAG author can match on the class.

Every class that is an ``AirflowFailException`` fails the task without a retry, because each retry would fail
in the same way. What each of NXCloud's codes means is in :mod:`airflow_provider_nxcloud.api.codes`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
)

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger(__name__)

#: The remedy of what a retry may fix.
TEMPORARY = "this may be temporary"


class NxCloudError(AirflowException):
    """
    Base of every error this provider raises about NXCloud, its media files and their destination.

    The text reads ``cause; remedy (place)``: Airflow's UI cuts long lines, and the cause must stay visible.

    :param cause: what is wrong, in the same words for all media files that fail because of it.
    :param remedy: what to do about it.
    :param place: where, and what else differs between failures with the same cause.
    :param code: NXCloud's code, where NXCloud gave one.
    :param media_id: the media file concerned, where it is about one.
    :param retry_after: seconds the server asked to wait before the next attempt.
    """

    def __init__(
        self,
        cause: str = "",
        *,
        remedy: str = "",
        place: str = "",
        code: int | None = None,
        media_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy
        self.place = place
        self.code = code
        self.media_id = media_id
        self.retry_after = retry_after

    @property
    def summary(self) -> str:
        """Cause and remedy: the text without the place."""
        return "; ".join(filter(None, (self.cause, self.remedy)))

    @property
    def log_lines(self) -> list[str]:
        """The text in lines that are short enough for the screen of Airflow's UI."""
        parts = (("Cause", self.cause), ("Hint", self.remedy), ("Where", self.place))
        return [f"{name}: {text}" for name, text in parts if text]

    def concerning(self, media_id: str) -> Self:
        """Name the media file concerned, unless the error names one already."""
        if self.media_id is None:
            self.media_id = media_id
            self.place = ", ".join(filter(None, (f"media file {media_id!r}", self.place)))
        return self

    def __str__(self) -> str:
        return f"{self.summary} ({self.place})" if self.place else self.summary


class NxCloudInputError(NxCloudError, AirflowFailException, ValueError):
    """An argument or a field of the connection is wrong; fix the DAG or the connection."""


class NxCloudConnectionNotFoundError(NxCloudInputError, AirflowNotFoundException):
    """There is no such Airflow Connection."""


class NxCloudCredentialsError(NxCloudError, AirflowFailException):
    """NXCloud refuses the access key or its secret (1000, 1003, 1005 to 1009)."""


class NxCloudClockError(NxCloudError, AirflowFailException):
    """NXCloud calls the timestamp expired (1004), also after the clock offset was learned from its answer."""


class NxCloudRequestError(NxCloudError, AirflowFailException):
    """NXCloud refuses the request itself (1001, 1002, 9000, a redirect, an HTTP status that no retry fixes)."""


class NxCloudPhoneNumberError(NxCloudError, AirflowFailException):
    """The merchant number is not a WhatsApp number (9002) or not bound to the application (9006)."""


class NxCloudUnavailableError(NxCloudError):
    """The API cannot be reached, is overloaded (429, 5xx) or returns what NXCloud does not document."""


class NxCloudMediaNotReadyError(NxCloudError):
    """NXCloud cannot serve this media file now (-1, 9001, or success without a URL); it may later."""


class NxCloudDownloadError(NxCloudError):
    """A download failed or was not what was announced; another attempt may succeed."""


class NxCloudMediaRefusedError(NxCloudError):
    """A media file that can never be stored as requested: too large, a forbidden host, a name already taken."""


class NxCloudMediaGoneError(NxCloudMediaRefusedError):
    """The file behind the media ID is gone: its URL answers 404, also some seconds later."""


class NxCloudStorageError(NxCloudError):
    """The destination cannot be read or written; the text names the connection, the path and the cause."""


class NxCloudStorageRefusedError(NxCloudStorageError, AirflowFailException):
    """The destination refuses until somebody changes it: no such bucket, wrong credentials, a missing right."""


class NxCloudCancelledError(NxCloudError):
    """The task was cancelled (``on_kill``) before all media files were stored."""


class NxCloudMediaFailedError(NxCloudError):
    """Some media files were not stored; a retry of the task may store them."""

    #: An error for each cause, which names its media files.
    causes: Sequence[NxCloudError] = ()

    @property
    def log_lines(self) -> list[str]:
        """Those of each cause."""
        return [line for cause in self.causes for line in cause.log_lines] or super().log_lines


class NxCloudMediaLostError(NxCloudMediaFailedError, AirflowFailException):
    """Some media files were not stored and never can be; retrying will not help."""


class ConciseTraceback:
    """Raise our own errors from where ``execute`` is: their text says it all, and 20 frames would hide it."""

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, NxCloudError):
            log.debug("The traceback of the error below", exc_info=error)
            for line in error.log_lines:  # Airflow's UI shows no more than 80 characters of the error itself
                log.error("%s", line)
            raise error.with_traceback(None) from None
