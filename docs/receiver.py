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
MAX_BODY, MAX_DEPTH, MAX_WAITING = 100_000, 100, 1_000_000  # bytes, levels, callbacks
ENDS = "select (select min(id) from waiting), (select max(id) from waiting)"
queue = sqlite3.connect("callbacks.sqlite", isolation_level=None)
queue.executescript("""pragma journal_mode = wal; pragma synchronous = full;
    create table if not exists waiting (id integer primary key autoincrement, callback text)""")


def depth(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inner), default=0)


async def receive(request):
    if not hmac.compare_digest(request.path_params["secret"].encode(), SECRET.encode()):
        return Answer("not found", 404)
    body = b""
    async for chunk in request.stream():
        if len(body := body + chunk) > MAX_BODY:
            return Answer("too large", 413)
    try:
        callback = json.loads(body)
        # What Airflow fails on would hold up all others: NaN, half an emoji, endless nesting.
        text = json.dumps(callback, ensure_ascii=False, allow_nan=False).encode(errors="replace").decode()
        if not isinstance(callback, dict) or depth(callback) > MAX_DEPTH:
            return Answer("not a JSON object, or nested too deep", 400)
    except (ValueError, RecursionError):
        return Answer("not JSON", 400)
    first, last = queue.execute(ENDS).fetchone()
    if first and last - first + 1 >= MAX_WAITING:
        return Answer("too many callbacks wait for Airflow", 503)
    queue.execute("insert into waiting (callback) values (?)", [text])  # on disk before the answer
    return Answer("ok")


app = Starlette(routes=[Route("/{secret}", receive, methods=["POST"])])
# [END receiver]
