"""The trigger that waits for media files without holding a worker."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_nxcloud.api.polling import MAX_CONCURRENT_CALLS, AvailabilityPoller, MediaAvailability
from airflow_provider_nxcloud.exceptions import NxCloudError
from airflow_provider_nxcloud.media import parse_media_ids
from airflow_provider_nxcloud.text import name_some

#: Seconds after which a trigger logs what is missing although nothing has changed.
LOG_INTERVAL = 3600.0


class NxCloudMediaTrigger(BaseTrigger):
    """
    Wait until all of the media files are available.

    It only ever calls ``getMedia``, so a triggerer that restarts repeats nothing but these calls.

    :param media_ids: the media IDs; a mapping with ``media_id`` and ``business_phone`` for one that was sent to
        another number.
    :param nxcloud_conn_id: the NXCloud connection; looked up when the trigger starts.
    :param business_phone: the merchant number; default: the one in the connection.
    :param poke_interval: seconds between two checks, default 60; varied by a tenth either way, which keeps
        many triggers apart.
    """

    def __init__(
        self,
        media_ids: Iterable[str | Mapping[str, Any]],
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
        Check, wait, and check again what is still missing.

        :return: yields one event: ``{"status": "success", "media_ids": [...]}``, or, when waiting can never
            help, ``{"status": "error", "message": "...", "error": "<class of the error>"}``.
        """
        try:
            poller = AvailabilityPoller.of_this_loop()
            client = await poller.client(self.nxcloud_conn_id, self.business_phone)
            media_ids = {
                poller.availability(client, item.media_id, item.business_phone): item.media_id
                for item in parse_media_ids(self.media_ids)
            }
            missing = dict.fromkeys(media_ids, 0)
            logged = len(media_ids), time.monotonic()  # the sensor has logged it on its worker
            while missing := await _check(missing):
                # Thousands of triggers that repeat themselves can fill the pipe that takes a triggerer's log.
                if len(missing) != logged[0] or time.monotonic() - logged[1] >= LOG_INTERVAL:
                    logged = len(missing), time.monotonic()
                    names = name_some([media_ids[each] for each in media_ids if each in missing])
                    self.log.info("%d of %d media files missing: %s", len(missing), len(media_ids), names)
                await asyncio.sleep(self.poke_interval * random.uniform(0.9, 1.1))  # noqa: S311
        except NxCloudError as error:
            yield TriggerEvent({"status": "error", "message": str(error), "error": type(error).__name__})
        else:
            yield TriggerEvent({"status": "success", "media_ids": self.media_ids})


async def _check(missing: Mapping[MediaAvailability, int]) -> dict[MediaAvailability, int]:
    """Check each media file, a few at a time to leave other triggers their turn, and return what is missing."""
    todo = iter(missing.items())
    still_missing = {}

    async def check_some() -> None:
        for media, seen in todo:
            available, number = await media.available(seen)
            if not available:
                still_missing[media] = number

    if len(missing) == 1:  # thousands of triggers wait for one media file each, and a task costs
        await check_some()
        return still_missing
    some = [asyncio.ensure_future(check_some()) for _ in range(min(MAX_CONCURRENT_CALLS, len(missing)))]
    try:
        await asyncio.gather(*some)
    finally:
        for each in some:
            each.cancel()
    return still_missing
