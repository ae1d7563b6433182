"""Receive NXCloud's webhook: `uvicorn receiver:app --no-access-log`."""

# [START receiver]
import hmac
import json
import os
import sqlite3

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse as Answer
from starlette.routing import Route

SECRET = os.environ["WEBHOOK_SECRET"]
MAX_BODY, MAX_WAITING = 100_000, 1_000_000  # bytes, callbacks
OLDEST, NEWEST = "select min(id) from waiting", "select max(id) from waiting"
queue = sqlite3.connect("callbacks.sqlite", isolation_level=None)
queue.executescript("""pragma journal_mode = wal; pragma synchronous = full;
    create table if not exists waiting (id integer primary key autoincrement, callback text)""")


async def receive(request):
    if not hmac.compare_digest(request.path_params["secret"].encode(), SECRET.encode()):
        return Answer("not found", 404)
    body = b""
    async for chunk in request.stream():
        if len(body := body + chunk) > MAX_BODY:
            return Answer("too large", 413)
    try:
        if not isinstance(json.loads(body, parse_constant=int), dict):  # int refuses NaN, as Airflow does
            return Answer("not a JSON object", 400)
    except (ValueError, RecursionError):
        return Answer("not JSON", 400)
    (first,), (last,) = (queue.execute(sql).fetchone() for sql in (OLDEST, NEWEST))
    if first and last - first + 1 >= MAX_WAITING:
        return Answer("too many callbacks wait for Airflow", 503)
    queue.execute("insert into waiting (callback) values (?)", [body.decode()])  # on disk before the answer
    return Answer("ok")


app = Starlette(routes=[Route("/{secret}", receive, methods=["POST"])])
# [END receiver]
