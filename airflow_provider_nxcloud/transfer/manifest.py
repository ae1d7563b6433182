"""The records of a transfer as JSON Lines."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_nxcloud.concurrency import run_in_threads, run_with_time_limit
from airflow_provider_nxcloud.exceptions import NxCloudCancelledError, NxCloudInputError
from airflow_provider_nxcloud.storage.destination import connection_in, make_storage
from airflow_provider_nxcloud.storage.errors import storage_error
from airflow_provider_nxcloud.storage.publishing import Storage
from airflow_provider_nxcloud.text import TEMPLATE_MARKER, UNSAFE
from airflow_provider_nxcloud.transfer.result import TransferResult

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger(__name__)

#: Characters that JSON leaves as they are, and some programs take for the end of a line.
_LINE_ENDS = {code: f"\\u{code:04x}" for code in (0x85, 0x2028, 0x2029)}

#: Seconds for writing a manifest while another error is on its way.
_MOMENT = 0.75
_TICK = 0.25


class Manifest:
    """The records as JSON Lines at one path; nothing is touched before the ``with``."""

    def __init__(
        self, path: object, storage_conn_id: str | None, write_kwargs: Mapping[str, Any] | None
    ) -> None:
        folder, slash, self._name = path.rpartition("/") if isinstance(path, str) else ("", "", "")
        if (
            not isinstance(path, str)
            or not self._name
            or folder.endswith(":/")
            or path != path.rstrip()
            or UNSAFE.search(path)
            or TEMPLATE_MARKER.search(path)
            or os.path.isdir(path)
        ):
            raise NxCloudInputError(f"manifest must be the path or URL of a file, not {path!r}")
        remote = "://" in path and not path.lower().startswith("file:")
        self._storage: Storage = make_storage(
            folder + slash or path,
            storage_conn_id if remote and not connection_in(path) else None,
            write_kwargs if remote else None,
            argument="manifest",
        )

    @property
    def uri(self) -> str:
        """Where it is written."""
        return self._storage.uri(self._name)

    def __enter__(self) -> Self:
        """Get ready to write."""
        self._storage.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what is staged."""
        self._storage.__exit__()

    def write(self, result: TransferResult, stop: threading.Event) -> None:
        """Write the file, replacing an older one; for a transfer that ended early only if that takes a moment."""
        if result.aborted_by is not None:  # another error is on its way
            run_with_time_limit(lambda: self._write_best_effort(result), seconds=_MOMENT)
        elif not any(run_in_threads(self._write, [result], threads=1, stop=stop, tick=_TICK)):
            raise NxCloudCancelledError("cancelled while the manifest was written")

    def _write(self, result: TransferResult) -> None:
        staged = self._storage.stage()
        try:
            for each in result.media:
                staged.write(_line({**each.record, "source": each.item.source}))
        except OSError as error:
            raise storage_error("stage", self.uri, error) from error
        self._storage.publish(self._name, staged, "application/x-ndjson")

    def _write_best_effort(self, result: TransferResult) -> None:
        try:
            self._write(result)
        except Exception:
            log.exception("The manifest %r was not written", self.uri)


def _line(record: Mapping[str, Any]) -> bytes:
    # What an author's mapping says may be no JSON: a date, a NaN, half a character, endless nesting.
    try:
        values = json.loads(json.dumps(record, default=str, skipkeys=True), parse_constant=str)
    except (ValueError, TypeError, RecursionError) as error:
        log.warning("The source of media file %r cannot be written as JSON: %s", record["media_id"], error)
        values = {**record, "source": None}
    text = json.dumps(values, ensure_ascii=False).translate(_LINE_ENDS)
    return text.encode(errors="replace") + b"\n"
