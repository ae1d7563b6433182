"""What the answers of a sandbox depend on, and what it records of a request."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from email.message import Message
from functools import cached_property
from typing import Any, Literal
from urllib.parse import unquote

from airflow_provider_nxcloud.sandbox.media import SandboxMedia, load_samples

MEDIA_PATH = "/media/"


@dataclass
class SandboxRequest:
    """
    What the sandbox records of one request, from the moment it has arrived.

    :param method: its method.
    :param path: its path, without the query.
    :param query: its query, which gives access to the media file.
    :param headers: its headers; a name matches in any case, and one that is missing gives None.
    :param body: its body.
    :param at: when it arrived, in seconds of ``time.monotonic()``.
    :param status: the HTTP status of the answer; 0 until there is one, and if no byte is ever sent.
    """

    method: str
    path: str
    query: str = field(repr=False)
    headers: Message = field(repr=False)
    body: bytes = field(repr=False)
    at: float = field(default_factory=time.monotonic)
    status: int = 0
    #: ``download`` for paths under ``/media/``, ``api`` for every other one.
    kind: Literal["api", "download"] = field(init=False)
    #: The media file it is about, if it names one.
    media_id: str | None = field(init=False)

    def __post_init__(self) -> None:
        if self.path.startswith(MEDIA_PATH):
            self.kind, self.media_id = "download", unquote(self.path.removeprefix(MEDIA_PATH))
        else:
            named = self.document.get("Media-ID") if isinstance(self.document, dict) else None
            self.kind, self.media_id = "api", named if isinstance(named, str) else None

    @cached_property
    def document(self) -> Any:
        """The body read as JSON; None if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass(kw_only=True, eq=False, repr=False)
class SandboxState:
    """Keys, numbers, clock and media files; :class:`NxCloudSandbox` adds the server."""

    access_key: str = "sandbox-access-key"
    access_secret: str = "sandbox-access-secret"  # noqa: S105 - a published test value
    business_phone: str = "8613800138000"
    unbound_phones: Collection[str] = ()
    url_lifetime: float = 300.0
    clock_offset: float = 0.0
    #: The key of the URLs' signatures, another one for each sandbox.
    url_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), init=False)
    #: The media files it serves, by media ID; filled with the samples.
    media: dict[str, SandboxMedia] = field(default_factory=load_samples, init=False)
    _base_url: str | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    @property
    def base_url(self) -> str:
        """
        The address of the API, without a slash at the end.

        :raises RuntimeError: if the sandbox was never started.
        """
        if self._base_url is None:
            raise RuntimeError("the sandbox was not started; use it as a context manager or call start()")
        return self._base_url

    def now(self) -> float:
        """Return the server's clock, in seconds since the epoch."""
        return time.time() + self.clock_offset

    def add_media(
        self,
        content: bytes,
        mime_type: str,
        *,
        media_id: str | None = None,
        file_name: str = "media",
        available_after_calls: int = 0,
        available_after_seconds: float = 0.0,
    ) -> SandboxMedia:
        """
        Serve one more media file.

        :param content: its bytes.
        :param mime_type: the announced type.
        :param media_id: its ID, which may be one that is taken; None picks a free one.
        :param file_name: the announced name.
        :param available_after_calls: how many ``getMedia`` calls answer -1 before the first success.
        :param available_after_seconds: seconds from now until ``getMedia`` succeeds.
        :return: the media file.
        """
        with self._lock:
            if media_id is None:
                numbers = [int(known) for known in self.media if known.isdecimal()]
                media_id = str(1 + max(numbers, default=1000))
            media = self.media[media_id] = SandboxMedia(
                media_id, content, mime_type, file_name, available_after_calls, available_after_seconds
            )
        return media

    def is_available(self, media: SandboxMedia) -> bool:
        """
        Count one ``getMedia`` call for a media file.

        :param media: the media file asked for.
        :return: whether this call finds it available.
        """
        with self._lock:
            return media.ask()
