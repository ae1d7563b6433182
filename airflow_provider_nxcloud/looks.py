"""Looks at media that all the waits of an event loop share, in a few threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from airflow.providers.common.compat.connection import get_async_connection

from airflow_provider_nxcloud.connection import ConnectionSettings, named_connection
from airflow_provider_nxcloud.exceptions import NxCloudError

if TYPE_CHECKING:
    from airflow_provider_nxcloud.hooks.nxcloud import NxCloudHook

T = TypeVar("T")

#: How many questions NXCloud sees at once, from all triggers of a triggerer.
AT_ONCE = 16
_THREADS = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="trigger-nxcloud")


class Looks:
    """What the waits of one event loop share: hooks, answers, and turns to ask; from :meth:`of_this_loop`."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._lookups: dict[tuple[str, str | None], asyncio.Task[NxCloudHook]] = {}
        self._hooks: WeakSet[NxCloudHook] = WeakSet()
        self._looks: WeakValueDictionary[tuple[NxCloudHook, str], Look] = WeakValueDictionary()

    @classmethod
    def of_this_loop(cls) -> Looks:
        """Return those of the running event loop."""
        loop = asyncio.get_running_loop()
        return _of_loop.get(loop) or _of_loop.setdefault(loop, cls())

    async def hook(self, conn_id: str, business_phone: str | None) -> NxCloudHook:
        """
        Return a hook, its connection looked up now.

        :param conn_id: the NXCloud connection.
        :param business_phone: the merchant number; None for the one in the connection.
        :return: the same for all who use a connection that says the same.
        :raises NxCloudConnectionNotFoundError: when there is no such connection.
        :raises NxCloudInputError: when a field of it is wrong.
        """
        # Thousands of triggers start together, and a secrets backend can take a second: they look it up once.
        key = (conn_id, business_phone)
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = self._lookups[key] = asyncio.create_task(self._look_up(conn_id, business_phone))
            lookup.add_done_callback(lambda _: self._lookups.pop(key))
        return await asyncio.shield(lookup)

    async def _look_up(self, conn_id: str, business_phone: str | None) -> NxCloudHook:
        with named_connection(conn_id):
            connection = await get_async_connection(conn_id)
        settings = ConnectionSettings.from_connection(connection, business_phone=business_phone)
        for hook in self._hooks:
            if hook.settings == settings:
                return hook
        hook = await _in_thread(partial(_make_hook, settings))
        self._hooks.add(hook)
        return hook

    def look(self, hook: NxCloudHook, media_id: str) -> Look:
        """
        Return what is known about a media.

        :param hook: from :meth:`hook`.
        :param media_id: the media ID.
        :return: the same for all who look at it through this hook at the same time.
        """
        key = (hook, media_id)
        return self._looks.get(key) or self._looks.setdefault(key, Look(hook, media_id, self._turns))


#: Not one for all, because what asyncio offers for waiting belongs to a loop.
_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Looks] = WeakKeyDictionary()


class Look:
    """
    The answers about one media, each got once for all who wait for it.

    :param hook: asks NXCloud.
    :param media_id: the media ID.
    :param turns: taken while asking, first come, first served.
    """

    __slots__ = ("__weakref__", "_answer", "_asking", "_hook", "_media_id", "_number", "_turns")

    def __init__(self, hook: NxCloudHook, media_id: str, turns: asyncio.Semaphore) -> None:
        self._hook = hook
        self._media_id = media_id
        self._turns = turns
        self._asking: asyncio.Event | None = None
        self._answer: bool | NxCloudError = False
        self._number = 0

    async def available(self, seen: int) -> tuple[bool, int]:
        """
        Take the answer that somebody else has got since, or is about to get, or else ask.

        :param seen: the number of the last answer the caller took, 0 for none.
        :return: whether the media can be had, and the answer's number.
        :raises NxCloudError: when waiting can never help.
        """
        while self._number == seen:
            if self._asking:
                await self._asking.wait()  # whoever asks may be cancelled before there is an answer
            else:
                await self._ask()
        if isinstance(self._answer, NxCloudError):
            raise self._answer
        return self._answer, self._number

    async def _ask(self) -> None:
        self._asking = asked = asyncio.Event()
        try:
            async with self._turns:
                self._answer = await _in_thread(self._ask_in_thread)
            self._number += 1
        finally:
            self._asking = None
            asked.set()

    def _ask_in_thread(self) -> bool | NxCloudError:
        try:
            return self._hook.is_available(self._media_id)
        except NxCloudError as error:
            return error


def _make_hook(settings: ConnectionSettings) -> NxCloudHook:
    # Imported here, because that takes longer than an event loop should be held.
    from airflow_provider_nxcloud.hooks.nxcloud import NxCloudHook

    settings.mask_secrets()
    hook = NxCloudHook(settings.conn_id)
    hook.settings = settings
    hook.get_conn()  # made here, because making it lazily in many threads is not safe
    return hook


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work)
