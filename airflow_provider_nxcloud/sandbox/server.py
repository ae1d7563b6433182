"""The sandbox as a server: its lifetime, the connection to it, its records, the faults asked of it."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from functools import partial
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import quote, urlencode

from airflow_provider_nxcloud.sandbox import api, downloads
from airflow_provider_nxcloud.sandbox.api_faults import API_FAULTS
from airflow_provider_nxcloud.sandbox.download_faults import DOWNLOAD_FAULTS
from airflow_provider_nxcloud.sandbox.faults import Fault, FaultContext, FaultPlan
from airflow_provider_nxcloud.sandbox.http import Listener, Reply, Request
from airflow_provider_nxcloud.sandbox.state import SandboxRequest, SandboxState

#: Every fault there is, by name.
FAULTS: Mapping[str, Fault] = {**API_FAULTS, **DOWNLOAD_FAULTS}


class NxCloudSandbox(SandboxState):
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
    :param url_lifetime: seconds until the URL of a media file expires; URLs hold whole seconds, rounded down.
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
        super().__init__(
            access_key=access_key,
            access_secret=access_secret,
            business_phone=business_phone,
            unbound_phones=unbound_phones,
            url_lifetime=url_lifetime,
            clock_offset=clock_offset,
        )
        self._host = _loopback_address(host)
        if not 0 <= port <= 65_535:
            raise ValueError(f"there is no port {port}")
        self._port = port
        self.api_latency = api_latency
        self.download_latency = download_latency
        self.rate_limit = rate_limit
        #: What it was asked, in order of arrival.
        self.requests: list[SandboxRequest] = []
        #: Called with each recorded request just before its answer is sent.
        self.observer: Callable[[SandboxRequest], object] | None = None
        self._plan = FaultPlan(FAULTS, fault_rate, seed)
        self._admitted: deque[float] = deque()
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

        :raises OSError: if it cannot listen on the port, for example because the port is in use.
        :raises RuntimeError: if it runs already.
        """
        if self._listener is not None and not self._listener.stopping.is_set():
            raise RuntimeError(f"the sandbox runs already, on {self.base_url}")
        listener = self._listener = Listener(self._host, self._port, respond=self._respond, now=self.now)
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._base_url = f"http://{host}:{listener.server_address[1]}"
        listener.start()

    def stop(self) -> None:
        """Stop within a second, also with requests in flight; nothing if it does not run."""
        if self._listener is not None and not self._listener.stopping.is_set():
            self._listener.stop()

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

    def inject(
        self, name: str, /, *, media_id: str | None = None, times: int | None = 1, **options: Any
    ) -> None:
        """
        Ask for a fault; :data:`FAULTS` lists them.

        Faults with a number of times play out one after the other, one for each request; those without an end
        act on every request they fit, beside the others.

        :param name: its name, for example ``download.cut``.
        :param media_id: only for requests about this media file; None is for all.
        :param times: for so many requests; None is forever.
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

        :param media_id: only those about this media file; None is all.
        :return: the calls in order of arrival.
        """
        return self._recorded("api", media_id)

    def downloads(self, media_id: str | None = None) -> list[SandboxRequest]:
        """
        Return the recorded downloads.

        :param media_id: only those of this media file; None is all.
        :return: the downloads in order of arrival.
        """
        return self._recorded("download", media_id)

    def _recorded(self, kind: str, media_id: str | None) -> list[SandboxRequest]:
        return [
            request
            for request in list(self.requests)
            if request.kind == kind and media_id in (None, request.media_id)
        ]

    def _respond(self, request: Request, wait: Callable[[float], object]) -> Reply:
        kind: Literal["api", "download"] = "download" if request.path.startswith(downloads.PREFIX) else "api"
        media_id = downloads.media_id_of(request) if kind == "download" else api.media_id_of(request)
        record = SandboxRequest(
            kind, request.method, request.path, request.headers, request.body, media_id, time.monotonic()
        )
        self.requests.append(record)
        if latency := self.api_latency if kind == "api" else self.download_latency:
            wait(latency)
        reply = self._answer(record, request)
        record.status = reply.status if reply.head else 0
        if self.observer is not None:
            self.observer(record)
        return reply

    def _answer(self, record: SandboxRequest, request: Request) -> Reply:
        if record.kind == "api" and not self._admit(record.at):
            reply = Reply.of_text(429, "Too Many Requests")
            reply.headers["Retry-After"] = "1"
            return reply
        media = self.media.get(record.media_id) if record.media_id is not None else None
        answer = partial((api if record.kind == "api" else downloads).answer, self, request)
        return self._plan.apply(
            record.kind, record.media_id, FaultContext(request, media, self.now(), answer)
        )

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


def _loopback_address(host: str) -> str:
    """Return the address to listen on, or refuse one that other machines could reach."""
    address = "127.0.0.1" if host == "localhost" else host
    try:
        is_loopback = ip_address(address).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ValueError(f"the sandbox serves loopback addresses only, not {host!r}")
    return address
