"""What a long transfer logs while it runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from airflow_provider_nxcloud.text import format_bytes, format_duration
from airflow_provider_nxcloud.transfer.result import MediaResult, count

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger(__name__)

#: Seconds between two progress lines.
INTERVAL = 10.0


class Progress:
    """Log how far a transfer is, in a group that Airflow's UI folds, and a summary after it."""

    def __init__(self, done: Collection[MediaResult], total: int, destination: str) -> None:
        self._media = done
        self._total = total
        self._destination = destination
        self._started = self._logged_at = time.monotonic()

    def __enter__(self) -> Self:
        """Begin the group."""
        log.info("::group::Fetching %d media files into %s", self._total, self._destination)
        return self

    def __exit__(self, *_: object) -> None:
        """End the group, however far it came, and log the summary."""
        log.info("::endgroup::")
        elapsed = format_duration(time.monotonic() - self._started)
        counts = count(self._media)
        log.info("%d of %d media files done in %s: %s", len(self._media), self._total, elapsed, _text(counts))

    def log_if_due(self) -> None:
        """Log how far the transfer is, at most every :data:`INTERVAL` seconds."""
        now = time.monotonic()
        if now - self._logged_at < INTERVAL:
            return
        self._logged_at = now
        elapsed, done, counts = now - self._started, len(self._media), count(self._media)
        left = (
            f"{format_duration((self._total - done) * elapsed / done)} left" if done else "time left unknown"
        )
        rate = format_bytes(counts["bytes"] / elapsed)
        log.info("%d/%d media files done: %s at %s/s; %s", done, self._total, _text(counts), rate, left)


def _text(counts: Mapping[str, int]) -> str:
    numbers = ", ".join(f"{counts[status]} {status}" for status in ("stored", "skipped", "failed"))
    return f"{numbers}; {format_bytes(counts['bytes'])}"
