"""Post the callbacks that receiver.py has queued to Airflow 3, as events of an asset: `python poster.py`."""

# [START poster]
import json
import logging
import os
import sqlite3
import time

import requests

AIRFLOW, ASSET = os.environ["AIRFLOW_URL"], "x-nxcloud://whatsapp/callbacks"
LOGIN = {"username": os.environ["AIRFLOW_USER"], "password": os.environ["AIRFLOW_PASSWORD"]}
EVENTS, PER_EVENT = "/api/v2/assets/events", 100
queue = sqlite3.connect("callbacks.sqlite", isolation_level=None, timeout=60)
queue.executescript("""create table if not exists refused (id integer primary key, callback text);
    create table if not exists waiting (id integer primary key autoincrement, callback text)""")


def call(method, path, token=None, **arguments):
    headers = {"Authorization": f"Bearer {token}"} if token else None
    response = requests.request(
        method, AIRFLOW + path, headers=headers, timeout=30, allow_redirects=False, **arguments
    )
    response.raise_for_status()
    return response.json()


def log_in():
    token = call("POST", "/auth/token", json=LOGIN)["access_token"]
    assets = call("GET", "/api/v2/assets", token, params={"name_pattern": ASSET})["assets"]
    ids = [asset["id"] for asset in assets if asset["uri"] == ASSET]
    if not ids:
        raise LookupError(f"Airflow has no asset {ASSET!r}; is its DAG there, without import errors?")
    return token, ids[0]


session, wait, limit = None, 1, PER_EVENT
while True:
    rows = queue.execute("select * from waiting order by id limit ?", [limit]).fetchall()
    if not rows:
        time.sleep(0.5)
        continue
    try:
        token, asset = session = session or log_in()
        extra = {"callbacks": [json.loads(callback) for _, callback in rows]}
        call("POST", EVENTS, token, json={"asset_id": asset, "extra": extra})["asset_id"]  # it was Airflow
    except Exception as error:  # whatever it is, what waits is kept
        answer = error.response if isinstance(error, requests.HTTPError) else None
        if answer is None or not answer.url.endswith(EVENTS) or answer.status_code not in (413, 422):
            logging.error("Callbacks wait for Airflow, next try in %d s: %s", wait, error)
            session = None
            time.sleep(wait)
            wait = min(2 * wait, 60)
            continue
        if len(rows) > 1:
            limit = 1  # which of them does Airflow refuse?
            continue
        logging.error("Airflow refuses callback %d, now in the table refused: %s", rows[0][0], error)
        queue.execute("insert or replace into refused values (?, ?)", rows[0])
    queue.execute("delete from waiting where id <= ?", [rows[-1][0]])
    wait, limit = 1, PER_EVENT
# [END poster]
