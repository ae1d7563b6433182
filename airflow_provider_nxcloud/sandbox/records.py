"""What a sandbox records."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from airflow_provider_nxcloud.sandbox.wire import Request


@dataclass
class SandboxRequest:
    """
    What the sandbox records of one request, from the moment it has arrived.

    :param kind: ``download`` for paths under ``/media/``, ``api`` for every other one.
    :param method: its method.
    :param path: its path, without the query that would give access to the media.
    :param headers: its headers, a mapping whose keys match in any case.
    :param body: its body.
    :param media_id: the media it is about, if it names one.
    :param at: when it arrived, in seconds of ``time.monotonic()``.
    :param status: the HTTP status of the answer; 0 until there is one, and if no byte is ever sent.
    """

    kind: Literal["api", "download"]
    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    media_id: str | None
    at: float
    status: int = 0

    @classmethod
    def of(cls, kind: Literal["api", "download"], request: Request, media_id: str | None) -> SandboxRequest:
        """
        Record a request that arrives now.

        :param kind: see the class.
        :param request: the request.
        :param media_id: the media it is about, if it names one.
        :return: the record, without a status yet.
        """
        return cls(
            kind, request.method, request.path, request.headers, request.body, media_id, time.monotonic()
        )
