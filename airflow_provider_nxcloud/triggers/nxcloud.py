"""The trigger that waits for media without holding a worker."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_nxcloud.exceptions import NxCloudError
from airflow_provider_nxcloud.looks import AT_ONCE, Look, Looks


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
        try:
            looks = Looks.of_this_loop()
            hook = await looks.hook(self.nxcloud_conn_id, self.business_phone)
            missing = {looks.look(hook, media_id): 0 for media_id in self.media_ids}
            count = len(self.media_ids)  # as the sensor has said on its worker
            while missing := await _look(missing):
                # Thousands of triggers that say the same can fill the pipe that takes a triggerer's log.
                if len(missing) != count:
                    count = len(missing)
                    self.log.info("%d of %d media not available yet", count, len(self.media_ids))
                await asyncio.sleep(self.poke_interval * random.uniform(0.9, 1.1))  # noqa: S311
        except NxCloudError as error:
            yield TriggerEvent({"status": "error", "message": str(error), "error": type(error).__name__})
        else:
            yield TriggerEvent({"status": "success", "media_ids": self.media_ids})


async def _look(missing: Mapping[Look, int]) -> dict[Look, int]:
    """Look at each media, a few at a time so that other triggers get their turn, and return what is missing."""
    todo = iter(missing.items())
    still_missing: dict[Look, int] = {}
    if len(missing) <= 1:  # thousands of triggers wait for one media each, and a task costs
        await _look_at_some(todo, still_missing)
        return still_missing
    some = [
        asyncio.ensure_future(_look_at_some(todo, still_missing)) for _ in range(min(AT_ONCE, len(missing)))
    ]
    try:
        await asyncio.gather(*some)
    finally:
        for each in some:
            each.cancel()
    return still_missing


async def _look_at_some(todo: Iterator[tuple[Look, int]], still_missing: dict[Look, int]) -> None:
    for look, seen in todo:
        available, number = await look.available(seen)
        if not available:
            still_missing[look] = number
