"""Where a media file waits, in memory or on disk, until it is verified and a storage publishes it."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

#: Bytes of one media file kept in memory; what is larger goes to disk.
MEMORY_LIMIT = 512 * 1024
#: How staging folders begin, hidden on every system and recognisable.
FOLDER_PREFIX = ".nxcloud-staging-"
#: Staging folders older than this were left by a killed process, in seconds.
STRAY_AGE = 24 * 3600

_CHUNK_BYTES = 256 * 1024
_numbers = itertools.count()


def make_staging_folder(parent: Path) -> Path:
    """Make a folder for the staged files of one run, and remove what killed runs left a day ago or before."""
    with os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(FOLDER_PREFIX):
                # Another run may remove it, or own it, at the same time.
                with suppress(OSError):
                    if time.time() - entry.stat().st_mtime > STRAY_AGE:
                        shutil.rmtree(entry.path)
    return Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=parent))


class StagedFile:
    """The bytes of one media file, hashed as they arrive; the slow MD5 only with ``md5``, or when asked for."""

    def __init__(self, folder: str | os.PathLike[str], *, md5: bool = True) -> None:
        # No pathlib here: for small files it would take as much time as the file.
        self._path = f"{os.fspath(folder)}/{next(_numbers)}"
        self._md5_on_arrival = md5
        self._file: BinaryIO = io.BytesIO()
        self.reset()

    def reset(self) -> None:
        """Forget everything written so far."""
        self.discard()
        self._file = io.BytesIO()
        self.size = 0
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)

    def write(self, chunk: bytes) -> None:
        """Append bytes."""
        if isinstance(self._file, io.BytesIO) and self.size + len(chunk) > MEMORY_LIMIT:
            self._spill(self._file)
        self._file.write(chunk)
        self.size += len(chunk)
        self._sha256.update(chunk)
        if self._md5_on_arrival:
            self._md5.update(chunk)

    @property
    def sha256(self) -> str:
        """SHA-256 of everything written, in lower-case hex."""
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str:
        """MD5 of everything written, in lower-case hex."""
        if self._md5_on_arrival:
            return self._md5.hexdigest()
        late = hashlib.md5(usedforsecurity=False)
        for chunk in self.chunks(_CHUNK_BYTES):
            late.update(chunk)
        return late.hexdigest()

    def head(self, size: int) -> bytes:
        """Return the first bytes."""
        self._file.seek(0)
        start = self._file.read(size)
        self._file.seek(0, os.SEEK_END)
        return start

    def chunks(self, size: int) -> Iterator[bytes]:
        """Read everything written, after the last write."""
        self._file.seek(0)
        while chunk := self._file.read(size):
            yield chunk

    def finalize(self) -> str:
        """Finish the file on disk, safe from power cuts, and return its path for the caller to move it away."""
        if isinstance(self._file, io.BytesIO):
            self._spill(self._file)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._path

    def discard(self) -> None:
        """Remove everything; harmless when it was done before."""
        in_memory = isinstance(self._file, io.BytesIO)
        self._file.close()
        if not in_memory:
            with suppress(FileNotFoundError):
                os.unlink(self._path)

    def _spill(self, memory: io.BytesIO) -> None:
        self._file = open(self._path, "w+b")  # noqa: SIM115, it is closed by discard and finalize
        self._file.write(memory.getbuffer())
