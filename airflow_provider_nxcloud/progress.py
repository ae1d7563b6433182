"""What a long transfer says while it runs."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger(__name__)

#: Seconds between two progress lines.
INTERVAL = 10.0


class Progress:
    """
    Count what is done and log a line now and then, in a group that Airflow's UI folds, and a summary after it.

    :param total: how many media there are.
    :param destination: where they go.
    """

    def __init__(self, total: int, destination: str) -> None:
        self._total = total
        self._destination = destination
        self._counts: Counter[str] = Counter()
        self._bytes = 0
        self._started = self._spoke = time.monotonic()

    def __enter__(self) -> Self:
        """Begin the group."""
        log.info("::group::Fetching %d media into %s", self._total, self._destination)
        return self

    def __exit__(self, *_: object) -> None:
        """End the group, however far it came, and log the summary."""
        log.info("::endgroup::")
        elapsed = time.monotonic() - self._started
        log.info(
            "%d of %d media done in %.1f s: %s", self._counts.total(), self._total, elapsed, self._done()
        )

    def add(self, record: Mapping[str, Any]) -> None:
        """
        Count one finished media.

        :param record: its result record.
        """
        self._counts[record["status"]] += 1
        if record["status"] == "stored":
            self._bytes += record["size"]

    def speak(self) -> None:
        """Log how far the transfer is, at most every :data:`INTERVAL` seconds."""
        now = time.monotonic()
        if now - self._spoke < INTERVAL:
            return
        self._spoke = now
        elapsed, done = now - self._started, self._counts.total()
        left = f"{(self._total - done) * elapsed / done:.0f} s left" if done else "time left unknown"
        rate = self._bytes / 1e6 / elapsed
        log.info("%d/%d media done: %s at %.1f MB/s; %s", done, self._total, self._done(), rate, left)

    def _done(self) -> str:
        counts = ", ".join(f"{self._counts[status]} {status}" for status in ("stored", "skipped", "failed"))
        return f"{counts}; {self._bytes / 1e6:.1f} MB"
