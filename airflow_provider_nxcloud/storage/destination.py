"""From what a DAG author writes as a destination to a storage, or to an error that names it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, ObjectStoragePath

from airflow_provider_nxcloud.exceptions import NxCloudInputError
from airflow_provider_nxcloud.storage.local import LocalStorage
from airflow_provider_nxcloud.storage.publishing import Storage
from airflow_provider_nxcloud.storage.stores import storage_for
from airflow_provider_nxcloud.text import TEMPLATE_MARKER, UNSAFE

_LOCAL = frozenset({"", "file", "local"})


def make_storage(
    destination: object,
    storage_conn_id: str | None,
    write_kwargs: Mapping[str, Any] | None,
    *,
    argument: str = "destination",
) -> Storage:
    """Check a destination, which error texts call ``argument``, without touching it."""
    if not isinstance(write_kwargs, Mapping | None):
        raise NxCloudInputError(f"write_kwargs must be a mapping, not {type(write_kwargs).__name__}")
    if not isinstance(destination, str | os.PathLike | ObjectStoragePath) or not str(destination).strip():
        raise NxCloudInputError(
            f"{argument} must be a URL such as 's3://bucket/prefix' or a local path, not {destination!r}"
        )
    url = str(destination)
    if url.partition("/")[0] == "None":
        raise NxCloudInputError(f"{argument} is {url!r}: the template or task it comes from gave nothing")
    scheme, path = url.split("://", 1) if "://" in url else ("", os.path.expanduser(url))
    scheme = scheme.lower()
    _check_url(url, scheme, path, argument)
    in_url = connection_in(url)
    path = path.removeprefix(f"{in_url}@") if in_url else path
    if storage_conn_id and in_url and storage_conn_id != in_url:
        raise NxCloudInputError(
            f"{argument} names storage connection {in_url!r}, storage_conn_id {storage_conn_id!r}",
            remedy="give one of them",
            place=f"{argument} {url!r}",
        )
    conn_id = storage_conn_id or in_url or None
    _check_connection(conn_id, scheme, f"{argument} {url!r}")
    if scheme in _LOCAL:
        return _make_local(path, url, write_kwargs)
    if path.startswith("/") or not path:
        raise NxCloudInputError(f"{argument} names no bucket", place=repr(url))
    return storage_for(scheme)(scheme, path, conn_id, write_kwargs or {})


def _check_url(url: str, scheme: str, path: str, argument: str) -> None:
    if TEMPLATE_MARKER.search(url):
        raise NxCloudInputError(f"{argument} is a template that was not rendered: {url!r}")
    # Anything else would become a folder below the directory in which some worker happens to run, or /C:.
    is_absolute = re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) or (path.startswith("/") and "://" not in url)
    if not is_absolute or re.match("/[A-Za-z]:", path) or url != url.strip() or UNSAFE.search(url):
        raise NxCloudInputError(
            f"{argument} must be a URL such as 's3://bucket/prefix' or an absolute local path, not {url!r}"
        )
    address, query, _ = url.partition("?")
    if query and scheme not in _LOCAL:  # not shown: it may be a signature
        raise NxCloudInputError(
            f"{argument} has a query, which stores take for the version of an object",
            remedy="remove it",
            place=repr(f"{address}?..."),
        )


def connection_in(url: str) -> str:
    """Return the connection ID that an object storage URL names, empty where it names none."""
    return url.partition("://")[2].partition("/")[0].rpartition("@")[0]


def _check_connection(conn_id: str | None, scheme: str, place: str) -> None:
    """Without this, fsspec would use whatever credentials the worker has."""
    if not conn_id:
        return
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise NxCloudInputError(
            f"storage connection {conn_id!r} is not defined",
            remedy="define it, or name another in storage_conn_id",
            place=place,
        ) from error
    store, conn_type = storage_for(scheme), connection.conn_type
    if store.conn_type and conn_type not in (store.conn_type, "generic", "", None):
        raise NxCloudInputError(
            f"storage connection {conn_id!r} is of type {conn_type!r}, not {store.conn_type!r}",
            remedy="change its type, or name another in storage_conn_id",
            place=place,
        )
    try:
        store.check_connection(connection)
    except ValueError as error:
        raise NxCloudInputError(str(error), place=f"storage connection {conn_id!r} of {place}") from error


def _make_local(path: str, url: str, write_kwargs: Mapping[str, Any] | None) -> LocalStorage:
    if "://" in url and not path.startswith("/"):
        raise NxCloudInputError("a file URL needs an absolute path: file:///folder", place=repr(url))
    if write_kwargs:
        raise NxCloudInputError(
            "write_kwargs are not supported for local paths", remedy="remove them", place=repr(url)
        )
    # With two slashes its URI would not open again.
    return LocalStorage(Path("/", os.path.abspath(path).lstrip("/")))
