"""A whole Airflow: CeleryExecutor, one process for each component, workers that share nothing but the network."""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from airflow_components import LOOPBACK, component_commands, is_healthy, worker_command
from airflow_provider_nxcloud.sandbox import NxCloudSandbox
from processes import Processes, free_port, run
from scale_out.servers import Servers

ROOT = Path(__file__).resolve().parent.parent.parent
POOL = "nxcloud"
#: What makes up for a dead worker within a minute; docs/scaling.md explains each.
RECOVERY = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "120",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "21600",
}


class Cluster:
    """
    An Airflow that runs the example DAGs and those beside this file.

    :param processes: runs it.
    :param sandbox: its NXCloud.
    :param concurrency: tasks that each worker runs at once.
    """

    def __init__(self, processes: Processes, sandbox: NxCloudSandbox, concurrency: int) -> None:
        self.processes = processes
        self.servers = Servers(processes, _inherited())
        self.concurrency = concurrency
        port = free_port()
        self._api = f"http://{LOOPBACK}:{port}"
        self._commands = component_commands(port)
        self._env = self._environment(sandbox)

    def start(self) -> None:
        """Start everything but the workers."""
        self.servers.start()
        run([self._airflow, "db", "migrate"], self._env)
        for name in self._commands:
            self.restart(name)
        self.processes.wait_until(lambda: is_healthy(self._api), "Airflow is healthy", 180)

    def start_worker(self, name: str) -> None:
        """Start a worker with a home of its own and wait until it takes tasks."""
        home = self._home(name)
        env = {**self._env, "AIRFLOW_HOME": str(home)}
        self.processes.start(name, [self._airflow, *worker_command(name)], env)
        log = self.processes.log(name)
        self.processes.wait_until(
            lambda: " ready." in log.read_text(errors="replace"), f"{name} is ready", 180
        )

    def restart(self, component: str) -> None:
        """Start a component, again if it was killed."""
        self.processes.start(component, [self._airflow, *self._commands[component]], self._env)

    def set_pool(self, slots: int) -> None:
        """Make the pool, or give it that many slots."""
        run([self._airflow, "pools", "set", POOL, str(slots), "Batches at the same time"], self._env)

    def trigger(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> None:
        """Start a run as soon as the DAG is known."""
        known = "select 1 from serialized_dag where dag_id = %s"
        self.processes.wait_until(lambda: self.query(known, dag_id), f"{dag_id} is known", 180)
        self.call(
            "POST", f"dags/{dag_id}/dagRuns", {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        )

    def wait_for_end(self, run_id: str) -> str:
        """Wait until a run has ended and return its state."""
        state = "select state from dag_run where run_id = %s and state in ('success', 'failed')"
        return self.processes.wait_until(lambda: self.query(state, run_id), f"run {run_id} ends")[0][0]

    def states(self, run_id: str, task_id: str) -> Counter[str]:
        """Count the task instances of a mapped task by state."""
        sql = (
            "select coalesce(state, 'none'), count(*) from task_instance "
            "where run_id = %s and task_id = %s group by 1"
        )
        return Counter(dict(self.query(sql, run_id, task_id)))

    def attempts(self, run_id: str, task_id: str) -> dict[str, int]:
        """Count the attempts at a mapped task by the worker that has their logs."""
        pattern = f"dag_id=*/run_id={run_id}/task_id={task_id}/map_index=*/attempt=*.log"
        found = {home.name: len(list(home.glob(f"logs/{pattern}"))) for home in sorted(self._homes.iterdir())}
        return {name: count for name, count in found.items() if count}

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Call Airflow's REST API."""
        with urllib.request.urlopen(f"{self._api}/auth/token") as answer:
            token = json.load(answer)["access_token"]
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._api}/api/v2/{path}", data, headers, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Read Airflow's database."""
        connection = self.servers.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, values)
                return cursor.fetchall()
        finally:
            connection.close()

    @property
    def _airflow(self) -> str:
        return str(Path(sys.executable).with_name("airflow"))

    @property
    def _homes(self) -> Path:
        return self.processes.folder / "homes"

    def _home(self, name: str) -> Path:
        home = self._homes / name
        home.mkdir(parents=True, exist_ok=True)
        return home

    def _environment(self, sandbox: NxCloudSandbox) -> dict[str, str]:
        ports = self.servers.ports
        database = f"postgres@127.0.0.1:{ports['postgresql']}/airflow"
        dags = self.processes.folder / "dags"
        dags.mkdir()
        for source in (
            ROOT / "example_dags" / "example_nxcloud_scale_out.py",
            *Path(__file__).parent.glob("dags/*.py"),
        ):
            (dags / source.name).write_bytes(source.read_bytes())
        return {
            **_inherited(),
            **RECOVERY,
            "AIRFLOW_HOME": str(self._home("central")),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            # The default, 32 tasks at once in all, would be a bound beside the pool and the workers.
            "AIRFLOW__CORE__PARALLELISM": "256",
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "256",
            "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self._api}/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}",
            "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
            "AIRFLOW__CELERY__BROKER_URL": f"redis://127.0.0.1:{ports['redis']}/0",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://{database}",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(self.concurrency),
            "AIRFLOW__API__BASE_URL": self._api,
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW_CONN_NXCLOUD_DEFAULT": sandbox.connection_json,
            "AIRFLOW_CONN_SCALE_OUT": json.dumps(self.servers.s3_connection),
            # What a killed worker leaves behind goes with everything else.
            "TMPDIR": str(self.processes.folder),
        }


def _inherited() -> dict[str, str]:
    """Return this environment without another Airflow's settings, and without a way to other credentials."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    return {
        **kept,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_CONFIG_FILE": os.devnull,
        "NO_PROXY": "*",
    }
