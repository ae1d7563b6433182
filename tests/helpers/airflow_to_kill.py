"""An Airflow on PostgreSQL whose processes a test kills and starts again."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
from airflow_processes import environment, process, run
from postgresql import postgresql
from running_airflow import components, free_port, settings

from airflow_components import component_commands
from airflow_provider_nxcloud.sandbox import NxCloudSandbox

#: How soon others take over what one that died has left; by default after minutes.
_SOON = {
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "20",
    "AIRFLOW__SCHEDULER__ZOMBIE_DETECTION_INTERVAL": "5",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
}


@contextmanager
def airflow_to_kill(
    folder: Path,
    dags: Path,
    out: Path,
    sandbox: NxCloudSandbox,
    *,
    without: tuple[str, ...] = (),
    **variables: str,
) -> Iterator[SimpleNamespace]:
    """Run an Airflow with all its processes; each may be killed by its name."""
    port, home = free_port(), folder / "home"
    home.mkdir()
    with ExitStack() as running:
        database = running.enter_context(postgresql(free_port()))
        env = environment(
            home,
            dags,
            **settings(out, sandbox, port),
            **{
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database.url,
                "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
                # Whoever reaches the port, which is on loopback, may do everything.
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
                "AIRFLOW__API_AUTH__JWT_EXPIRATION_TIME": "5",
                "AIRFLOW__API_AUTH__JWT_LEEWAY": "0",
                "AIRFLOW__API__AUTH_BACKENDS": "airflow.api.auth.backend.default",
                **_SOON,
                **variables,
            },
        )
        code, output = run(["-m", "airflow", "db", "migrate"], env)
        assert code == 0, output
        (home / "webserver_config.py").write_text("AUTH_ROLE_PUBLIC = 'Admin'\n")
        processes = running.enter_context(components(env, port, folder, without=without))
        restarted = set()

        def children(name: str) -> list[psutil.Process]:
            return psutil.Process(processes[folder / f"{name}.log"].pid).children(recursive=True)

        def kill(name: str) -> None:
            """Kill it with all that it runs, as a machine that dies does."""
            ended = processes.pop(folder / f"{name}.log")
            for each in [psutil.Process(ended.pid), *psutil.Process(ended.pid).children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    os.kill(each.pid, signal.SIGKILL)
            ended.wait()

        def start(name: str) -> None:
            log = folder / f"{name}.log"
            command = [str(shutil.which("airflow", path=env["PATH"])), *component_commands(port)[name]]
            processes[log] = running.enter_context(process(command, env, log))
            restarted.add(log)

        def kill_and_restart(name: str) -> None:
            kill(name)
            start(name)

        yield SimpleNamespace(
            url=f"http://127.0.0.1:{port}",
            sandbox=sandbox,
            out=out,
            home=home,
            database=database,
            processes=processes,
            children=children,
            kill=kill,
            start=start,
            kill_and_restart=kill_and_restart,
        )
        for log in restarted:
            processes.pop(log, None)  # these end before the others are looked at
