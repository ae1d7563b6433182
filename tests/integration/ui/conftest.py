"""A real web server of the installed Airflow, a real browser, and the form in it."""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from airflow.providers.common.compat.sdk import Connection
from airflow_processes import AIRFLOW_2, EXAMPLE_DAGS, PATIENCE, DagRunner
from running_airflow import components, free_port

from airflow_provider_nxcloud.sandbox import NxCloudSandbox

SECRET = "canary-access-s3cret"
_numbers = itertools.count()


@pytest.fixture(scope="session")
def nxcloud() -> Iterator[NxCloudSandbox]:
    with NxCloudSandbox(access_secret=SECRET, unbound_phones=["4987654321"]) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def airflow(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """A running web server with an empty database, and what runs DAGs beside it."""
    folder = tmp_path_factory.mktemp("airflow")
    port = free_port()
    runner = DagRunner(
        folder / "home",
        EXAMPLE_DAGS,
        # Without a key Airflow stores connections as they are, so that a test can read them.
        AIRFLOW__CORE__FERNET_KEY="",
        AIRFLOW__CORE__TEST_CONNECTION="Enabled",
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="True",
        AIRFLOW__API__WORKERS="1",
        AIRFLOW__API__SECRET_KEY=secrets.token_hex(32),
        AIRFLOW__API_AUTH__JWT_SECRET=secrets.token_hex(32),
        AIRFLOW__WEBSERVER__WORKERS="1",
        AIRFLOW__WEBSERVER__SECRET_KEY=secrets.token_hex(32),
        NXCLOUD_DESTINATION=str(folder / "media"),
    )
    # Airflow 2's way to let everybody in.
    (folder / "home" / "webserver_config.py").write_text('AUTH_ROLE_PUBLIC = "Admin"\n')
    url = f"http://127.0.0.1:{port}"
    others = ("dag-processor", "scheduler", "triggerer")
    with components(runner.env, port, folder, without=others) as processes:
        ((log, server),) = processes.items()
        wait_until_it_answers(f"{url}/health" if AIRFLOW_2 else f"{url}/api/v2/version", server, log)
        yield SimpleNamespace(url=url, runner=runner, media=folder / "media", log=log)


def wait_until_it_answers(url: str, server, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return urlopen(url, timeout=PATIENCE).close()
        except URLError:
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the web server does not answer\n{log.read_text()[-4000:]}")
            time.sleep(0.1)


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium, which can reach nothing but loopback."""
    from playwright.sync_api import sync_playwright

    arguments = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def form(airflow, browser):
    """The connection form of the installed Airflow."""
    if AIRFLOW_2:
        from airflow_2_form import ConnectionForm
    else:
        from airflow_3_form import ConnectionForm
    context = browser.new_context(viewport={"width": 900, "height": 1800})
    context.set_default_timeout(PATIENCE / 3 * 1000)  # in milliseconds
    yield ConnectionForm(context.new_page(), airflow.url)
    context.close()


@pytest.fixture
def conn_id() -> str:
    """An ID that no other test uses."""
    return f"nxcloud_{next(_numbers)}"


@pytest.fixture
def store(airflow, conn_id):
    """Put a connection to NXCloud into the database."""

    def store(**fields: str) -> None:
        row = {
            "conn_id": conn_id,
            "conn_type": "nxcloud",
            "is_encrypted": False,
            "is_extra_encrypted": False,
            **fields,
        }
        with closing(sqlite3.connect(airflow.runner.database, timeout=60)) as database, database:
            marks = ", ".join("?" * len(row))
            database.execute(
                f"insert into connection ({', '.join(row)}) values ({marks})", tuple(row.values())
            )

    return store


@pytest.fixture
def stored(airflow, conn_id):
    """Return the connection that is in the database."""

    def stored(conn_id: str = conn_id) -> Connection:
        columns = ("conn_id", "conn_type", "host", "login", "password", "schema", "port", "extra")
        (row,) = airflow.runner.query(
            f"select {', '.join(columns)} from connection where conn_id = ?", conn_id
        )
        return Connection(**dict(zip(columns, row, strict=True)))

    return stored
