"""One media's URL becomes a verified staged file."""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Callable
from functools import partial
from urllib.parse import urljoin

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from airflow_provider_nxcloud.connection import ConnectionSettings
from airflow_provider_nxcloud.content import HEAD_BYTES, check_content, check_content_type
from airflow_provider_nxcloud.exceptions import (
    NxCloudCancelledError,
    NxCloudDownloadError,
    NxCloudMediaGoneError,
    NxCloudMediaRefusedError,
)
from airflow_provider_nxcloud.hosts import MediaHosts
from airflow_provider_nxcloud.media import Media
from airflow_provider_nxcloud.retries import TRY_AGAIN_STATUSES, call_with_retries, parse_retry_after
from airflow_provider_nxcloud.staging import StagedFile
from airflow_provider_nxcloud.transport import Transport, network_cause

#: A media may take this many times the connection's ``timeout`` in all, so that one that drips ends too.
DEADLINE_TIMEOUTS = 10
MAX_REDIRECTS = 5
#: Seconds before a file that was not found is looked for a last time.
NOT_FOUND_GRACE = 3.0

_CHUNK_BYTES = 256 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CONTENT_RANGE = re.compile(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15})\Z", re.ASCII)
_LENGTH = re.compile(r"\d{1,15}\Z", re.ASCII)
_ETAG_MD5 = re.compile(r'"?([0-9A-Fa-f]{32})"?\Z')


