"""Many media files at once, from NXCloud to their destination, with a result for each."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from airflow_provider_nxcloud.api.client import API_CONNECTIONS, NxCloudClient
from airflow_provider_nxcloud.concurrency import run_in_threads, stoppable_sleep
from airflow_provider_nxcloud.exceptions import (
    NxCloudCancelledError,
    NxCloudDownloadError,
    NxCloudInputError,
    NxCloudMediaFailedError,
    NxCloudMediaNotReadyError,
    NxCloudMediaRefusedError,
    NxCloudStorageError,
    NxCloudUnavailableError,
)
from airflow_provider_nxcloud.media import Media, MediaItem
from airflow_provider_nxcloud.storage.publishing import Storage, StoredObject
from airflow_provider_nxcloud.text import OncePerCause
from airflow_provider_nxcloud.transfer.download import Downloader
from airflow_provider_nxcloud.transfer.object_names import NameTakenError, ObjectNames
from airflow_provider_nxcloud.transfer.progress import Progress
from airflow_provider_nxcloud.transfer.result import MediaResult, TransferResult

log = logging.getLogger(__name__)

IF_EXISTS = ("skip", "overwrite", "fail")

#: What concerns one media file only; everything else would affect the others too and ends the transfer.
MEDIA_ERRORS = (
    NxCloudUnavailableError,
    NxCloudMediaNotReadyError,
    NxCloudDownloadError,
    NxCloudMediaRefusedError,
)
#: Consecutive media files for which the API was unavailable that end the transfer.
MAX_CONSECUTIVE_UNAVAILABLE = 20
_TICK = 0.25


class Transfer:
    """Fetch media files into a destination; ``client`` is None only where there are none."""

    def __init__(
        self,
        items: Sequence[MediaItem],
        client: NxCloudClient | None,
        storage: Storage,
        *,
        manifest_uri: str | None,
        object_name: str,
        if_exists: str,
        max_workers: int,
        max_media_bytes: int,
        stop: threading.Event,
    ) -> None:
        if if_exists not in IF_EXISTS:
            raise NxCloudInputError(f"if_exists must be one of {', '.join(IF_EXISTS)}, not {if_exists!r}")
        _check_number("max_workers", max_workers, API_CONNECTIONS)
        _check_number("max_media_bytes", max_media_bytes, sys.maxsize)
        self._items = items
        self._storage = storage
        self._manifest_uri = manifest_uri
        self._names = ObjectNames(object_name)
        self._if_exists = if_exists
        self._max_workers = max_workers
        self._stop = stop
        self._once_per_cause = OncePerCause()
        self._claim_known_names()
        if client is not None:
            self._client = client
            self._downloader = self._make_downloader(max_media_bytes)

    def run(self) -> TransferResult:
        """Fetch all media files."""
        started = time.monotonic()
        done: dict[str, MediaResult] = {}
        aborted_by: BaseException | None = None
        try:
            self._fetch_all(done)
        except BaseException as error:  # noqa: BLE001, the records come first, then it is raised again
            aborted_by = error
            cause = f"not fetched, because the task ended: {str(error) or 'it was cancelled'}"
            for item in self._items:
                done.setdefault(
                    item.media_id, MediaResult(item, "failed", error=NxCloudCancelledError(cause))
                )
        ordered = [done[item.media_id] for item in self._items]
        return TransferResult(ordered, aborted_by, time.monotonic() - started)

    def _claim_known_names(self) -> None:
        for item in filter(self._names.can_name, self._items):
            try:
                self._names.claim(item)
            except NameTakenError as error:
                error.concerning(item.media_id)
                raise NxCloudInputError(error.cause, remedy=error.remedy, place=error.place) from None
            except NxCloudMediaRefusedError:
                pass  # a name that cannot be used fails its own media file alone, in its turn

    def _make_downloader(self, max_media_bytes: int) -> Downloader:
        settings = self._client.settings
        if settings.business_phone is None and not all(item.business_phone for item in self._items):
            raise NxCloudInputError(
                "business_phone is missing",
                remedy="give it as an argument or in the extra of the connection",
                place=f"connection {settings.conn_id!r}",
            )
        return Downloader(
            settings,
            max_media_bytes=max_media_bytes,
            connections=self._max_workers,
            cancelled=self._stop,
            sleep=stoppable_sleep(self._stop),
        )

    def _fetch_all(self, done: dict[str, MediaResult]) -> None:
        unavailable = 0
        with Progress(done.values(), len(self._items), self._storage.uri("")) as progress:
            for each in run_in_threads(
                self._fetch, self._items, threads=self._max_workers, stop=self._stop, tick=_TICK
            ):
                if each is not None:
                    item, result = each
                    done[item.media_id] = result
                    self._log(result)
                    unavailable = unavailable + 1 if isinstance(result.error, NxCloudUnavailableError) else 0
                    if unavailable == MAX_CONSECUTIVE_UNAVAILABLE:
                        raise NxCloudMediaFailedError(
                            f"NXCloud unavailable for {unavailable} consecutive media files",
                            remedy=f"stopping; a task retry continues with the rest. The last: {result.error}",
                        )
                progress.log_if_due()
        if len(done) < len(self._items):
            raise NxCloudCancelledError(
                f"cancelled after {len(done)} of {len(self._items)} media files",
                remedy="a task retry continues",
            )

    def _log(self, result: MediaResult) -> None:
        if result.error:
            due = self._once_per_cause.is_due(result.error.summary)
            log.log(logging.WARNING if due else logging.DEBUG, "Not stored: %s", result.error)

    def _fetch(self, item: MediaItem) -> MediaResult:
        try:
            return self._store(item)
        except MEDIA_ERRORS as error:
            return MediaResult(item, "failed", error=error.concerning(item.media_id))
        except OSError as error:
            is_local = self._storage.uri("").startswith("file:")
            raise NxCloudStorageError(
                f"cannot write to the staging folder: {error.strerror or error}",
                remedy=f"free space there{'' if is_local else ', or set TMPDIR to another folder'}",
                place=f"folder {str(self._storage.staging)!r}, media file {item.media_id!r}",
            ) from error

    def _store(self, item: MediaItem) -> MediaResult:
        media = None
        if not self._names.can_name(item):
            media = self._get_media(item)
            item = item.completed_by(media)
        name = self._names.claim(item)
        uri = self._storage.uri(name)
        if self._manifest_uri and f"{uri}/".startswith(f"{self._manifest_uri}/"):
            raise NxCloudMediaRefusedError(
                "the manifest has the same name", remedy="change object_name", place=f"object {name!r}"
            )
        if found := self._find(item, name):
            return MediaResult(item, "skipped", uri, found.size, found.sha256)
        return self._download(item, media or self._get_media(item), name)

    def _get_media(self, item: MediaItem) -> Media:
        return self._client.get_media(item.media_id, item.business_phone)

    def _find(self, item: MediaItem, name: str) -> StoredObject | None:
        """Return the object that makes a download superfluous."""
        if self._if_exists == "overwrite":
            return None
        fails = self._if_exists == "fail"
        found = self._storage.find(name, read=not fails and item.sha256 is not None, fresh=fails)
        if found and fails:
            raise NxCloudMediaRefusedError(
                "the object exists already, and if_exists is 'fail'",
                remedy="remove the object, or change if_exists",
                place=repr(self._storage.uri(name)),
            )
        if found and item.sha256 and found.sha256 not in (None, item.sha256):
            log.warning("%s has another sha256 than given: fetching it again", self._storage.uri(name))
            return None
        # An empty file is what a crash of the machine can leave of one.
        return found if found and found.size else None

    def _download(self, item: MediaItem, media: Media, name: str) -> MediaResult:
        # A given SHA-256 that matches makes the MD5 superfluous.
        staged = self._storage.stage(md5=item.sha256 is None)
        try:
            self._downloader.download(
                replace(media, mime_type=media.mime_type or item.mime_type),
                staged,
                refresh=lambda: self._get_media(item),
                sha256=item.sha256,
            )
            item = item.completed_by(media)
            if self._stop.is_set():
                raise NxCloudCancelledError("the task was cancelled")
            self._storage.publish(name, staged, item.mime_type, self._stop)
            return MediaResult(item, "stored", self._storage.uri(name), staged.size, staged.sha256)
        finally:
            staged.discard()


def _check_number(name: str, value: object, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise NxCloudInputError(f"{name} must be a whole number from 1 to {most}, not {value!r}")
