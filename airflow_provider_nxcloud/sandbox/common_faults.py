"""The faults that API calls and downloads have in common."""

from __future__ import annotations

from email.utils import formatdate

from airflow_provider_nxcloud.sandbox.faults import FaultContext, FaultTable, RetryAfter, Seconds, Status
from airflow_provider_nxcloud.sandbox.http import Reply

PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>\n"


def common_faults(kind: str) -> FaultTable:
    """Start the table of one kind of request, ``api`` or ``download``, with the faults of this module."""
    table = FaultTable()
    for apply in (status, reset, html, hang, drip, drip_head, redirect):
        table.add(f"{kind}.{apply.__name__}", transient=apply in (status, reset, html))(apply)
    return table


def status(
    context: FaultContext, *, status: Status = 503, retry_after: RetryAfter = None, body: str = ""
) -> Reply:
    """Answer an HTTP status; retry_after is seconds or "date:5" for the HTTP date 5 seconds ahead."""
    reply = Reply.of_text(status, body)
    if isinstance(retry_after, str) and retry_after.startswith("date:"):
        retry_after = formatdate(context.now + int(retry_after.removeprefix("date:")), usegmt=True)
    if retry_after is not None:
        reply.headers["Retry-After"] = str(retry_after)
    return reply


def reset(context: FaultContext) -> Reply:
    """Reset the connection before any byte."""
    return Reply(head=False, ending="reset")


def html(context: FaultContext) -> Reply:
    """Answer an HTML page with status 200, as captive portals and maintenance pages do."""
    return Reply(200, {"Content-Type": "text/html; charset=utf-8"}, PAGE)


def hang(context: FaultContext, *, seconds: Seconds = 3600) -> Reply:
    """Send nothing for so many seconds, then close."""
    return Reply(head=False, hold=seconds, ending="close")


def drip(context: FaultContext, *, interval: Seconds = 1.0) -> Reply:
    """Send the body one byte at a time, one each interval (seconds)."""
    reply = context.answer()
    reply.pace = interval
    return reply


def drip_head(context: FaultContext, *, interval: Seconds = 1.0) -> Reply:
    """Send the status line and the headers one byte at a time, one each interval (seconds)."""
    reply = context.answer()
    reply.head_pace = interval
    return reply


def redirect(context: FaultContext, *, location: str, status: Status = 302) -> Reply:
    """Redirect to another address."""
    return Reply(status, {"Location": location})
