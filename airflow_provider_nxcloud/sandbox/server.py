"""The sandbox as a server: its lifetime, the connection to it, its records, the faults asked of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import partial
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, urlencode

from airflow_provider_nxcloud.sandbox import api, downloads
from airflow_provider_nxcloud.sandbox.fault_plan import FaultPlan
from airflow_provider_nxcloud.sandbox.faults import FAULTS, ApiFaults, DownloadFaults
from airflow_provider_nxcloud.sandbox.http import Listener, Reply
from airflow_provider_nxcloud.sandbox.state import SandboxRequest, SandboxState


@dataclass(kw_only=True, eq=False, repr=False)
class NxCloudSandbox(SandboxState):
    """
    NXCloud's API and its media storage on a port of the loopback interface.

    The settings are attributes; all but host, port and seed may be changed while it runs. A larger
    ``clock_offset``, for example, lets URLs expire without waiting.

    :param access_key: the access key it accepts; the default is a published test value.
    :param access_secret: the secret of that key; the default is a published test value.
    :param business_phone: the merchant number it knows, in digits; any other one answers 9002.
    :param unbound_phones: merchant numbers that answer 9006.
    :param url_lifetime: seconds until the URL of a media file expires; URLs hold whole seconds, rounded down.
    :param clock_offset: seconds by which the server's clock is ahead of this machine's.
    :param host: a loopback address, or ``localhost`` (which means 127.0.0.1).
    :param port: the port; 0 picks a free one.
    :param api_latency: seconds before each answer of the API.
    :param download_latency: seconds before each answer to a download.
    :param rate_limit: API calls per second, beyond which it answers 429 with Retry-After; None is no limit.
    :param fault_rate: the share of requests, 0 to 1, that get a random fault that a retry gets over.
    :param seed: makes the random faults repeatable, as far as the order of the requests is.
    :raises ValueError: if the host is not a loopback address, or the port none.
    """

    host: str = "127.0.0.1"
    port: int = 0
    api_latency: float = 0.0
    download_latency: float = 0.0
    rate_limit: int | None = None
    fault_rate: float = 0.0
    seed: int | None = None
    #: What it was asked, in order of arrival.
    requests: list[SandboxRequest] = field(default_factory=list, init=False)
    #: Called with each recorded request just before its answer is sent.
    observer: Callable[[SandboxRequest], object] | None = field(default=None, init=False)
    _admitted: list[float] = field(default_factory=list, init=False)
    _listener: Listener | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.host == "localhost":
            self.host = "127.0.0.1"
        if not _is_loopback(self.host):
            raise ValueError(f"the sandbox serves loopback addresses only, not {self.host!r}")
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"there is no port {self.port}")
        self._plan = FaultPlan(FAULTS, self.seed)

    def __enter__(self) -> NxCloudSandbox:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """
        Listen and serve from now on, in threads of its own.

        :raises OSError: if it cannot listen on the port, for example because the port is in use.
        :raises RuntimeError: if it runs already.
        """
        if self._listener is not None:
            raise RuntimeError(f"the sandbox runs already, on {self.base_url}")
        self._listener = Listener(self.host, self.port, self._respond)
        host = f"[{self.host}]" if ":" in self.host else self.host
        self._base_url = f"http://{host}:{self._listener.server_address[1]}"
        self._listener.start()

    def stop(self) -> None:
        """Stop within a second, also with requests in flight; nothing if it does not run."""
        if self._listener is not None:
            self._listener.stop()
            self._listener = None

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
        self._plan.inject(name, media_id, times, options)

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
        recorded = [request for request in list(self.requests) if request.kind == kind]
        return [request for request in recorded if media_id in (None, request.media_id)]

    def _respond(self, request: SandboxRequest, wait: Callable[[float], object]) -> Reply:
        self.requests.append(request)
        if latency := self.api_latency if request.kind == "api" else self.download_latency:
            wait(latency)
        reply = self._answer(request)
        reply.headers = {"Date": formatdate(self.now(), usegmt=True), **reply.headers}
        request.status = reply.status
        if self.observer is not None:
            self.observer(request)
        return reply

    def _answer(self, request: SandboxRequest) -> Reply:
        media = self.media.get(request.media_id) if request.media_id is not None else None
        faults, module = (ApiFaults, api) if request.kind == "api" else (DownloadFaults, downloads)
        context = faults(request, media, self.now(), partial(module.answer, self, request))
        if request.kind == "api" and not self._admit(request.at):
            return context.status(status=429, retry_after=1, body="Too Many Requests")
        return self._plan.apply(context, self.fault_rate)

    def _admit(self, at: float) -> bool:
        if self.rate_limit is None:
            return True
        with self._lock:
            self._admitted = [each for each in self._admitted if each > at - 1]
            if len(self._admitted) >= self.rate_limit:
                return False
            self._admitted.append(at)
            return True


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
