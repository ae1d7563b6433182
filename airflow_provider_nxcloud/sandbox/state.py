"""What the answers of a sandbox depend on, and what it records of a request."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from airflow_provider_nxcloud.sandbox.media import SandboxMedia, load_samples


@dataclass
class SandboxRequest:
    """
    What the sandbox records of one request, from the moment it has arrived.

    :param kind: ``download`` for paths under ``/media/``, ``api`` for every other one.
    :param method: its method.
    :param path: its path, without the query that would give access to the media file.
    :param headers: its headers, a mapping whose keys match in any case.
    :param body: its body.
    :param media_id: the media file it is about, if it names one.
    :param at: when it arrived, in seconds of ``time.monotonic()``.
    :param status: the HTTP status of the answer; 0 until there is one, and if no byte is ever sent.
    """

    kind: Literal["api", "download"]
    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    media_id: str | None
    at: float
    status: int = 0


class SandboxState:
    """
    Keys, numbers, clock and media files; :class:`NxCloudSandbox` adds the server.

    :param access_key: the access key it accepts.
    :param access_secret: the secret of that key.
    :param business_phone: the merchant number it knows.
    :param unbound_phones: merchant numbers that answer 9006.
    :param url_lifetime: seconds until the URL of a media file expires.
    :param clock_offset: seconds by which the server's clock is ahead of this machine's.
    """

    def __init__(
        self,
        *,
        access_key: str,
        access_secret: str,
        business_phone: str,
        unbound_phones: Collection[str],
        url_lifetime: float,
        clock_offset: float,
    ) -> None:
        self.access_key = access_key
        self.access_secret = access_secret
        self.business_phone = business_phone
        self.unbound_phones = unbound_phones
        self.url_lifetime = url_lifetime
        self.clock_offset = clock_offset
        #: The key of the URLs' signatures, another one for each sandbox.
        self.url_key = secrets.token_bytes(32)
        #: The media files it serves, by media ID; filled with the samples.
        self.media: dict[str, SandboxMedia] = load_samples()
        self._base_url: str | None = None
        self._lock = threading.Lock()

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
                media_id = str(
                    1 + max((int(known) for known in self.media if known.isdecimal()), default=1000)
                )
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
