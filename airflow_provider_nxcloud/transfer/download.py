"""One media file's URL becomes a verified staged file."""

from __future__ import annotations

import re
import string
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from urllib.parse import quote, urljoin

from airflow_provider_nxcloud.connection.settings import ConnectionSettings
from airflow_provider_nxcloud.exceptions import (
    TEMPORARY,
    NxCloudCancelledError,
    NxCloudDownloadError,
    NxCloudError,
    NxCloudMediaGoneError,
    NxCloudMediaRefusedError,
)
from airflow_provider_nxcloud.http.allowed_hosts import DownloadHostPolicy
from airflow_provider_nxcloud.http.headers import parse_retry_after
from airflow_provider_nxcloud.http.retries import RETRY_LOG_INTERVAL, RETRYABLE_STATUSES, call_with_retries
from airflow_provider_nxcloud.http.transport import Response, Transport, TransportError, origin
from airflow_provider_nxcloud.media import Media
from airflow_provider_nxcloud.storage.staging import StagedFile
from airflow_provider_nxcloud.text import OncePerCause, format_bytes
from airflow_provider_nxcloud.transfer.content_checks import SOMETHING_ELSE
from airflow_provider_nxcloud.transfer.verification import Verifier

#: A download may take this many times the connection's ``timeout`` in all, so that one that drips ends too.
DEADLINE_TIMEOUTS = 10
MAX_REDIRECTS = 5
#: Seconds before a file that was not found is looked for a last time.
NOT_FOUND_GRACE = 3.0

_CHUNK_BYTES = 256 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CONTENT_RANGE = re.compile(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15})\Z", re.ASCII)
_LENGTH = re.compile(r"\d{1,15}\Z", re.ASCII)


