"""How hard the sandbox was asked: calls, refusals, and how many were in flight."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from airflow_provider_nxcloud.sandbox import NxCloudSandbox, SandboxRequest

#: Seconds after which the workers should have found their rate.
SETTLED_AFTER = 20.0


class Pressure:
    """
    Watch a sandbox's API.

    :param sandbox: the sandbox.
    """

    def __init__(self, sandbox: NxCloudSandbox) -> None:
        self._calls: list[tuple[float, float, SandboxRequest]] = []
        sandbox.observer = self._observe

    def _observe(self, request: SandboxRequest) -> None:
        if request.kind == "api":
            self._calls.append((request.at, time.monotonic(), request))

    def report(self, media: int) -> None:
        """Print what came in, in all and once the workers had found their rate."""
        first = min(at for at, _, _ in self._calls)
        tries = Counter(request.media_id for _, _, request in self._calls)
        print(f"  {len(self._calls)} calls for {media} media, at most {max(tries.values())} for one")
        self._report("in all", self._calls)
        self._report(f"after {SETTLED_AFTER:.0f} s", [c for c in self._calls if c[0] - first > SETTLED_AFTER])

    def _report(self, when: str, calls: Sequence[tuple[float, float, SandboxRequest]]) -> None:
        if not calls:
            return
        seconds = max(at for at, _, _ in calls) - min(at for at, _, _ in calls)
        refused = sum(request.status == 429 for _, _, request in calls)
        in_flight = _in_flight(calls)
        through = (len(calls) - refused) / seconds
        print(
            f"  {when}: {len(calls) / seconds:.1f} calls/s, {through:.1f} of them let through; "
            f"{refused / len(calls):.1%} answered 429; in flight {in_flight[len(in_flight) // 2]} in the "
            f"median, at most {in_flight[-1]}",
            flush=True,
        )


def _in_flight(calls: Sequence[tuple[float, float, SandboxRequest]]) -> list[int]:
    """Return how many calls were in flight when each came in, sorted."""
    changes = sorted([(at, 1) for at, _, _ in calls] + [(end, -1) for _, end, _ in calls])
    now, seen = 0, []
    for _, change in changes:
        now += change
        if change > 0:
            seen.append(now)
    return sorted(seen)
