"""The faults that API calls and downloads have in common."""

from __future__ import annotations

from airflow_provider_nxcloud.sandbox.faults import Exchange, FaultTable
from airflow_provider_nxcloud.sandbox.gateway import PAGE, status_reply
from airflow_provider_nxcloud.sandbox.wire import Reply


def common_faults(kind: str) -> FaultTable:
    """
    Start the table of the faults of one kind of request.

    :param kind: ``api`` or ``download``.
    :return: the table, with these faults in it under the names of the functions here.
    """
    table = FaultTable()
    for act, heals in (
        (status, True),
        (reset, True),
        (html, True),
        (hang, False),
        (drip, False),
        (drip_head, False),
        (redirect, False),
    ):
        table.add(f"{kind}.{act.__name__}", heals=heals)(act)
    return table


def status(
    exchange: Exchange, *, status: int = 503, retry_after: int | str | None = None, body: str = ""
) -> Reply:
    """Answer an HTTP status; retry_after is seconds or "date:5" for the HTTP date 5 seconds ahead."""
    return status_reply(status, retry_after, body, exchange.now)


def reset(exchange: Exchange) -> Reply:
    """Reset the connection before any byte."""
    return Reply(head=False, ending="reset")


def html(exchange: Exchange) -> Reply:
    """Answer an HTML page with status 200, as captive portals and maintenance pages do."""
    return Reply(200, {"Content-Type": "text/html; charset=utf-8"}, PAGE)


def hang(exchange: Exchange, *, seconds: float = 3600) -> Reply:
    """Send nothing for so many seconds, then close."""
    return Reply(head=False, hold=seconds, ending="close")


def drip(exchange: Exchange, *, interval: float = 1.0) -> Reply:
    """Send the body one byte at a time, one each interval (seconds)."""
    reply = exchange.answer()
    reply.pace = interval
    return reply


def drip_head(exchange: Exchange, *, interval: float = 1.0) -> Reply:
    """Send the status line and the headers one byte at a time, one each interval (seconds)."""
    reply = exchange.answer()
    reply.head_pace = interval
    return reply


def redirect(exchange: Exchange, *, location: str, status: int = 302) -> Reply:
    """Redirect to another address."""
    return Reply(status, {"Location": location})
