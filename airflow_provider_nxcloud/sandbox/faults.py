"""Faults: how they are declared, asked for and picked for a request."""

from __future__ import annotations

import inspect
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from airflow_provider_nxcloud.sandbox.fault_options import is_usable
from airflow_provider_nxcloud.sandbox.media import SandboxMedia
from airflow_provider_nxcloud.sandbox.wire import Reply, Request


@dataclass(frozen=True)
class Exchange:
    """
    What a fault gets to see.

    :param request: the request to answer.
    :param media: the media it is about, if there is one.
    :param now: the server's clock, in seconds since the epoch.
    :param answer: gives the reply without the fault; a gateway that answers itself does not call it.
    """

    request: Request
    media: SandboxMedia | None
    now: float
    answer: Callable[[], Reply]


@dataclass(frozen=True)
class Fault:
    """
    One kind of fault; its options are the keyword-only parameters of ``act``.

    :param name: its name; the part before the dot says which requests it is for, ``api`` or ``download``.
    :param act: gives the reply with the fault.
    :param heals: whether random faults include it: a client that tries again gets over it.
    :param needs: a request header without which it cannot happen.
    """

    name: str
    act: Callable[..., Reply]
    heals: bool
    needs: str | None

    @property
    def usage(self) -> str:
        """The name and the options with their defaults."""
        parameters = list(inspect.signature(self.act).parameters.values())[1:]
        texts = [str(parameter.replace(annotation=inspect.Parameter.empty)) for parameter in parameters]
        return f"{self.name}({', '.join(texts)})"

    def check(self, options: Mapping[str, Any]) -> None:
        """
        Refuse options this fault does not have, and values it cannot use.

        :param options: the options to check.
        :raises ValueError: naming what is wrong and what there is.
        """
        try:
            inspect.signature(self.act).bind(None, **options)
        except TypeError as error:
            raise ValueError(f"{error}; known: {self.usage}") from None
        for name in inspect.signature(self.act).parameters.keys() & options.keys():
            if not is_usable(name, options[name]):
                raise ValueError(f"{self.name} cannot use {name}={options[name]!r}; known: {self.usage}")


class FaultTable(dict[str, Fault]):
    """Faults by name; a module of faults fills one with the decorator :meth:`add`."""

    def add(
        self, name: str, *, heals: bool = False, needs: str | None = None
    ) -> Callable[[Callable[..., Reply]], Callable[..., Reply]]:
        """
        Declare the decorated function as a fault.

        :param name: see :class:`Fault`.
        :param heals: see :class:`Fault`.
        :param needs: see :class:`Fault`.
        :return: the decorator.
        """

        def declare(act: Callable[..., Reply]) -> Callable[..., Reply]:
            self[name] = Fault(name, act, heals, needs)
            return act

        return declare


@dataclass
class _Injected:
    fault: Fault
    media_id: str | None
    times: int | None
    options: Mapping[str, Any]

    def fits(self, kind: str, media_id: str | None, request: Request) -> bool:
        return (
            self.fault.name.startswith(f"{kind}.")
            and self.media_id in (None, media_id)
            and (self.fault.needs is None or self.fault.needs in request.headers)
        )


class FaultPlan:
    """
    The faults asked for, and the random ones.

    Those for ever all act on every request they fit, in the order they were asked for. Of those with a number
    of times, a request gets one, the oldest, so they play out one after the other.

    :param table: every fault there is.
    :param rate: the share of requests, 0 to 1, that get a random fault where no other one acts.
    :param seed: makes the random choices repeatable, as far as the order of the requests is.
    """

    def __init__(self, table: Mapping[str, Fault], rate: float, seed: int | None) -> None:
        self._table = table
        self._rate = rate
        self._random = random.Random(seed)  # noqa: S311 - no secret depends on it
        self._injected: list[_Injected] = []
        self._lock = threading.Lock()

    def inject(
        self, name: str, *, media_id: str | None, times: int | None, options: Mapping[str, Any]
    ) -> None:
        """
        Ask for a fault.

        :param name: its name in the table.
        :param media_id: only for requests about this media; None is for all.
        :param times: for so many requests; None is for ever.
        :param options: its options.
        :raises ValueError: if the name, an option or a value is unknown; the text lists the known ones.
        """
        if name not in self._table:
            raise ValueError(f"unknown fault {name!r}; known: {', '.join(self._table)}")
        if times is not None and (not isinstance(times, int) or times < 1):
            raise ValueError(f"times is a number from 1 or None, not {times!r}")
        self._table[name].check(options)
        with self._lock:
            self._injected.append(_Injected(self._table[name], media_id, times, options))

    def clear(self) -> None:
        """Forget the faults asked for; the random ones stay."""
        with self._lock:
            self._injected.clear()

    def apply(self, kind: str, media_id: str | None, exchange: Exchange) -> Reply:
        """
        Answer a request with the faults that are due.

        :param kind: ``api`` or ``download``.
        :param media_id: the media the request is about.
        :param exchange: the request and its answer without faults.
        :return: the reply to send.
        """
        answer = exchange.answer
        for fault, options in self._take(kind, media_id, exchange.request):
            answer = partial(
                fault.act, Exchange(exchange.request, exchange.media, exchange.now, answer), **options
            )
        return answer()

    def _take(
        self, kind: str, media_id: str | None, request: Request
    ) -> list[tuple[Fault, Mapping[str, Any]]]:
        with self._lock:
            due = [each for each in self._injected if each.fits(kind, media_id, request)]
            taken = [each for each in due if each.times is None]
            for each in [each for each in due if each.times is not None][:1]:
                taken.append(each)
                self._count_down(each)
            if taken or self._random.random() >= self._rate:
                return [(each.fault, each.options) for each in taken]
            healing = [f for f in self._table.values() if f.heals and f.name.startswith(f"{kind}.")]
            return [(self._random.choice(healing), {})]

    def _count_down(self, injected: _Injected) -> None:
        if injected.times is not None:
            injected.times -= 1
            if not injected.times:
                self._injected.remove(injected)
