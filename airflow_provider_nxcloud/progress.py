"""What a long transfer says while it runs."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)

#: Seconds between two progress lines.
INTERVAL = 10.0


class Progress:
    """
    Count what is done and log a line now and then.

    :param total: how many media there are.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._counts: Counter[str] = Counter()
        self._bytes = 0
        self._started = self._spoke = time.monotonic()

    def add(self, record: Mapping[str, Any]) -> None:
        """
        Count one finished media.

        :param record: its result record.
        """
        self._counts[record["status"]] += 1
        if record["status"] == "stored":
            self._bytes += record["size"]

    def speak(self, *, at_end: bool = False) -> None:
        """
        Log how far the transfer is, at most every :data:`INTERVAL` seconds.

        :param at_end: log the summary, whenever the last line was.
        """
        now = time.monotonic()
        elapsed = now - self._started
        done = self._counts.total()
        counts = ", ".join(f"{self._counts[status]} {status}" for status in ("stored", "skipped", "failed"))
        megabytes = self._bytes / 1e6
        if at_end:
            log.info(
                "%d of %d media done in %.1f s: %s; %.1f MB", done, self._total, elapsed, counts, megabytes
            )
        elif now - self._spoke >= INTERVAL:
            self._spoke = now
            left = f"{(self._total - done) * elapsed / done:.0f} s left" if done else "time left unknown"
            log.info(
                "%d/%d media done: %s; %.1f MB at %.1f MB/s; %s",
                *(done, self._total, counts, megabytes, megabytes / elapsed, left),
            )
