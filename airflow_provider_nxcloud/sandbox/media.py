"""The media files that a sandbox serves."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources


@dataclass(eq=False)
class SandboxMedia:
    """
    One file that the sandbox serves.

    To change what is served under an ID, add other media under that ID: the digests are computed once.

    :param media_id: NXCloud's media ID.
    :param content: the bytes of the file.
    :param mime_type: the announced type, which is also the Content-Type of the download.
    :param file_name: the announced name; NXCloud's own example has no extension.
    :param available_after_calls: how many ``getMedia`` calls answer -1 before the first success; a call that
        a fault answers in NXCloud's place does not count.
    :param available_after_seconds: seconds from the creation of this object until ``getMedia`` succeeds.
    """

    media_id: str
    content: bytes = field(repr=False)
    mime_type: str
    file_name: str
    available_after_calls: int = 0
    available_after_seconds: float = 0.0
    _asked: int = field(default=0, init=False, repr=False)
    _created: float = field(default_factory=time.monotonic, init=False, repr=False)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the content, 64 lowercase hexadecimal digits."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def md5(self) -> str:
        """MD5 of the content, 32 lowercase hexadecimal digits."""
        return hashlib.md5(self.content, usedforsecurity=False).hexdigest()

    def ask(self) -> bool:
        """Count one ``getMedia`` call, and return whether it finds the media file; calls must not overlap."""
        self._asked += 1
        waited = time.monotonic() - self._created
        return self._asked > self.available_after_calls and waited >= self.available_after_seconds


def load_samples() -> dict[str, SandboxMedia]:
    """Read the sample files that come with the package, one of each kind that WhatsApp knows, by media ID."""
    folder = resources.files("airflow_provider_nxcloud.sandbox").joinpath("samples")
    rows = json.loads(folder.joinpath("samples.json").read_text(encoding="utf-8"))
    samples = [SandboxMedia(content=folder.joinpath(row.pop("file")).read_bytes(), **row) for row in rows]
    return {media.media_id: media for media in samples}
