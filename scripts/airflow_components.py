"""The components of a local Airflow, told to listen on loopback only; by default they listen everywhere."""

from __future__ import annotations

import json
import urllib.request
from importlib.metadata import version

AIRFLOW_2 = version("apache-airflow").startswith("2.")
LOOPBACK = "127.0.0.1"
#: What serves the logs of tasks to other machines takes no address.
_NO_LOG_SERVER = "--skip-serve-logs"


def component_commands(port: int) -> dict[str, list[str]]:
    """
    Return what follows ``airflow`` on the command line of each component.

    :param port: of the web interface.
    :return: by the name of the component.
    """
    web = ["webserver", "--workers", "1", "--hostname"] if AIRFLOW_2 else ["api-server", "--host"]
    commands = [
        [*web, LOOPBACK, "--port", str(port)],
        ["scheduler", _NO_LOG_SERVER],
        ["triggerer", _NO_LOG_SERVER],
        *([] if AIRFLOW_2 else [["dag-processor"]]),
    ]
    return {command[0]: command for command in commands}


def worker_command(name: str) -> list[str]:
    """Return what follows ``airflow`` on the command line of a Celery worker."""
    return ["celery", "worker", _NO_LOG_SERVER, "--celery-hostname", f"{name}@%h"]


def is_healthy(url: str) -> bool:
    """Ask the web interface at that address whether every component is at work."""
    try:
        with urllib.request.urlopen(f"{url}/{'health' if AIRFLOW_2 else 'api/v2/monitor/health'}") as answer:
            health = json.load(answer)
    except OSError:
        return False
    components = ["scheduler", "triggerer", *([] if AIRFLOW_2 else ["dag_processor"])]
    return all(health[name]["status"] == "healthy" for name in components)
