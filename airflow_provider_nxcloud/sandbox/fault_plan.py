"""What a fault is, how it is asked for, and which ones a request gets."""

from __future__ import annotations

import inspect
import math
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, get_args, get_origin

from airflow_provider_nxcloud.sandbox.http import Reply
from airflow_provider_nxcloud.sandbox.media import SandboxMedia
from airflow_provider_nxcloud.sandbox.state import SandboxRequest

#: What ``isinstance`` wants to hear in place of these annotations.
_INSTANCE_TYPES: Mapping[Any, Any] = {float: (int, float), dict[str, Any]: dict}


@dataclass(frozen=True)
class FaultContext:
    """What a fault gets to see; ``answer`` gives the reply without it."""

    request: SandboxRequest
    media: SandboxMedia | None
    now: float
    answer: Callable[[], Reply]


@dataclass(frozen=True)
class Fault:
    """One kind of fault; ``apply`` takes the context, and the options as keywords."""

    name: str
    apply: Callable[..., Reply]
    #: A client that retries gets over it, so that it may be a random fault.
    transient: bool
    #: It cannot happen to a request without a Range.
    needs_range: bool

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


@dataclass
class _Injected:
    fault: Fault
    media_id: str | None
    times: float
    options: Mapping[str, Any]

    def fits(self, request: SandboxRequest) -> bool:
        return (
            self.fault.name.startswith(f"{request.kind}.")
            and self.media_id in (None, request.media_id)
            and not (self.fault.needs_range and "Range" not in request.headers)
        )


class FaultPlan:
    """The faults asked for, and the random ones."""

    def __init__(self, table: Mapping[str, Fault], seed: int | None) -> None:
        self._table = table
        self._random = random.Random(seed)  # noqa: S311 - no secret depends on it
        self._injected: list[_Injected] = []
        self._lock = threading.Lock()

    def inject(self, name: str, media_id: str | None, times: int | None, options: Mapping[str, Any]) -> None:
        """Ask for a fault, as :meth:`NxCloudSandbox.inject` says."""
        if name not in self._table:
            raise ValueError(f"unknown fault {name!r}; known: {', '.join(self._table)}")
        if times is not None and (not isinstance(times, int) or times < 1):
            raise ValueError(f"times is a number from 1 or None, not {times!r}")
        self._table[name].check(options)
        injected = _Injected(self._table[name], media_id, math.inf if times is None else times, options)
        with self._lock:
            self._injected.append(injected)

    def clear(self) -> None:
        """Forget the faults asked for; the random ones stay."""
        with self._lock:
            self._injected.clear()

    def apply(self, context: FaultContext, rate: float) -> Reply:
        """Answer a request with the faults that are due, else, at this rate, with a random one."""
        with self._lock:
            due = self._take(context.request) or self._pick(context.request, rate)
        answer = context.answer
        for each in due:
            answer = partial(each.fault.apply, replace(context, answer=answer), **each.options)
        return answer()

    def _take(self, request: SandboxRequest) -> list[_Injected]:
        """Count down what a request gets: all faults without an end, and the oldest of the others."""
        fitting = [each for each in self._injected if each.fits(request)]
        taken = [each for each in fitting if each.times == math.inf]
        taken += [each for each in fitting if each.times < math.inf][:1]
        for each in taken:
            each.times -= 1
        self._injected = [each for each in self._injected if each.times]
        return taken

    def _pick(self, request: SandboxRequest, rate: float) -> list[_Injected]:
        if self._random.random() >= rate:
            return []
        known = [each for each in self._table.values() if each.name.startswith(f"{request.kind}.")]
        fault = self._random.choice([each for each in known if each.transient])
        return [_Injected(fault, None, 1, {})]
