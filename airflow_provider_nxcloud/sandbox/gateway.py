"""Answers of what stands before NXCloud and its storage: gateways and proxies."""

from __future__ import annotations

from email.utils import formatdate

from airflow_provider_nxcloud.sandbox.wire import Reply

PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>\n"


def status_reply(status: int, retry_after: int | str | None, body: str, now: float) -> Reply:
    """
    Return a plain status, as a gateway gives it.

    :param status: the HTTP status.
    :param retry_after: the Retry-After header: seconds, or ``"date:5"`` for the HTTP date 5 seconds ahead;
        None leaves it out.
    :param body: the text of the answer.
    :param now: the server's clock, in seconds since the epoch.
    :return: the reply.
    """
    headers = {"Content-Type": "text/plain"}
    if isinstance(retry_after, str):
        headers["Retry-After"] = formatdate(now + int(retry_after.removeprefix("date:")), usegmt=True)
    elif retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return Reply(status, headers, body.encode())
