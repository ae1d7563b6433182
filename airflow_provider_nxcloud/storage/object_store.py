"""A prefix in an object store as a destination: publishing is one completed upload."""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_nxcloud.concurrency import WeightedSemaphore, run_with_time_limit
from airflow_provider_nxcloud.exceptions import NxCloudCancelledError, NxCloudInputError
from airflow_provider_nxcloud.storage.errors import folder_error, storage_cause, storage_error
from airflow_provider_nxcloud.storage.publishing import Storage, StoredObject
from airflow_provider_nxcloud.storage.staging import StagedFile
from airflow_provider_nxcloud.text import parse_sha256

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem
    from fsspec.spec import AbstractBufferedFile

#: What is sent to an object store at once, in bytes: the least that S3 takes as a part. fsspec's own default of
#: 50 MB, times the workers, is what fills memory.
BLOCK_SIZE = 5 * 1024 * 1024
CHUNK_BYTES = 256 * 1024
#: How many bytes are uploaded at once, each taking up to a block; memory holds it about three times.
_UPLOAD_BUDGET = 4 * BLOCK_SIZE
#: Seconds for aborting uploads that hang when the task is stopped.
_ABORT_SECONDS = 0.5
#: Stores refuse long headers, and the sender chooses the MIME type of a document.
_MIME_TYPE = re.compile(r"[\w.+-]{1,127}/[\w.+-]{1,127}(?:\s{0,9};[ -~]{0,255})?\Z", re.ASCII)


class ObjectStorage(Storage):
    """Any fsspec filesystem; a store has a subclass. Folders are never made, and a write looks nothing up."""

    #: The extra of this package that installs its client; its Airflow Connection's type, if only one is right.
    extra = ""
    conn_type: str | None = None
    #: The client's keywords for Content-Type and metadata. It would ignore one that it does not know.
    content_type = ""
    metadata = ""

    def __init__(self, scheme: str, path: str, conn_id: str | None, write_kwargs: Mapping[str, Any]) -> None:
        self._scheme = scheme
        self._path = path.rstrip("/")
        self._conn_id = conn_id
        self._write_kwargs = write_kwargs
        self._fs = self._filesystem()
        self._upload_budget = WeightedSemaphore(_UPLOAD_BUDGET)
        self._under_way: set[AbstractBufferedFile] = set()
        super().__init__(Path(tempfile.gettempdir()))

    @staticmethod
    def check_connection(connection: Any) -> None:
        """Raise ValueError for settings that cannot be right."""

    def uri(self, name: str) -> str:
        """Return the URI with the storage connection in it, so that the same credentials open it again."""
        return f"{self._scheme}://{self._conn_id + '@' if self._conn_id else ''}{self._path}/{name}"

    def find(self, name: str, *, read: bool = False, fresh: bool = False) -> StoredObject | None:
        """Look for an object; its SHA-256 is the one kept with it."""
        try:
            size, metadata = self._look(f"{self._path}/{name}", fresh)
        except FileNotFoundError:
            return None
        except IsADirectoryError as error:
            raise folder_error(self.uri(name)) from error
        except Exception as error:
            raise storage_error("look for", self.uri(name), error) from error
        kept = {key.lower(): value for key, value in metadata.items()}.get("sha256")
        with suppress(ValueError):  # none, or somebody else's, in a form of their own
            return StoredObject(size, parse_sha256(kept))
        return StoredObject(size)

    def publish(
        self, name: str, staged: StagedFile, mime_type: str | None = None, stop: threading.Event | None = None
    ) -> None:
        """Write the object in one upload, which is aborted when anything goes wrong."""
        options = self._options(mime_type, staged.sha256)
        try:
            with self._upload_budget.acquire(min(staged.size, BLOCK_SIZE)):
                self._write(f"{self._path}/{name}", staged, options, stop or threading.Event())
        except NxCloudCancelledError:
            raise
        except Exception as error:
            raise storage_error("write", self.uri(name), error) from error

    def __exit__(self, *_: object) -> None:
        """Remove everything staged, and abort the uploads in which threads of a stopped task still hang."""

        def abort() -> None:
            for upload in list(self._under_way):
                _abort(upload)

        if self._under_way:
            run_with_time_limit(abort, seconds=_ABORT_SECONDS)
        super().__exit__()

    def _filesystem(self) -> AbstractFileSystem:
        try:
            return ObjectStoragePath(f"{self._scheme}://{self._path}", conn_id=self._conn_id).fs
        except Exception as error:
            provider = (
                f"airflow-provider-nxcloud[{self.extra}]"
                if self.extra
                else f"what provides {self._scheme}://"
            )
            raise NxCloudInputError(
                f"the destination cannot be used: {storage_cause(error)}",
                remedy=f"install {provider}, and check the storage connection",
                place=repr(self.uri("")),
            ) from error

    def _look(self, path: str, fresh: bool) -> tuple[int, Mapping[str, str]]:
        """Return size and metadata, past any listing this process has cached."""
        self._fs.invalidate_cache(path.rpartition("/")[0])
        info = self._fs.info(path)
        if info["type"] != "file":
            raise IsADirectoryError(path)
        if info.get("etag", "") is None:  # adlfs takes any page for a blob
            raise ValueError("the answer has no ETag")
        return int(info["size"]), info.get("metadata") or {}

    def _options(self, mime_type: str | None, sha256: str) -> dict[str, Any]:
        """Return the keywords of one object's write."""
        options: dict[str, Any] = {}
        if self.content_type and mime_type and _MIME_TYPE.match(mime_type):
            options[self.content_type] = mime_type
        options |= self._write_kwargs
        if self.metadata:
            options[self.metadata] = {**(options.get(self.metadata) or {}), "sha256": sha256}
        return options

    def _open(self, path: str, size: int, options: Mapping[str, Any]) -> AbstractBufferedFile:
        return self._fs.open(path, "wb", block_size=BLOCK_SIZE, **options)

    def _write(
        self, path: str, staged: StagedFile, options: Mapping[str, Any], stop: threading.Event
    ) -> None:
        upload = self._open(path, staged.size, options)
        self._under_way.add(upload)
        try:
            for chunk in staged.chunks(CHUNK_BYTES):
                if stop.is_set():
                    raise NxCloudCancelledError("the task was cancelled")
                upload.write(chunk)
            upload.close()
        except BaseException:
            _abort(upload)
            raise
        finally:
            self._under_way.discard(upload)


def _abort(upload: AbstractBufferedFile) -> None:
    # Closing a half-written file would commit it, and garbage collection closes.
    upload.closed = True
    with suppress(Exception):
        upload.discard()
