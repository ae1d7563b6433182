"""What every storage can do: find an object, and publish a verified staged file as one, in one atomic step."""

from __future__ import annotations

import shutil
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_nxcloud.storage.errors import storage_error
from airflow_provider_nxcloud.storage.staging import StagedFile, make_staging_folder

if TYPE_CHECKING:
    from typing_extensions import Self


class StoredObject(NamedTuple):
    """What a store tells of an object: its size in bytes, and its SHA-256 where the store keeps one."""

    size: int
    sha256: str | None = None


class Storage(ABC):
    """A destination whose connection is known; nothing is touched before the ``with``."""

    def __init__(self, staging_parent: Path) -> None:
        self._staging_parent = staging_parent

    def __enter__(self) -> Self:
        """Make the staging folder, where media files wait until they are verified."""
        try:
            self.staging = make_staging_folder(self._staging_parent)
        except OSError as error:
            raise storage_error("stage for", self.uri(""), error) from error
        return self

    def __exit__(self, *_: object) -> None:
        """Remove everything staged; publish nothing afterwards."""
        shutil.rmtree(self.staging, ignore_errors=True)

    def stage(self, *, md5: bool = True) -> StagedFile:
        """Return an empty staged file; ``md5`` as there."""
        return StagedFile(self.staging, md5=md5)

    @abstractmethod
    def uri(self, name: str) -> str:
        """Return what opens the object again: ``ObjectStoragePath(uri)``."""

    def console_url(self) -> str | None:
        """Return where a cloud's console shows the destination, None where there is no such page."""
        return None

    @abstractmethod
    def find(self, name: str, *, read: bool = False, fresh: bool = False) -> StoredObject | None:
        """
        Look for an object.

        It is read for its SHA-256 only if ``read`` and nothing else keeps that. Unless ``fresh``, what a listing
        told a moment ago will do.
        """

    @abstractmethod
    def publish(
        self, name: str, staged: StagedFile, mime_type: str | None = None, stop: threading.Event | None = None
    ) -> None:
        """Make a staged file an object, whole or not at all; ``stop`` ends a long upload early."""
