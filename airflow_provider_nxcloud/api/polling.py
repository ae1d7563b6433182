"""Availability checks that all triggers of an event loop share, in a few threads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from airflow.providers.common.compat.connection import get_async_connection

from airflow_provider_nxcloud.connection.settings import ConnectionSettings, explain_missing_connection
from airflow_provider_nxcloud.exceptions import NxCloudError
from airflow_provider_nxcloud.text import OncePerCause

if TYPE_CHECKING:
    from airflow_provider_nxcloud.api.client import NxCloudClient

T = TypeVar("T")

#: Seconds after which a failure with the same cause is logged again, by all triggers of an event loop together.
_LOG_INTERVAL = 60.0
#: Calls to NXCloud at a time, from all triggers of an event loop; a triggerer has one.
MAX_CONCURRENT_CALLS = 16


class AvailabilityPoller:
    """Clients, answers and threads that the triggers of one event loop share; from :meth:`of_this_loop`."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MAX_CONCURRENT_CALLS, thread_name_prefix="trigger-nxcloud")
        # Thousands that wait for a thread take less memory here than in its queue.
        self._turns = asyncio.Semaphore(MAX_CONCURRENT_CALLS)
        self._lookups: dict[tuple[str, str | None], asyncio.Task[NxCloudClient]] = {}
        self._clients: WeakSet[NxCloudClient] = WeakSet()
        self._log_once = OncePerCause(_LOG_INTERVAL)
        self._availabilities: WeakValueDictionary[
            tuple[NxCloudClient, str, str | None], MediaAvailability
        ] = WeakValueDictionary()

    @classmethod
    def of_this_loop(cls) -> AvailabilityPoller:
        """Return those of the running event loop."""
        loop = asyncio.get_running_loop()
        return _of_loop.get(loop) or _of_loop.setdefault(loop, cls())

    async def client(self, conn_id: str, business_phone: str | None) -> NxCloudClient:
        """Return a client, its connection looked up now: one for all whose connection says the same."""
        # Thousands of triggers start together, and a secrets backend can take a second: they look it up once.
        key = (conn_id, business_phone)
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = self._lookups[key] = asyncio.create_task(self._look_up(conn_id, business_phone))
            lookup.add_done_callback(lambda _: self._lookups.pop(key))
        return await asyncio.shield(lookup)

    async def _look_up(self, conn_id: str, business_phone: str | None) -> NxCloudClient:
        with explain_missing_connection(conn_id):
            connection = await get_async_connection(conn_id)
        settings = ConnectionSettings.from_connection(connection, business_phone=business_phone)
        for client in self._clients:
            if client.settings == settings:
                return client

        def make_client() -> NxCloudClient:
            # Imported here, because that takes longer than an event loop should be held.
            from airflow_provider_nxcloud.api.client import NxCloudClient

            settings.mask_secrets()
            return NxCloudClient(settings, log_once=self._log_once)

        client = await self._in_thread(make_client)
        self._clients.add(client)
        return client

    def availability(
        self, client: NxCloudClient, media_id: str, business_phone: str | None
    ) -> MediaAvailability:
        """Return what is known about a media file, shared by all who wait for it through this client."""
        key = (client, media_id, business_phone)
        ask = partial(self._in_thread, partial(client.is_available, media_id, business_phone))
        return self._availabilities.setdefault(key, MediaAvailability(ask))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        async with self._turns:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)


#: Not one for all, because what asyncio offers for waiting belongs to a loop.
_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, AvailabilityPoller] = WeakKeyDictionary()


class MediaAvailability:
    """Whether one media file is available, asked once for all who wait for it."""

    def __init__(self, ask: Callable[[], Awaitable[bool]]) -> None:
        self._ask = ask
        self._asking = asyncio.Lock()
        self._answer: bool | NxCloudError = False
        self._number = 0

    async def available(self, seen: int) -> tuple[bool, int]:
        """
        Return whether it is available, and the number of that answer, which is newer than ``seen``.

        The answer may be one that somebody else has got since, or is about to get.
        """
        async with self._asking:
            if self._number == seen:
                try:
                    self._answer = await self._ask()
                except NxCloudError as error:
                    self._answer = error
                self._number += 1
        if isinstance(self._answer, NxCloudError):
            raise self._answer
        return self._answer, self._number
