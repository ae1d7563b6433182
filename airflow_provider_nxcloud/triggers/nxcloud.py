"""The trigger that waits for media without holding a worker."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from airflow.providers.common.compat.connection import get_async_connection
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_nxcloud.connection import ConnectionSettings
from airflow_provider_nxcloud.exceptions import NxCloudError
from airflow_provider_nxcloud.hooks.nxcloud import NxCloudHook, named_connection

T = TypeVar("T")

#: All triggers of a triggerer share these threads, so that no call blocks its event loop and NXCloud sees a
#: bounded number of questions at once.
_THREADS = ThreadPoolExecutor(max_workers=16, thread_name_prefix="trigger-nxcloud")


class NxCloudMediaTrigger(BaseTrigger):
    """
    Wait until all of some media can be had.

    It only ever asks (``getMedia``), so a triggerer that restarts repeats nothing but questions.

    :param media_ids: the media IDs.
    :param nxcloud_conn_id: the NXCloud connection; looked up when the trigger starts.
    :param business_phone: the merchant number; default: the one in the connection.
    :param poke_interval: seconds between two looks, default 60; varied by a tenth either way, which keeps
        many triggers apart.
    """

    def __init__(
        self,
        media_ids: Iterable[str],
        nxcloud_conn_id: str,
        business_phone: str | None = None,
        poke_interval: float = 60.0,
    ) -> None:
        super().__init__()
        self.media_ids = list(media_ids)
        self.nxcloud_conn_id = nxcloud_conn_id
        self.business_phone = business_phone
        self.poke_interval = poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments to build an equal trigger elsewhere; none is a secret."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "media_ids": self.media_ids,
                "nxcloud_conn_id": self.nxcloud_conn_id,
                "business_phone": self.business_phone,
                "poke_interval": self.poke_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """
        Look, wait, and look again at what is still missing.

        :return: yields one event: ``{"status": "success", "media_ids": [...]}``, or, when waiting can never
            help, ``{"status": "error", "message": "...", "error": "<class of the error>"}``.
        """
        hook = NxCloudHook(self.nxcloud_conn_id, self.business_phone)
        try:
            with named_connection(self.nxcloud_conn_id):
                connection = await get_async_connection(self.nxcloud_conn_id)
            hook.settings = ConnectionSettings.from_connection(connection, business_phone=self.business_phone)
            await _in_thread(hook.settings.mask_secrets)
            session = await _in_thread(hook.get_conn)
            try:
                await self._wait(hook)
            finally:
                session.close()
        except NxCloudError as error:
            yield TriggerEvent({"status": "error", "message": str(error), "error": type(error).__name__})
        else:
            yield TriggerEvent({"status": "success", "media_ids": self.media_ids})

    async def _wait(self, hook: NxCloudHook) -> None:
        missing = self.media_ids
        while True:
            looks = (_in_thread(partial(hook.is_available, media_id)) for media_id in missing)
            available = await asyncio.gather(*looks)
            missing = [media_id for media_id, there in zip(missing, available, strict=True) if not there]
            if not missing:
                return
            self.log.info("%d of %d media not available yet", len(missing), len(self.media_ids))
            await asyncio.sleep(self.poke_interval * random.uniform(0.9, 1.1))  # noqa: S311


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work)
