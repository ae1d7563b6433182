"""Faults: how they are declared, asked for and picked for a request."""

from __future__ import annotations

import inspect
import random
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, get_args, get_origin

from airflow_provider_nxcloud.sandbox.http import Reply, Request
from airflow_provider_nxcloud.sandbox.media import SandboxMedia

# The types of options that take not every value of their type, each with what it takes.
Share = Annotated[float, lambda share: 0 <= share <= 1]
Seconds = Annotated[float, lambda seconds: seconds > 0]
Shift = Annotated[int, lambda shift: shift != 0]
Status = Annotated[int, lambda status: 200 <= status <= 599]
RetryAfter = Annotated[int | str | None, lambda value: re.fullmatch(r"\d+|date:\d+|None", str(value))]
#: What ``isinstance`` wants to hear in place of these annotations.
_INSTANCE_TYPES: Mapping[Any, Any] = {float: (int, float), dict[str, Any]: dict}


@dataclass(frozen=True)
class FaultContext:
    """What a fault gets to see; ``answer`` gives the reply without it."""

    request: Request
    media: SandboxMedia | None
    now: float
    answer: Callable[[], Reply]


@dataclass(frozen=True)
class Fault:
    """
    One kind of fault; its options are the keyword-only parameters of ``apply``.

    A client that retries gets over a ``transient`` one, so that it may be a random fault. Without the request
    header that it ``needs`` it cannot happen.
    """

    name: str
    apply: Callable[..., Reply]
    transient: bool
    needs: str | None

    @property
    def usage(self) -> str:
        """The name and the options with their defaults."""
        parameters = list(inspect.signature(self.apply).parameters.values())[1:]
        texts = [str(parameter.replace(annotation=inspect.Parameter.empty)) for parameter in parameters]
        return f"{self.name}({', '.join(texts)})"

    def check(self, options: Mapping[str, Any]) -> None:
        """Refuse with ValueError options that this fault does not have, and values that it cannot use."""
        signature = inspect.signature(self.apply, eval_str=True)
        try:
            signature.bind(None, **options)
        except TypeError as error:
            raise ValueError(f"{error}; known: {self.usage}") from None
        for name in signature.parameters.keys() & options.keys():
            if not _fits(options[name], signature.parameters[name].annotation):
                raise ValueError(f"{self.name} cannot use {name}={options[name]!r}; known: {self.usage}")


def _fits(value: Any, annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        annotation, accepts = get_args(annotation)
        return _fits(value, annotation) and bool(accepts(value))
    if annotation is Any or isinstance(value, bool):
        return annotation in (Any, bool)
    return isinstance(value, _INSTANCE_TYPES.get(annotation, annotation))


class FaultTable(dict[str, Fault]):
    """Faults by name; a module of faults fills one with the decorator :meth:`add`."""

    def add(
        self, name: str, *, transient: bool = False, needs: str | None = None
    ) -> Callable[[Callable[..., Reply]], Callable[..., Reply]]:
        """Declare the decorated function as a fault; see :class:`Fault` for the parameters."""

        def declare(apply: Callable[..., Reply]) -> Callable[..., Reply]:
            self[name] = Fault(name, apply, transient, needs)
            return apply

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

    Those asked for without an end all act on every request they fit, in the order they were asked for. Of those
    with a number of times, a request gets one, the oldest, so they play out one after the other.
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
        """Ask for a fault, as :meth:`NxCloudSandbox.inject` says."""
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

    def apply(self, kind: str, media_id: str | None, context: FaultContext) -> Reply:
        """Answer a request of a kind, ``api`` or ``download``, with the faults that are due."""
        answer = context.answer
        for fault, options in self._take(kind, media_id, context.request):
            answer = partial(fault.apply, replace(context, answer=answer), **options)
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
            transient = [f for f in self._table.values() if f.transient and f.name.startswith(f"{kind}.")]
            return [(self._random.choice(transient), {})]

    def _count_down(self, injected: _Injected) -> None:
        if injected.times is not None:
            injected.times -= 1
            if not injected.times:
                self._injected.remove(injected)
