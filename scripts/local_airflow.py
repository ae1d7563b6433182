"""Run the sandbox and a whole local Airflow with its UI, in which every example DAG succeeds on Trigger."""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

from airflow_components import AIRFLOW_2, LOOPBACK, component_commands, is_healthy
from airflow_provider_nxcloud.sandbox import NxCloudSandbox
from demo import DEMO, MEDIA, airflow_environment
from processes import Processes, interrupt_once, run

AIRFLOW = str(Path(sys.executable).with_name("airflow"))
PORT = int(os.environ.get("PORT", "8080"))
URL = f"http://{LOOPBACK}:{PORT}"


def main() -> None:
    """Run until interrupted, or until a part of Airflow ends."""
    check_port()
    interrupt_once()
    home = DEMO / "airflow"
    home.mkdir(parents=True, exist_ok=True)
    processes = Processes(home)
    try:
        with NxCloudSandbox() as sandbox:
            print(f"NXCloud sandbox: {sandbox.base_url}\nStarting Airflow, half a minute ...", flush=True)
            env = environment(sandbox)
            run([AIRFLOW, "db", "migrate"], env)
            for name, arguments in component_commands(PORT).items():
                processes.log(name).unlink(missing_ok=True)
                processes.start(name, [AIRFLOW, *arguments], env)
            prepare_examples(sandbox, env)
            processes.wait_until(lambda: is_healthy(URL), "Airflow is healthy")
            print(f"Airflow is ready: {URL}  (its logs: {home}; Ctrl-C ends it)", flush=True)
            processes.wait_until(lambda: False, "you press Ctrl-C", math.inf)
    except KeyboardInterrupt:
        print("\nEnding ...", flush=True)
    finally:
        processes.end()


def check_port() -> None:
    """Airflow would say so too, somewhere in a log."""
    with socket.socket() as probe:
        if probe.connect_ex((LOOPBACK, PORT)) == 0:
            raise SystemExit(f"Port {PORT} is in use; name another: make airflow PORT={PORT + 1}")


def environment(sandbox: NxCloudSandbox) -> dict[str, str]:
    """Return the environment of all components."""
    shared = airflow_environment(sandbox)
    # A variable would hide the stored connection, which the UI shows, edits and tests.
    del shared["AIRFLOW_CONN_NXCLOUD_DEFAULT"]
    if AIRFLOW_2:
        (DEMO / "airflow" / "webserver_config.py").write_text('AUTH_ROLE_PUBLIC = "Admin"\n')
    return {
        **shared,
        # Airflow starts parts of itself by name.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "AIRFLOW__API__BASE_URL": URL,
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{URL}/execution/",
        # Whoever reaches the port, which is on loopback, may do everything.
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__WEBSERVER__SECRET_KEY": secrets.token_hex(32),
    }


def prepare_examples(sandbox: NxCloudSandbox, env: dict[str, str]) -> None:
    """Make what the example DAGs need: the connection, the pool, and a list of IDs."""
    # What `make demo` has left would look like what comes now.
    shutil.rmtree(MEDIA, ignore_errors=True)
    MEDIA.mkdir()
    (MEDIA / "ids.txt").write_text("".join(f"{media_id}\n" for media_id in sandbox.media))
    address = urlsplit(sandbox.base_url)
    # With its port beside the host, for the Test button of Airflow 3.3.
    connection = {
        **sandbox.connection,
        "host": f"{address.scheme}://{address.hostname}",
        "port": address.port,
    }
    file = DEMO / "connections.json"
    file.write_text(json.dumps({"nxcloud_default": connection}))
    run([AIRFLOW, "connections", "import", "--overwrite", str(file)], env)
    run([AIRFLOW, "pools", "set", "nxcloud", "8", "Batches that ask NXCloud at the same time"], env)


if __name__ == "__main__":
    main()
