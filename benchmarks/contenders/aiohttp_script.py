"""An aiohttp script."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import aiohttp
from job import Job, signed_call


async def work(job: Job, session: aiohttp.ClientSession, media_ids: Iterator[str]) -> None:
    for media_id in media_ids:
        headers, body = signed_call(media_id)
        async with session.post(job.api_url, data=body, headers=headers) as answer:
            url = (await answer.json())["data"]["url"]
        async with session.get(url) as media:
            with Path(job.destination, f"{media_id}.jpg").open("wb") as file:
                async for chunk in media.content.iter_chunked(256 * 1024):
                    file.write(chunk)


async def fetch_all(job: Job) -> None:
    connector = aiohttp.TCPConnector(limit=job.workers)
    async with aiohttp.ClientSession(connector=connector, raise_for_status=True) as session:
        media_ids = iter(job.media_ids)
        await asyncio.gather(*(work(job, session, media_ids) for _ in range(job.workers)))


def fetch(job: Job) -> None:
    asyncio.run(fetch_all(job))
