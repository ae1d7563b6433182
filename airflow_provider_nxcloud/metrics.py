"""What Airflow's metrics are told about a finished transfer."""

from __future__ import annotations

from collections.abc import Mapping

from airflow.providers.common.compat.sdk import Stats


def report(counts: Mapping[str, int], *, seconds: float, tags: dict[str, str]) -> None:
    """
    Count what was done, wherever ``[metrics]`` of Airflow's configuration sends it.

    Counters are ``nxcloud.media.stored``, ``nxcloud.media.skipped``, ``nxcloud.media.failed`` and
    ``nxcloud.media.bytes`` (stored now), the timer is ``nxcloud.transfer.duration``.

    :param counts: by the last part of the counter's name.
    :param seconds: what the transfer took.
    :param tags: the task's, for backends that take tags.
    """
    for name, count in counts.items():
        Stats.incr(f"nxcloud.media.{name}", count, tags=tags)
    Stats.timing("nxcloud.transfer.duration", seconds * 1000, tags=tags)