class Downloader:
    """
    Download media files, many at once from many threads.

    Downloads carry nothing of NXCloud's: no signature, no cookie, no netrc credentials. Once ``cancelled`` is
    set, every download ends with :class:`NxCloudCancelledError`.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        *,
        max_media_bytes: int,
        connections: int,
        cancelled: threading.Event,
        sleep: Callable[[float], None],
    ) -> None:
        self.max_media_bytes = max_media_bytes
        self.cancelled = cancelled
        self._settings = settings
        self._sleep = sleep
        self.log_once = OncePerCause(RETRY_LOG_INTERVAL)
        self._hosts = DownloadHostPolicy(settings)
        self._transport = Transport(settings, connections=connections)

    def download(
        self, media: Media, staged: StagedFile, *, refresh: Callable[[], Media], sha256: str | None = None
    ) -> None:
        """Download and verify one media file, resuming after a drop and asking for a new URL after an expiry."""
        max_seconds = DEADLINE_TIMEOUTS * self._settings.timeout
        job = _Download(self, media, staged, refresh, sha256, time.monotonic() + max_seconds)

        def attempt() -> None:
            try:
                job.attempt()
            except NxCloudError as error:
                if isinstance(error, NxCloudDownloadError) and not error.place:
                    error.place = f"from {origin(job.url)}"
                error.concerning(media.media_id)
                raise

        try:
            try:
                call_with_retries(
                    attempt,
                    NxCloudDownloadError,
                    max_attempts=self._settings.max_attempts,
                    sleep=self._sleep,
                    max_seconds=max_seconds,
                    log_once=self.log_once,
                )
            except _NotFoundError:
                self._sleep(NOT_FOUND_GRACE)
                attempt()
        except _NotFoundError as error:
            raise NxCloudMediaGoneError(
                error.cause,
                remedy="the file is gone, and retrying will not help",
                place=error.place,
                media_id=error.media_id,
            ) from None

    def open(self, url: str, headers: dict[str, str], *, deadline: float) -> Response:
        """Send the GET, following redirects to allowed hosts only; the caller closes the response."""
        redirected_from = None
        for _ in range(MAX_REDIRECTS + 1):
            self._hosts.check(url, redirected_from=redirected_from)
            response = self._send(url, headers, deadline)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or not location:
                return response
            response.close()
            redirected_from, url = url, _resolve(url, location)
        cause = f"the download was redirected more than {MAX_REDIRECTS} times"
        raise NxCloudDownloadError(cause, remedy=SOMETHING_ELSE)

    def _send(self, url: str, headers: dict[str, str], deadline: float) -> Response:
        try:
            check_peer = partial(self._hosts.check_peer, url)
            return self._transport.send("GET", url, lambda: headers, deadline=deadline, check_peer=check_peer)
        except TransportError as error:
            raise NxCloudDownloadError(
                f"the download failed: {error}", remedy=error.remedy or TEMPORARY, place=origin(url)
            ) from None


class _NotFoundError(NxCloudDownloadError):
    """404 or 410: a fresh file can lag, so it counts only when it stays."""


class _Download:
    """The state of one media file's download between attempts."""

    def __init__(
        self,
        downloader: Downloader,
        media: Media,
        staged: StagedFile,
        refresh: Callable[[], Media],
        sha256: str | None,
        deadline: float,
    ) -> None:
        self._downloader = downloader
        self._media: Media | None = media
        #: What was asked for last.
        self.url = media.url
        self._staged = staged
        self._refresh = refresh
        self._sha256 = sha256
        self._deadline = deadline
        self._total: int | None = None
        self._etag = ""
        self._validator: str | None = None
        self._verifier = Verifier(media, sha256, downloader.log_once)

    def attempt(self) -> None:
        if self._media is None:
            self._media = self._refresh()
        headers = {}
        if self._staged.size and not (self._validator or self._sha256):
            self._staged.reset()  # nothing would tell whether the rest belongs to the same file
        if self._staged.size:
            headers["Range"] = f"bytes={self._staged.size}-"
            if self._validator:
                headers["If-Range"] = self._validator
        self.url = self._media.url
        with self._downloader.open(self.url, headers, deadline=self._deadline) as response:
            self._check_status(response)
            self._align(response)
            self._verifier.expect(response.headers, resumed=self._staged.size > 0)
            try:
                self._receive(response)
            except NxCloudDownloadError:
                if not self._verifier.has_given_sha256(self._staged):
                    raise
            try:
                self._verifier.verify(self._staged, delimited=response.status == 206 or response.is_delimited)
            except BaseException:
                self._staged.reset()
                raise

    def _check_status(self, response: Response) -> None:
        status = response.status
        if status in (200, 206):
            return
        if status < 500 and status not in RETRYABLE_STATUSES:
            self._media = None  # the URL is used up: the next attempt asks for a new one
        if status == 416:
            self._staged.reset()
        kind = _NotFoundError if status in (404, 410) else NxCloudDownloadError
        hint = " (expired or refused URL)" if status == 403 else ""
        raise kind(
            f"the download answered HTTP {status}{hint}",
            remedy=TEMPORARY,
            place=f"from {origin(self.url)}{_store_says(response)}",
            retry_after=parse_retry_after(response.headers.get("Retry-After")),
        )

    def _align(self, response: Response) -> None:
        """Make what is staged and what is about to come fit together."""
        headers = response.headers
        etag = headers.get("ETag", "")
        # If-Range takes no weak validator.
        validator = etag if etag.startswith('"') else headers.get("Last-Modified")
        if response.status == 206:
            part = _CONTENT_RANGE.match(headers.get("Content-Range", ""))
            start, total = map(int, part.groups()) if part else (-1, -1)
            # A given sha256 will tell in the end; without one, only the same validators prove the same file.
            same_file = self._sha256 or (etag, validator) == (self._etag, self._validator)
            changed = self._total not in (None, total) or not same_file
            if start != self._staged.size or (start and changed):
                self._staged.reset()
                cause = "the server answered another range than asked for"
                raise NxCloudDownloadError(cause, remedy=TEMPORARY)
            self._total = total
        else:
            self._staged.reset()
            length = headers.get("Content-Length", "")
            self._total = int(length) if _LENGTH.match(length) else None
        self._etag, self._validator = etag, validator
        self._check_size(self._total or 0)

    def _check_size(self, size: int) -> None:
        limit = self._downloader.max_media_bytes
        if size > limit:
            raise NxCloudMediaRefusedError(
                f"larger than max_media_bytes={limit:,}",
                remedy="raise it to store this media file",
                place=f"{format_bytes(size)} or more",
            )

    def _receive(self, response: Response) -> None:
        try:
            while chunk := response.read1(_CHUNK_BYTES):
                self._check_size(self._staged.size + len(chunk))
                self._staged.write(chunk)
                if self._downloader.cancelled.is_set():
                    raise NxCloudCancelledError("the task was cancelled")
        except TransportError as error:
            raise self._broken_off(f": {error}") from None
        if self._total is not None and self._staged.size != self._total:
            raise self._broken_off()

    def _broken_off(self, cause: str = "") -> NxCloudDownloadError:
        place = f"after {self._staged.size} of {'?' if self._total is None else self._total} bytes"
        return NxCloudDownloadError(f"the download broke off{cause}", remedy=TEMPORARY, place=place)


def _store_says(response: Response) -> str:
    """Return the code in a store's XML of an error, which tells an expired URL from a locked account."""
    said = None
    if 400 <= response.status < 500:
        with suppress(TransportError):
            said = re.search(rb"<Code>(\w{1,64})</Code>", response.read1(1024))
    return f"; the store says {said[1].decode()!r}" if said else ""


def _resolve(url: str, location: str) -> str:
    try:
        # As bytes, because a header of raw UTF-8 was read as Latin-1.
        return urljoin(url, quote(location.strip().encode("latin-1"), safe=string.punctuation))
    except ValueError:
        raise NxCloudMediaRefusedError("the download URL cannot be read") from None
