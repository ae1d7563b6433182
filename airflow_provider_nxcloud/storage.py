"""A verified staged file becomes one complete object, in one atomic step."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_nxcloud.content_type import content_type_option
from airflow_provider_nxcloud.exceptions import (
    NxCloudCancelledError,
    NxCloudInputError,
    NxCloudMediaRefusedError,
    NxCloudStorageError,
)
from airflow_provider_nxcloud.links import console_url
from airflow_provider_nxcloud.staging import StagedFile, make_staging_folder
from airflow_provider_nxcloud.workers import Room, run_in_passing

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem
    from fsspec.spec import AbstractBufferedFile

#: What is sent to an object store at once, in bytes: the least that S3 takes as a part. fsspec's own default of
#: 50 MB, times the workers, is what fills memory.
BLOCK_SIZE = 5 * 1024 * 1024
#: How much of the media is uploaded at once, each taking up to a block; memory holds it about three times.
_UPLOAD_ROOM = 4 * BLOCK_SIZE
_CHUNK_BYTES = 256 * 1024
#: Scheme -> the extra of this package that brings it.
_EXTRAS = {
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("gs", "gcs"), "gcs"),
    **dict.fromkeys(("abfs", "abfss", "adl"), "azure"),
}
#: Seconds for aborting uploads that hang when the task is stopped.
_ABORT_SECONDS = 0.5


class Storage(ABC):
    """
    A destination, ready to be written: its connection is known and its staging folder exists.

    :param staging_parent: where the staging folder goes.
    """

    def __init__(self, staging_parent: Path) -> None:
        #: Where media wait until they are verified.
        self.staging = make_staging_folder(staging_parent)

    def stage(self, *, md5: bool = True) -> StagedFile:
        """Return an empty staged file; ``md5`` as there."""
        return StagedFile(self.staging, md5=md5)

    def close(self) -> None:
        """Remove everything staged; publish nothing afterwards."""
        shutil.rmtree(self.staging, ignore_errors=True)

    @abstractmethod
    def uri(self, name: str) -> str:
        """Return what opens the object again: ``ObjectStoragePath(uri)``."""

    def console_url(self) -> str | None:
        """Return where a cloud's console shows the destination, None where there is no such page."""
        return None

    @abstractmethod
    def find(self, name: str) -> int | None:
        """
        Look for an object.

        :param name: its name relative to the destination.
        :return: its size in bytes, None where there is none.
        :raises NxCloudStorageError: when the store does not tell.
        :raises NxCloudMediaRefusedError: when a folder has that name.
        """

    @abstractmethod
    def publish(
        self,
        name: str,
        staged: StagedFile,
        mime_type: str | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """
        Make a staged file an object, whole or not at all; an older one of that name is replaced.

        :param name: its name relative to the destination.
        :param staged: the content.
        :param mime_type: the Content-Type, where the store keeps one.
        :param stop: once set, a write that takes long is given up; default: never.
        :raises NxCloudCancelledError: when it was given up.
        :raises NxCloudStorageError: when the store refuses.
        """


class LocalStorage(Storage):
    """
    A folder of this machine. The staging folder lies in it, so publishing is a rename.

    :param root: the folder; made where it is missing.
    :raises OSError: when the folder cannot be made or written.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        super().__init__(root)
        # No pathlib below: for small files it would take as much time as the file.
        self._root = str(root)
        self._folders = {self._root}

    def uri(self, name: str) -> str:
        """Return the ``file://`` URI."""
        return f"file://{os.path.join(self._root, name)}"

    def find(self, name: str) -> int | None:
        """Look for a file."""
        try:
            found = os.stat(os.path.join(self._root, name))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error("look for", self.uri(name), error) from error
        if S_ISDIR(found.st_mode):
            raise _refuse_folder(self.uri(name))
        return found.st_size

    def publish(
        self,
        name: str,
        staged: StagedFile,
        mime_type: str | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """Rename the staged file; a local file keeps no MIME type."""
        path = os.path.join(self._root, name)
        folder = os.path.dirname(path)
        try:
            if folder not in self._folders:
                os.makedirs(folder, exist_ok=True)
                self._folders.add(folder)
            os.replace(staged.to_path(), path)
        except IsADirectoryError as error:
            raise _refuse_folder(self.uri(name)) from error
        except OSError as error:
            raise storage_error("write", self.uri(name), error) from error


class ObjectStorage(Storage):
    """
    A prefix in an object store. Folders are never made, and nothing is listed or looked up to write.

    :param scheme: the URL's scheme.
    :param path: bucket and prefix.
    :param conn_id: the storage connection, None for the worker's own credentials.
    :param write_kwargs: further arguments of the store's write.
    """

    def __init__(self, scheme: str, path: str, conn_id: str | None, write_kwargs: Mapping[str, Any]) -> None:
        self._scheme = scheme
        self._path = path.rstrip("/")
        self._conn_id = conn_id
        self._write_kwargs = write_kwargs
        self._fs = self._filesystem()
        self._room = Room(_UPLOAD_ROOM)
        self._under_way: set[AbstractBufferedFile] = set()
        super().__init__(Path(tempfile.gettempdir()))

    def uri(self, name: str) -> str:
        """Return the URI with the storage connection in it, so that the same credentials open it again."""
        return f"{self._scheme}://{self._conn_id + '@' if self._conn_id else ''}{self._path}/{name}"

    def console_url(self) -> str | None:
        """Return where a cloud's console shows the destination, None where there is no such page."""
        client = getattr(self._fs, "s3", None)  # s3fs; gcsfs has a location
        endpoint = client.meta.endpoint_url if client else getattr(self._fs, "_location", None)
        return console_url(self._scheme, self._path, endpoint)

    def find(self, name: str) -> int | None:
        """Look for an object, past any listing this process has cached."""
        try:
            info = self._info(f"{self._path}/{name}")
        except FileNotFoundError:
            return None
        except Exception as error:
            raise storage_error("look for", self.uri(name), error) from error
        if info["type"] != "file":
            raise _refuse_folder(self.uri(name))
        return int(info["size"])

    def _info(self, path: str) -> Mapping[str, Any]:
        fs = self._fs
        if hasattr(fs, "call_s3"):
            # s3fs's own info lists too where there is no object, in case there is a folder; S3 has none.
            bucket, key, _ = fs.split_path(path)
            head = fs.call_s3("head_object", fs.kwargs, Bucket=bucket, Key=key, **fs.req_kw)
            return {"type": "file", "size": head["ContentLength"]}
        fs.invalidate_cache(path.rpartition("/")[0])
        info: Mapping[str, Any] = fs.info(path)
        return info

    def publish(
        self,
        name: str,
        staged: StagedFile,
        mime_type: str | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """Write the object in one upload, which is aborted when anything goes wrong."""
        options = {**content_type_option(self._scheme, mime_type), **self._write_kwargs}
        with self._room.take(min(staged.size, BLOCK_SIZE)):
            self._upload(name, staged, options, stop or threading.Event())

    def close(self) -> None:
        """Remove everything staged, and abort the uploads in which threads of a stopped task still hang."""

        def abort() -> None:
            for upload in list(self._under_way):
                _abort(upload)

        if self._under_way:
            run_in_passing(abort, seconds=_ABORT_SECONDS)
        super().close()

    def _upload(
        self, name: str, staged: StagedFile, options: Mapping[str, Any], stop: threading.Event
    ) -> None:
        try:
            upload = self._fs.open(f"{self._path}/{name}", "wb", block_size=BLOCK_SIZE, **options)
            self._under_way.add(upload)
            try:
                for chunk in staged.chunks(_CHUNK_BYTES):
                    if stop.is_set():
                        raise NxCloudCancelledError("the task was told to stop")
                    upload.write(chunk)
                upload.close()
            except BaseException:
                _abort(upload)
                raise
            finally:
                self._under_way.discard(upload)
        except NxCloudCancelledError:
            raise
        except Exception as error:
            raise storage_error("write", self.uri(name), error) from error

    def _filesystem(self) -> AbstractFileSystem:
        try:
            return ObjectStoragePath(f"{self._scheme}://{self._path}", conn_id=self._conn_id).fs
        except Exception as error:
            extra = _EXTRAS.get(self._scheme)
            provider = f"airflow-provider-nxcloud[{extra}]" if extra else f"what brings {self._scheme}://"
            raise NxCloudInputError(
                f"destination {self.uri('')!r} cannot be used: {_cause(error)}; is {provider} installed, and the "
                "storage connection complete?"
            ) from error


def _abort(upload: AbstractBufferedFile) -> None:
    # Closing a half-written file would commit it, and garbage collection closes.
    upload.closed = True
    with suppress(Exception):
        upload.discard()


def storage_error(what: str, uri: str, error: Exception) -> NxCloudStorageError:
    """
    Return the error that says what could not be done where, and why.

    :param what: the verb.
    :param uri: the object or folder.
    :param error: what the store raised.
    :return: the error to raise.
    """
    return NxCloudStorageError(f"cannot {what} {uri!r}: {_cause(error)}")


def _refuse_folder(uri: str) -> NxCloudMediaRefusedError:
    return NxCloudMediaRefusedError(f"{uri!r} is a folder; choose another object_name or destination")


def _cause(error: Exception) -> str:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return f"{type(error).__name__}: {text.splitlines()[0][:300] if text else ''}"
