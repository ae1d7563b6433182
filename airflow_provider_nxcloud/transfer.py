"""Many media at once, from NXCloud to their destination, with a record of each."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_nxcloud.download import Downloader
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
from airflow_provider_nxcloud.hooks.nxcloud import API_CONNECTIONS, NxCloudHook
from airflow_provider_nxcloud.media import Media, MediaItem
from airflow_provider_nxcloud.names import ObjectNamePattern
from airflow_provider_nxcloud.progress import Progress
from airflow_provider_nxcloud.storage import Storage
from airflow_provider_nxcloud.workers import run_in_threads

log = logging.getLogger(__name__)

IF_EXISTS = ("skip", "overwrite", "fail")

#: What concerns one media only; everything else would meet the others too and ends the transfer.
MEDIA_ERRORS = (
    NxCloudUnavailableError,
    NxCloudMediaNotReadyError,
    NxCloudDownloadError,
    NxCloudMediaRefusedError,
)
#: So many media in a row for which the API was unavailable end the transfer: it would be for the others too.
GIVE_UP_AFTER = 20
_TICK = 0.25


@dataclass(frozen=True)
class Outcome:
    """
    What became of one media.

    :param record: the result as the user sees it.
    :param error: why it failed, None when it did not.
    """

    record: dict[str, Any]
    error: BaseException | None = None


@dataclass(frozen=True)
class Result:
    """
    What became of a transfer.

    :param outcomes: of each media, in order.
    :param ended_by: what ended the transfer early, None when it was carried through.
    :param seconds: how long it took.
    """

    outcomes: list[Outcome]
    ended_by: BaseException | None
    seconds: float


class Transfer:
    """
    Fetch media into a destination.

    :param items: what to fetch, each media ID once.
    :param hook: asks NXCloud where each media is.
    :param object_name: the pattern of the objects' names.
    :param if_exists: what an object that is there already means: ``skip`` it, ``overwrite`` it, or ``fail``.
    :param max_workers: how many media at once.
    :param max_media_bytes: a larger media is refused.
    :param stop: ends the transfer when it is set.
    :raises NxCloudInputError: when an argument, a name or the connection cannot be used.
    """

    def __init__(
        self,
        items: Sequence[MediaItem],
        hook: NxCloudHook,
        *,
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
        self._hook = hook
        self._names = ObjectNamePattern(object_name)
        self._if_exists = if_exists
        self._max_workers = max_workers
        self._stop = stop
        self._owners: dict[str, str] = {}
        self._claim_known_names()
        if items:
            self._downloader = self._make_downloader(max_media_bytes)

    def run(self, storage: Storage, *, reserved: str | None = None) -> Result:
        """
        Fetch all media.

        :param storage: the destination.
        :param reserved: a URI that no media may take, default none.
        :return: what became of each. Whatever ends the transfer early, an error that every media would meet or
            a signal to stop, is the error of all that were not done by then.
        """
        self._storage = storage
        self._reserved = reserved
        started = time.monotonic()
        outcomes: dict[str, Outcome] = {}
        ended_by: BaseException | None = None
        try:
            self._fetch_all(outcomes)
        except BaseException as error:  # noqa: BLE001, the records come first, then it is raised again
            ended_by = error
            text = f"not fetched, because the task ended: {error or type(error).__name__}"
            for item in self._items:
                outcomes.setdefault(item.media_id, Outcome(failed_record(item, text), error))
        ordered = [outcomes[item.media_id] for item in self._items]
        return Result(ordered, ended_by, time.monotonic() - started)

    def _claim_known_names(self) -> None:
        for item in filter(self._names.is_known, self._items):
            try:
                self._claim_name(item, None)
            except NxCloudMediaRefusedError as error:
                raise NxCloudInputError(f"media {item.media_id!r}: {error}") from error

    def _make_downloader(self, max_media_bytes: int) -> Downloader:
        # Both are made lazily, which is not safe once many threads ask.
        settings = self._hook.settings
        self._hook.get_conn()
        if settings.business_phone is None:
            raise NxCloudInputError(
                "business_phone is missing; give it as an argument or in the extra of connection "
                f"{settings.conn_id!r}"
            )
        return Downloader(
            settings,
            max_media_bytes=max_media_bytes,
            connections=self._max_workers,
            cancelled=self._stop,
            sleep=interruptible_sleep(self._stop),
        )

    def _fetch_all(self, outcomes: dict[str, Outcome]) -> None:
        unavailable = 0
        with Progress(len(self._items), self._storage.uri("")) as progress:
            for done in run_in_threads(
                self._fetch, self._items, threads=self._max_workers, stop=self._stop, tick=_TICK
            ):
                if done is not None:
                    item, outcome = done
                    outcomes[item.media_id] = outcome
                    progress.add(outcome.record)
                    if outcome.error:
                        log.warning("Not stored: %s", outcome.record["error"])
                    unavailable = unavailable + 1 if isinstance(outcome.error, NxCloudUnavailableError) else 0
                    if unavailable == GIVE_UP_AFTER:
                        raise NxCloudMediaFailedError(
                            f"NXCloud was unavailable for {unavailable} media in a row, each tried several "
                            f"times; another try of the task goes on. The last: {outcome.record['error']}"
                        )
                progress.speak()
        if len(outcomes) < len(self._items):
            raise NxCloudCancelledError(
                f"the task was told to stop after {len(outcomes)} of {len(self._items)} media; "
                "another try goes on"
            )

    def _fetch(self, item: MediaItem) -> Outcome:
        try:
            return Outcome(self._store(item))
        except MEDIA_ERRORS as error:
            text = str(error) if error.media_id else f"media {item.media_id!r}: {error}"
            return Outcome(failed_record(item, text), error)
        except OSError as error:
            raise NxCloudStorageError(
                f"cannot stage media {item.media_id!r} in {str(self._storage.staging)!r}: {error.strerror}; make "
                "room there, or have TMPDIR name another place"
            ) from error

    def _store(self, item: MediaItem) -> dict[str, Any]:
        media = None if self._names.is_known(item) else self._hook.get_media(item.media_id)
        name = self._claim_name(item, media)
        if self._storage.uri(name) == self._reserved:
            raise NxCloudMediaRefusedError(f"the manifest has the same name {name!r}; change object_name")
        found = None if self._if_exists == "overwrite" else self._storage.find(name)
        # An empty file is what a crash of the machine can leave of one; a media never is.
        if found is not None and (found or self._if_exists == "fail"):
            if self._if_exists == "fail":
                raise NxCloudMediaRefusedError(
                    f"{self._storage.uri(name)!r} exists already (if_exists='fail')"
                )
            return self._record(item, media, name, "skipped", size=found, sha256=None)
        return self._download(item, media or self._hook.get_media(item.media_id), name)

    def _download(self, item: MediaItem, media: Media, name: str) -> dict[str, Any]:
        # A given SHA-256 that matches makes the MD5 superfluous.
        staged = self._storage.stage(md5=item.sha256 is None)
        try:
            self._downloader.download(
                replace(media, mime_type=media.mime_type or item.mime_type),
                staged,
                refresh=lambda: self._hook.get_media(item.media_id),
                sha256=item.sha256,
            )
            size, sha256 = staged.size, staged.sha256
            if self._stop.is_set():
                raise NxCloudCancelledError("the task was told to stop")
            self._storage.publish(name, staged, item.mime_type or media.mime_type, self._stop)
        finally:
            staged.discard()
        return self._record(item, media, name, "stored", size=size, sha256=sha256)

    def _claim_name(self, item: MediaItem, media: Media | None) -> str:
        try:
            name = self._names.name(item, media)
        except ValueError as error:
            raise NxCloudMediaRefusedError(f"it cannot be named: {error}") from error
        owner = self._owners.setdefault(name, item.media_id)
        if owner != item.media_id:
            raise NxCloudMediaRefusedError(
                f"media {owner!r} has the same object name {name!r}; put {{media_id}} into object_name"
            )
        return name

    def _record(
        self, item: MediaItem, media: Media | None, name: str, status: str, *, size: int, sha256: str | None
    ) -> dict[str, Any]:
        return {
            "media_id": item.media_id,
            "status": status,
            "uri": self._storage.uri(name),
            "size": size,
            "sha256": sha256,
            "mime_type": item.mime_type or (media.mime_type if media else None),
            "file_name": item.file_name or (media.file_name if media else None),
            "error": None,
        }


def failed_record(item: MediaItem, error: str) -> dict[str, Any]:
    """
    Return the record of a media that was not stored.

    :param item: the media.
    :param error: why.
    :return: the record.
    """
    return {
        "media_id": item.media_id,
        "status": "failed",
        "uri": None,
        "size": None,
        "sha256": None,
        "mime_type": item.mime_type,
        "file_name": item.file_name,
        "error": error,
    }


def interruptible_sleep(stop: threading.Event) -> Callable[[float], None]:
    """
    Return a sleep that ends when the transfer is stopped.

    :param stop: the transfer's event.
    :return: a function that waits that many seconds, and raises :class:`NxCloudCancelledError` when stopped.
    """

    def sleep(seconds: float) -> None:
        if stop.wait(seconds):
            raise NxCloudCancelledError("the task was told to stop")

    return sleep


def _check_number(name: str, value: object, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise NxCloudInputError(f"{name} must be a whole number from 1 to {most}, not {value!r}")
