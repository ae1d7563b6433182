"""From what a DAG author writes as a destination to a storage that is ready, or to an error that names it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, ObjectStoragePath

from airflow_provider_nxcloud.exceptions import NxCloudInputError
from airflow_provider_nxcloud.storage import LocalStorage, ObjectStorage, Storage, storage_error

_LOCAL = frozenset({"", "file", "local"})
#: Azure's is left out, where several are right.
_CONNECTION_TYPES = {
    **dict.fromkeys(("s3", "s3a"), "aws"),
    **dict.fromkeys(("gs", "gcs"), "google_cloud_platform"),
}


def open_storage(
    destination: object,
    *,
    storage_conn_id: str | None,
    write_kwargs: Mapping[str, Any] | None,
    argument: str = "destination",
) -> Storage:
    """
    Check a destination and get it ready.

    :param destination: an ``ObjectStoragePath`` or its URL, or a local path.
    :param storage_conn_id: the storage connection, in place of one in the URL.
    :param write_kwargs: further arguments of the store's write; None for none.
    :param argument: what error texts call it, default ``destination``.
    :return: the destination, for the caller to close.
    :raises NxCloudInputError: when it cannot be one, or its connection does not exist.
    :raises NxCloudStorageError: when the local folder cannot be written.
    """
    if not isinstance(write_kwargs, Mapping | None):
        raise NxCloudInputError(f"write_kwargs must be a mapping, not {type(write_kwargs).__name__}")
    if not isinstance(destination, str | os.PathLike | ObjectStoragePath) or not str(destination).strip():
        raise NxCloudInputError(
            f"{argument} must be a URL such as 's3://bucket/prefix' or a local path, not {destination!r}"
        )
    url = str(destination)
    if url.partition("/")[0] == "None":  # a relative folder of that name would lose the media on some worker
        raise NxCloudInputError(f"{argument} is {url!r}: the template or task it comes from gave nothing")
    scheme, path = url.split("://", 1) if "://" in url else ("", url)
    scheme = scheme.lower()
    if not scheme and re.match(r"~|[A-Za-z][A-Za-z0-9+.-]*:/", os.path.expanduser(path)):
        raise NxCloudInputError(
            f"{argument} {url!r} is neither a local path nor a URL such as 's3://bucket/x'"
        )
    in_url = connection_in(url)
    if in_url:
        path = path[len(in_url) + 1 :]
    if storage_conn_id and in_url and storage_conn_id != in_url:
        raise NxCloudInputError(
            f"{argument} {url!r} names storage connection {in_url!r}, storage_conn_id {storage_conn_id!r}; "
            "give one of them"
        )
    conn_id = storage_conn_id or in_url or None
    _check_connection(conn_id, scheme, f"{argument} {url!r}")
    if scheme in _LOCAL:
        return _open_local(path, url, write_kwargs)
    if path.startswith("/") or not path:
        raise NxCloudInputError(f"{argument} {url!r} names no bucket")
    try:
        return ObjectStorage(scheme, path, conn_id, write_kwargs or {})
    except OSError as error:
        raise storage_error("stage for", url, error) from error


def connection_in(url: str) -> str:
    """
    Return the connection ID that an object storage URL names.

    :param url: for example ``s3://my_aws@bucket/prefix``, or a local path.
    :return: the ID, empty where there is none.
    """
    return urlsplit(url).netloc.rpartition("@")[0] if "://" in url else ""


def _check_connection(conn_id: str | None, scheme: str, user: str) -> None:
    """Without this, fsspec would go on with whatever credentials the worker has."""
    if not conn_id:
        return
    try:
        conn_type = BaseHook.get_connection(conn_id).conn_type
    except AirflowNotFoundException as error:
        raise NxCloudInputError(
            f"storage connection {conn_id!r} of {user} is not defined; define it, or name another in "
            "storage_conn_id"
        ) from error
    expected = _CONNECTION_TYPES.get(scheme)
    if expected and conn_type not in (expected, "generic", "", None):
        raise NxCloudInputError(
            f"storage connection {conn_id!r} of {user} is of type {conn_type!r}, where {expected!r} is needed"
        )


def _open_local(path: str, url: str, write_kwargs: Mapping[str, Any] | None) -> LocalStorage:
    if "://" in url and not path.startswith("/"):
        raise NxCloudInputError(f"destination {url!r} needs an absolute path: file:///folder")
    if write_kwargs:
        raise NxCloudInputError(f"write_kwargs {sorted(write_kwargs)} mean nothing to the local path {url!r}")
    try:
        return LocalStorage(Path(os.path.abspath(os.path.expanduser(path))))
    except (OSError, ValueError) as error:
        raise storage_error("use", url, error) from error
