"""What a finished transfer means: the records, the manifest, success or the error that fits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow_provider_nxcloud.exceptions import (
    NxCloudInputError,
    NxCloudMediaFailedError,
    NxCloudMediaLostError,
    NxCloudMediaRefusedError,
)
from airflow_provider_nxcloud.storage import Storage, connection_in, open_storage
from airflow_provider_nxcloud.transfer import MEDIA_ERRORS, Outcome

Record = Mapping[str, Any]


class Manifest:
    """
    The records as JSON Lines at one path, ready to be written.

    :param path: where, a path or URL.
    :param storage_conn_id: the storage connection, where the URL names none.
    :raises NxCloudInputError: when the path cannot be used.
    """

    def __init__(self, path: object, *, storage_conn_id: str | None) -> None:
        folder, slash, self._name = path.rpartition("/") if isinstance(path, str) else ("", "", "")
        if not isinstance(path, str) or not self._name or folder.endswith(":/"):
            raise NxCloudInputError(f"manifest must be the path or URL of a file, not {path!r}")
        conn_id = storage_conn_id if "://" in path and not connection_in(path) else None
        self._storage: Storage = open_storage(
            folder + slash if folder else "/" if slash else ".", storage_conn_id=conn_id, write_kwargs=None
        )

    def write(self, records: Iterable[Record]) -> None:
        """
        Write the file, replacing an older one.

        :param records: the records.
        :raises NxCloudStorageError: when the store refuses.
        """
        staged = self._storage.stage()
        for record in records:
            staged.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        self._storage.publish(self._name, staged, "application/x-ndjson")

    def close(self) -> None:
        """Remove what is staged."""
        self._storage.close()


def judge(outcomes: Sequence[Outcome], *, ignore_media_errors: bool) -> None:
    """
    Raise when the outcome of a transfer is a failure.

    :param outcomes: what became of each media.
    :param ignore_media_errors: whether failed media are fine as long as at least one is there.
    :raises NxCloudMediaFailedError: naming each failed media with its cause.
    :raises NxCloudMediaLostError: the same, when no retry can bring any of them.
    :raises Exception: the error that ended the transfer early.
    """
    failed = [outcome for outcome in outcomes if outcome.error]
    for outcome in failed:
        if outcome.error and not isinstance(outcome.error, MEDIA_ERRORS):
            raise outcome.error
    if not failed or (ignore_media_errors and len(failed) < len(outcomes)):
        return
    causes = "".join(f"\n- {outcome.record['error']}" for outcome in failed)
    lost = all(isinstance(outcome.error, NxCloudMediaRefusedError) for outcome in failed)
    kind = NxCloudMediaLostError if lost else NxCloudMediaFailedError
    advice = "no retry can bring them" if lost else "another try fetches what is missing"
    raise kind(f"{len(failed)} of {len(outcomes)} media were not stored; {advice}:{causes}")
