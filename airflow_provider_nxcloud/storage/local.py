"""A folder of this machine as a destination: publishing is a rename."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import string
import threading
import unicodedata
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR
from typing import TYPE_CHECKING

from airflow_provider_nxcloud.exceptions import NxCloudMediaRefusedError
from airflow_provider_nxcloud.storage.errors import folder_error, storage_error
from airflow_provider_nxcloud.storage.publishing import Storage, StoredObject
from airflow_provider_nxcloud.storage.staging import StagedFile, make_staging_folder

if TYPE_CHECKING:
    from typing_extensions import Self

_CHUNK_BYTES = 256 * 1024
#: Of ASCII letters alone: others can change their number.
_OTHER_CASE = str.maketrans(string.ascii_letters, string.ascii_letters.swapcase())


class LocalStorage(Storage):
    """A folder of this machine. The staging folder lies in it, so publishing is a rename."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        # No pathlib below: for small files it would take as much time as the file.
        self._root = str(root)
        self._folders = {self._root}
        #: Folder on another file system -> its own staging folder.
        self._staging_beside: dict[str, Path] = {}
        self._lock = threading.Lock()
        #: The names in folders that fold case, as they were last listed.
        self._listed: dict[str, set[str]] = {}

    def __enter__(self) -> Self:
        """Make the folder, with a staging folder in it."""
        try:
            self._staging_parent.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise storage_error("use", self.uri(""), error) from error
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        """Remove everything staged."""
        super().__exit__()
        for folder in self._staging_beside.values():
            shutil.rmtree(folder, ignore_errors=True)

    def uri(self, name: str) -> str:
        """Return the ``file://`` URI."""
        return f"file://{os.path.join(self._root, name)}"

    def find(self, name: str, *, read: bool = False, fresh: bool = False) -> StoredObject | None:
        """Look for a file; nothing but the file itself keeps its SHA-256."""
        path = os.path.join(self._root, name)
        try:
            found = os.stat(path)
            if S_ISDIR(found.st_mode):
                raise folder_error(self.uri(name))
            self._refuse_other_spelling(name)
            return StoredObject(found.st_size, _sha256(path) if read else None)
        except FileNotFoundError:
            return None
        except NotADirectoryError as error:
            raise folder_error(self.uri(name)) from error
        except OSError as error:
            raise storage_error("look for", self.uri(name), error) from error

    def publish(
        self, name: str, staged: StagedFile, mime_type: str | None = None, stop: threading.Event | None = None
    ) -> None:
        """Rename the staged file; a local file keeps no MIME type."""
        path = os.path.join(self._root, name)
        folder = os.path.dirname(path)
        try:
            if folder not in self._folders:
                _make_folders(folder)
                self._folders.add(folder)
            source = staged.finalize()
            try:
                self._rename(source, path, name)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._rename(self._copy_beside(source, folder), path, name)
                os.unlink(source)
            _sync_folder(folder)
        except (IsADirectoryError, NotADirectoryError, FileExistsError) as error:
            raise folder_error(self.uri(name)) from error
        except OSError as error:
            raise storage_error("write", self.uri(name), error) from error

    def _refuse_other_spelling(self, name: str) -> None:
        """Refuse what exists only because its folder folds case: it is another media file's."""
        folder = self._root
        for part in name.split("/"):
            path = os.path.join(folder, part)
            other = part.translate(_OTHER_CASE)
            if os.path.lexists(os.path.join(folder, other if other != part else part.swapcase())):
                if part not in self._listed.get(folder, ()):
                    self._listed[folder] = {unicodedata.normalize("NFC", each) for each in os.listdir(folder)}
                if unicodedata.normalize("NFC", part) not in self._listed[folder]:
                    raise NxCloudMediaRefusedError(
                        "a file with this name in other letter case exists, and the folder ignores case",
                        remedy="choose another object_name or destination",
                        place=repr(self.uri(name)),
                    )
            folder = path

    def _rename(self, source: str, path: str, name: str) -> None:
        with self._lock:  # no other thread gives the name in another spelling meanwhile
            if os.path.lexists(path):
                self._refuse_other_spelling(name)
            os.replace(source, path)

    def _copy_beside(self, source: str, folder: str) -> str:
        """Copy a staged file to where it can be renamed: its folder is on another file system."""
        with self._lock:
            if folder not in self._staging_beside:
                self._staging_beside[folder] = make_staging_folder(Path(folder))
        beside = os.path.join(self._staging_beside[folder], os.path.basename(source))
        with open(source, "rb") as staged, open(beside, "wb") as copy:
            shutil.copyfileobj(staged, copy, _CHUNK_BYTES)
            copy.flush()
            os.fsync(copy.fileno())
        return beside


def _make_folders(folder: str) -> None:
    """Make a folder and its parents, each of which survives a power cut."""
    if not os.path.isdir(folder):
        parent = os.path.dirname(folder)
        _make_folders(parent)
        os.makedirs(folder, exist_ok=True)
        _sync_folder(parent)


def _sync_folder(folder: str) -> None:
    """Have names in a folder survive a power cut, where its file system can be asked for that."""
    with suppress(PermissionError):  # a folder that may be written, but not read
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
