"""The sandbox: its settings, its media, what it recorded, and the faults asked of it."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

from airflow_provider_nxcloud.sandbox import api, downloads
from airflow_provider_nxcloud.sandbox.api_faults import API_FAULTS
from airflow_provider_nxcloud.sandbox.download_faults import DOWNLOAD_FAULTS
from airflow_provider_nxcloud.sandbox.faults import Exchange, Fault, FaultPlan
from airflow_provider_nxcloud.sandbox.gateway import status_reply
from airflow_provider_nxcloud.sandbox.listener import Listener, loopback_address
from airflow_provider_nxcloud.sandbox.media import SandboxMedia, load_samples
from airflow_provider_nxcloud.sandbox.records import SandboxRequest
from airflow_provider_nxcloud.sandbox.wire import Reply, Request

#: Every fault there is, by name.
FAULTS: Mapping[str, Fault] = {**API_FAULTS, **DOWNLOAD_FAULTS}


class NxCloudSandbox:
    """
    NXCloud's API and its media storage on a port of the loopback interface.

    The settings are attributes and may be changed while it runs; a larger ``clock_offset``, for example, lets
    URLs expire without waiting.

    :param host: a loopback address, or ``localhost`` (which means 127.0.0.1).
    :param port: the port; 0 picks a free one.
    :param access_key: the access key it accepts; the default is a published test value.
    :param access_secret: the secret of that key; the default is a published test value.
    :param business_phone: the merchant number it knows, in digits; any other one answers 9002.
    :param unbound_phones: merchant numbers that answer 9006.
    :param api_latency: seconds before each answer of the API.
    :param download_latency: seconds before each answer to a download.
    :param url_lifetime: seconds until the URL of a media expires; URLs hold whole seconds, rounded down.
    :param clock_offset: seconds by which the server's clock is ahead of this machine's.
    :param rate_limit: API calls per second, beyond which it answers 429 with Retry-After; None is no limit.
    :param fault_rate: the share of requests, 0 to 1, that get a random fault that a retry gets over.
    :param seed: makes the random faults repeatable, as far as the order of the requests is.
    :raises ValueError: if the host is not a loopback address, or the port none.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        access_key: str = "sandbox-access-key",
        access_secret: str = "sandbox-access-secret",  # noqa: S107 - a published test value
        business_phone: str = "8613800138000",
        unbound_phones: Collection[str] = (),
        api_latency: float = 0.0,
        download_latency: float = 0.0,
        url_lifetime: float = 300.0,
        clock_offset: float = 0.0,
        rate_limit: int | None = None,
        fault_rate: float = 0.0,
        seed: int | None = None,
    ) -> None:
        self._host = loopback_address(host)
        if not 0 <= port <= 65_535:
            raise ValueError(f"there is no port {port}")
        self._port = port
        self.access_key = access_key
        self.access_secret = access_secret
        self.business_phone = business_phone
        self.unbound_phones = unbound_phones
        self.api_latency = api_latency
        self.download_latency = download_latency
        self.url_lifetime = url_lifetime
        self.clock_offset = clock_offset
        self.rate_limit = rate_limit
        #: The key of the URLs' signatures, another one for each sandbox.
        self.url_key = secrets.token_bytes(32)
        #: The media it serves, by media ID; filled with the samples.
        self.media: dict[str, SandboxMedia] = load_samples()
        #: What it was asked, in order of arrival.
        self.requests: list[SandboxRequest] = []
        #: Called with each recorded request just before its answer is sent.
        self.observer: Callable[[SandboxRequest], object] | None = None
        self._plan = FaultPlan(FAULTS, fault_rate, seed)
        self._admitted: deque[float] = deque()
        self._lock = threading.Lock()
        self._listener: Listener | None = None

    def __enter__(self) -> NxCloudSandbox:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def start(self) -> None:
        """
        Listen and serve from now on, in threads of its own.

        :raises OSError: if the port is in use or cannot be had.
        :raises RuntimeError: if it runs already.
        """
        if self._listener is not None and not self._listener.stopping.is_set():
            raise RuntimeError(f"the sandbox runs already, on {self.base_url}")
        self._listener = Listener(self._host, self._port, respond=self._respond, now=self.now)
        self._listener.start()

    def stop(self) -> None:
        """Stop within a second, also with requests in flight; nothing if it does not run."""
        if self._listener is not None and not self._listener.stopping.is_set():
            self._listener.stop()

    @property
    def base_url(self) -> str:
        """
        The address of the API, without a slash at the end.

        :raises RuntimeError: if the sandbox was never started.
        """
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._started.server_address[1]}"

    @property
    def connection(self) -> dict[str, Any]:
        """The Airflow connection to this sandbox, in the shape of Airflow's connection JSON."""
        return {
            "conn_type": "nxcloud",
            "login": self.access_key,
            "password": self.access_secret,
            "host": self.base_url,
            "extra": {"business_phone": self.business_phone},
        }

    @property
    def connection_json(self) -> str:
        """The Airflow connection as JSON, for an ``AIRFLOW_CONN_...`` variable."""
        return json.dumps(self.connection)

    @property
    def connection_uri(self) -> str:
        """The Airflow connection as a URI, for an ``AIRFLOW_CONN_...`` variable."""
        login, password, host = (
            quote(text, safe="") for text in (self.access_key, self.access_secret, self.base_url)
        )
        # As a plain query parameter Airflow 3 would read the number as an int.
        query = urlencode({"__extra__": json.dumps(self.connection["extra"])})
        return f"nxcloud://{login}:{password}@{host}/?{query}"

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
        Serve one more media.

        :param content: the bytes of the file.
        :param mime_type: the announced type.
        :param media_id: its ID, which may be one that is taken; None picks a free one.
        :param file_name: the announced name.
        :param available_after_calls: how many ``getMedia`` calls answer -1 before the first success.
        :param available_after_seconds: seconds from now until ``getMedia`` succeeds.
        :return: the media.
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
        Count one ``getMedia`` call for a media.

        :param media: the media asked for.
        :return: whether this call finds it available.
        """
        with self._lock:
            return media.ask()

    def inject(
        self, name: str, /, *, media_id: str | None = None, times: int | None = 1, **options: Any
    ) -> None:
        """
        Ask for a fault; :data:`FAULTS` lists them.

        Faults with a number of times play out one after the other, one for each request; those for ever act
        on every request they fit, beside the others.

        :param name: its name, for example ``download.cut``.
        :param media_id: only for requests about this media; None is for all.
        :param times: for so many requests; None is for ever.
        :param options: the options of this fault.
        :raises ValueError: if the name, an option or a value is unknown; the text lists the known ones.
        """
        self._plan.inject(name, media_id=media_id, times=times, options=options)

    def reset(self) -> None:
        """Forget the recorded requests and the injected faults."""
        self._plan.clear()
        self.requests.clear()

    def calls(self, media_id: str | None = None) -> list[SandboxRequest]:
        """
        Return the recorded API calls.

        :param media_id: only those about this media; None is all.
        :return: the calls in order of arrival.
        """
        return self._recorded("api", media_id)

    def downloads(self, media_id: str | None = None) -> list[SandboxRequest]:
        """
        Return the recorded downloads.

        :param media_id: only those of this media; None is all.
        :return: the downloads in order of arrival.
        """
        return self._recorded("download", media_id)

    def _recorded(self, kind: str, media_id: str | None) -> list[SandboxRequest]:
        return [
            request
            for request in list(self.requests)
            if request.kind == kind and media_id in (None, request.media_id)
        ]

    @property
    def _started(self) -> Listener:
        if self._listener is None:
            raise RuntimeError("the sandbox was not started; use it as a context manager or call start()")
        return self._listener

    def _respond(self, request: Request) -> Reply:
        if request.path.startswith(downloads.PREFIX):
            media_id: str | None = downloads.media_id_of(request)
            record = SandboxRequest.of("download", request, media_id)
            answer, latency = downloads.answer, self.download_latency
        else:
            media_id = api.media_id_of(request)
            record = SandboxRequest.of("api", request, media_id)
            answer, latency = api.answer, self.api_latency
        self.requests.append(record)
        if latency:
            self._started.stopping.wait(latency)
        if record.kind == "api" and not self._admit(record.at):
            reply = status_reply(429, 1, "Too Many Requests", self.now())
        else:
            media = self.media.get(media_id) if media_id is not None else None
            exchange = Exchange(request, media, self.now(), partial(answer, self, request))
            reply = self._plan.apply(record.kind, media_id, exchange)
        record.status = reply.status if reply.head else 0
        if self.observer is not None:
            self.observer(record)
        return reply

    def _admit(self, at: float) -> bool:
        if self.rate_limit is None:
            return True
        with self._lock:
            while self._admitted and self._admitted[0] <= at - 1:
                self._admitted.popleft()
            if len(self._admitted) >= self.rate_limit:
                return False
            self._admitted.append(at)
            return True