class Downloader:
    """
    Download media, many at once from many threads.

    Downloads carry nothing of NXCloud's: no signature, no cookie, no netrc credentials.

    :param settings: the connection's settings.
    :param max_media_bytes: a larger media is refused.
    :param connections: how many downloads run at once.
    :param cancelled: once set, every download ends with :class:`NxCloudCancelledError`.
    :param sleep: waits between attempts, that many seconds.
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
        self._hosts = MediaHosts(settings)
        self._transport = Transport(settings, connections=connections)

    def download(
        self, media: Media, staged: StagedFile, *, refresh: Callable[[], Media], sha256: str | None = None
    ) -> None:
        """
        Download one media and verify it, resuming after a drop and asking for a new URL after an expiry.

        :param media: NXCloud's answer.
        :param staged: takes the bytes; complete and verified on return.
        :param refresh: asks NXCloud again, for a URL that lives.
        :param sha256: the expected SHA-256 in lower-case hex, None where it is not known.
        :raises NxCloudDownloadError: when it failed and may succeed later.
        :raises NxCloudMediaGoneError: when the file is not there, also some seconds later.
        :raises NxCloudMediaRefusedError: when it can never succeed.
        :raises NxCloudCancelledError: when the task is told to stop.
        """
        max_seconds = DEADLINE_TIMEOUTS * self._settings.timeout
        job = _Download(self, media, staged, refresh, sha256, time.monotonic() + max_seconds)
        try:
            try:
                call_with_retries(
                    job.attempt,
                    NxCloudDownloadError,
                    max_attempts=self._settings.max_attempts,
                    sleep=self._sleep,
                    max_seconds=max_seconds,
                    about=f"media {media.media_id!r}: ",
                )
            except _NotFoundError:
                self._sleep(NOT_FOUND_GRACE)
                job.attempt()
        except _NotFoundError as error:
            raise NxCloudMediaGoneError(f"{error}; the file is gone and no retry can bring it") from error

    def open(self, url: str, headers: dict[str, str], *, until: float) -> BaseHTTPResponse:
        """
        Send the GET, following redirects to where a media may come from.

        :param url: the signed URL.
        :param headers: the request's headers.
        :param until: when the last byte must have come, by :func:`time.monotonic`.
        :return: the response, its body unread, for the caller to close.
        :raises NxCloudDownloadError: when no response comes, or only redirects.
        :raises NxCloudMediaRefusedError: when a URL must not be followed.
        """
        came_from = None
        for _ in range(MAX_REDIRECTS + 1):
            self._hosts.check(url, came_from=came_from)
            response = self._send(url, headers, until)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or not location:
                return response
            response.close()
            came_from, url = url, _resolve(url, location)
        raise NxCloudDownloadError(f"the download was redirected more than {MAX_REDIRECTS} times")

    def _send(self, url: str, headers: dict[str, str], until: float) -> BaseHTTPResponse:
        try:
            check_peer = partial(self._hosts.check_peer, url)
            return self._transport.send("GET", url, headers, until=until, check_peer=check_peer)
        except (HTTPError, OSError) as error:  # OSError takes in requests' own
            raise NxCloudDownloadError(f"the download failed: {network_cause(error)}") from None


class _NotFoundError(NxCloudDownloadError):
    """404 or 410: fresh media can lag, so it counts only when it stays."""


class _Download:
    """The state of one media's download between attempts."""

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
        # Kept apart from the answer, which is replaced when its URL expires.
        self._mime_type = media.mime_type
        self._staged = staged
        self._refresh = refresh
        self._sha256 = sha256
        self._deadline = deadline
        self._total: int | None = None
        self._etag = ""
        self._validator: str | None = None
        self._md5: str | None = None

    def attempt(self) -> None:
        if self._media is None:
            self._media = self._refresh()
        headers = {}
        if self._staged.size and not (self._validator or self._sha256):
            self._staged.restart()  # nothing would tell whether the rest belongs to the same file
        if self._staged.size:
            headers["Range"] = f"bytes={self._staged.size}-"
            if self._validator:
                headers["If-Range"] = self._validator
        with self._downloader.open(self._media.url, headers, until=self._deadline) as response:
            self._check_status(response)
            check_content_type(self._mime_type, response.headers.get("Content-Type"))
            self._align(response)
            self._receive(response)
            self._verify(delimited=self._total is not None or getattr(response, "chunked", False))

    def _check_status(self, response: BaseHTTPResponse) -> None:
        status = response.status
        if status in (200, 206):
            return
        if status < 500 and status not in TRY_AGAIN_STATUSES:
            self._media = None  # the URL is used up: the next attempt asks for a new one
        if status == 416:
            self._staged.restart()
        kind = _NotFoundError if status in (404, 410) else NxCloudDownloadError
        hint = " (expired or refused URL)" if status == 403 else ""
        raise kind(
            f"the download answered HTTP {status}{hint}",
            retry_after=parse_retry_after(response.headers.get("Retry-After")),
        )

    def _align(self, response: BaseHTTPResponse) -> None:
        """Make what is staged and what is about to come fit together."""
        headers = response.headers
        etag = headers.get("ETag", "")
        # If-Range takes no weak validator.
        validator = etag if etag.startswith('"') else headers.get("Last-Modified")
        encodings = (headers.get("Content-Encoding", "identity"), headers.get("Transfer-Encoding", "chunked"))
        if tuple(encoding.strip().lower() for encoding in encodings) != ("identity", "chunked"):
            raise NxCloudDownloadError(
                "the server encoded the content although identity was asked, so it cannot be verified"
            )
        if response.status == 206:
            part = _CONTENT_RANGE.match(headers.get("Content-Range", ""))
            start, total = map(int, part.groups()) if part else (-1, -1)
            # A given sha256 will tell in the end; without one, only the same validators prove the same file.
            same_file = self._sha256 or (etag, validator) == (self._etag, self._validator)
            changed = self._total not in (None, total) or not same_file
            if start != self._staged.size or changed:
                self._staged.restart()
                raise NxCloudDownloadError("the server answered another range than asked for")
            self._total = total
        else:
            self._staged.restart()
            length = headers.get("Content-Length", "")
            self._total = int(length) if _LENGTH.match(length) else None
            self._md5 = _md5_of(headers.get("Content-MD5"), etag)
            self._etag, self._validator = etag, validator
        self._check_size(self._total or 0)

    def _check_size(self, size: int) -> None:
        limit = self._downloader.max_media_bytes
        if size > limit:
            raise NxCloudMediaRefusedError(
                f"the media has {size} bytes or more, over max_media_bytes={limit}; raise it to store this one"
            )

    def _receive(self, response: BaseHTTPResponse) -> None:
        try:
            while chunk := response.read1(_CHUNK_BYTES, decode_content=False):
                self._check_size(self._staged.size + len(chunk))
                self._staged.write(chunk)
                if self._downloader.cancelled.is_set():
                    raise NxCloudCancelledError("the task was told to stop")
        except (HTTPError, ConnectionError, TimeoutError) as error:
            raise NxCloudDownloadError(
                f"the download broke off{self._progress()}: {network_cause(error)}"
            ) from None
        if self._total is not None and self._staged.size != self._total:
            raise NxCloudDownloadError(f"the download broke off{self._progress()}")

    def _progress(self) -> str:
        return f" after {self._staged.size} of {'?' if self._total is None else self._total} bytes"

    def _verify(self, *, delimited: bool) -> None:
        """
        Accept the staged bytes or forget them.

        A given SHA-256 decides; an MD5 from the store alone also does, unless its ETag is no MD5 after all,
        which only a matching SHA-256 can tell.
        """
        staged = self._staged
        try:
            if self._sha256 == staged.sha256:
                return
            check_content(self._mime_type, staged.head(HEAD_BYTES))
            md5_matches = self._md5 == staged.md5 if self._md5 else None
            if self._sha256 and md5_matches:
                raise NxCloudMediaRefusedError(
                    f"NXCloud's file has sha256 {staged.sha256}, but {self._sha256} was given"
                )
            if self._sha256 or md5_matches is False:
                raise NxCloudDownloadError("the downloaded bytes are corrupt: their hash does not match")
            if not staged.size:
                raise NxCloudDownloadError("the server sent an empty file")
            if not delimited and md5_matches is None:
                raise NxCloudDownloadError(
                    "the server gave neither a length nor a hash, so the download cannot be verified"
                )
        except BaseException:
            staged.restart()
            raise


def _resolve(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise NxCloudMediaRefusedError("the download URL cannot be read") from None


def _md5_of(content_md5: str | None, etag: str) -> str | None:
    """Return the MD5 a store announces in hex: Content-MD5, or the ETag of an object uploaded in one part."""
    try:
        announced = base64.b64decode(content_md5 or "", validate=True)
    except ValueError:
        announced = b""
    if len(announced) == 16:
        return announced.hex()
    match = _ETAG_MD5.match(etag)
    return match.group(1).lower() if match else None
