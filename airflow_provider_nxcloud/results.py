"""What a finished transfer means: the records, the manifest, success or the error that fits."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow_provider_nxcloud.destination import connection_in, open_storage
from airflow_provider_nxcloud.exceptions import (
    NxCloudCancelledError,
    NxCloudInputError,
    NxCloudMediaFailedError,
    NxCloudMediaLostError,
    NxCloudMediaRefusedError,
)
from airflow_provider_nxcloud.storage import Storage, storage_error
from airflow_provider_nxcloud.transfer import Result
from airflow_provider_nxcloud.workers import run_in_passing, run_in_threads

log = logging.getLogger(__name__)

Record = Mapping[str, Any]
#: Seconds for writing a manifest while another error is on its way.
_MOMENT = 0.75
_TICK = 0.25


class Manifest:
    """
    The records as JSON Lines at one path, ready to be written.

    :param path: where, a path or URL.
    :param storage_conn_id: the storage connection, where the URL names none.
    :param write_kwargs: further arguments of an object store's write, as for the media.
    :raises NxCloudInputError: when the path cannot be used.
    """

    def __init__(
        self, path: object, *, storage_conn_id: str | None, write_kwargs: Mapping[str, Any] | None
    ) -> None:
        folder, slash, self._name = path.rpartition("/") if isinstance(path, str) else ("", "", "")
        if (
            not isinstance(path, str)
            or not self._name
            or path == "None"
            or folder.endswith(":/")
            or os.path.isdir(path)
        ):
            raise NxCloudInputError(f"manifest must be the path or URL of a file, not {path!r}")
        remote = "://" in path and not path.startswith("file:")
        self._storage: Storage = open_storage(
            folder + slash if folder else "/" if slash else ".",
            storage_conn_id=storage_conn_id if remote and not connection_in(path) else None,
            write_kwargs=write_kwargs if remote else None,
            argument="manifest",
        )

    @property
    def uri(self) -> str:
        """Where it is written."""
        return self._storage.uri(self._name)

    def write(self, records: Sequence[Record], stop: threading.Event) -> None:
        """
        Write the file, replacing an older one.

        :param records: the records.
        :param stop: once set, the writing is given up.
        :raises NxCloudStorageError: when the store or the disk refuses.
        :raises NxCloudCancelledError: when it was given up.
        """
        written = [
            each for each in run_in_threads(self._write, [records], threads=1, stop=stop, tick=_TICK) if each
        ]
        if not written:
            raise NxCloudCancelledError("the task was told to stop while it wrote the manifest")

    def _write(self, records: Iterable[Record]) -> None:
        staged = self._storage.stage()
        try:
            for record in records:
                staged.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        except OSError as error:
            raise storage_error("stage", self.uri, error) from error
        self._storage.publish(self._name, staged, "application/x-ndjson")

    def write_in_passing(self, records: Sequence[Record]) -> None:
        """
        Write the file if that takes a moment only, and never fail: another error is on its way.

        :param records: the records.
        """

        def write() -> None:
            try:
                self._write(records)
            except Exception:
                log.exception("The manifest %r was not written", self.uri)

        run_in_passing(write, seconds=_MOMENT)

    def close(self) -> None:
        """Remove what is staged."""
        self._storage.close()


def count(records: Iterable[Record]) -> dict[str, int]:
    """
    Sum the records up.

    :param records: the records.
    :return: how many media were ``stored``, ``skipped`` and ``failed``, and the ``bytes`` stored now.
    """
    counts = Counter({"stored": 0, "skipped": 0, "failed": 0, "bytes": 0})
    for record in records:
        counts[record["status"]] += 1
        counts["bytes"] += record["size"] if record["status"] == "stored" else 0
    return dict(counts)


def judge(result: Result, *, ignore_media_errors: bool) -> None:
    """
    Raise when the result of a transfer is a failure.

    :param result: what became of each media.
    :param ignore_media_errors: whether failed media are fine as long as at least one is there.
    :raises BaseException: what ended the transfer early.
    :raises NxCloudMediaFailedError: naming each failed media with its cause.
    :raises NxCloudMediaLostError: the same, when no retry can bring any of them.
    """
    if result.ended_by is not None:
        raise result.ended_by
    failed = [outcome for outcome in result.outcomes if outcome.error]
    if not failed or (ignore_media_errors and len(failed) < len(result.outcomes)):
        return
    causes = "".join(f"\n- {outcome.record['error']}" for outcome in failed)
    lost = all(isinstance(outcome.error, NxCloudMediaRefusedError) for outcome in failed)
    kind = NxCloudMediaLostError if lost else NxCloudMediaFailedError
    advice = "no retry can bring them" if lost else "another try fetches what is missing"
    raise kind(f"{len(failed)} of {len(result.outcomes)} media were not stored; {advice}:{causes}")
