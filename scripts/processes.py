"""Processes that end with this script, short of its SIGKILL, and whatever they have started themselves."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

#: Seconds that processes get to end by themselves.
GRACE = 15.0
#: Other work may share the machine; whoever waits, waits for an event and gives up only after this, in seconds.
PATIENCE = 900.0
#: Ctrl-C, a polite end, and a terminal that is closed.
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_CHILD_SUBREAPER = 36


class Processes:
    """
    The processes of a run.

    :param folder: where each writes its log.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[str, psutil.Popen] = {}
        # Whatever loses its parent becomes a child of this process, so that nothing can get away.
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)

    def start(
        self, name: str, command: list[str], env: Mapping[str, str], user: str | None = None
    ) -> psutil.Popen:
        """Run a command in a session of its own, so that a Ctrl-C in the terminal reaches only this script."""
        with self.log(name).open("ab") as log:
            process = psutil.Popen(
                command,
                env=dict(env),
                user=user,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.running[name] = process
        return process

    def log(self, name: str) -> Path:
        """Return where a process writes."""
        return self.folder / f"{name}.log"

    def kill(self, name: str) -> None:
        """End a process and all it has started by SIGKILL, as a machine that dies does."""
        process = self.running.pop(name)
        for each in [process, *process.children(recursive=True)]:
            kill(each)
        process.wait()

    def wait_until(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        """Wait for a condition as long as every process runs, and return its value."""
        until = time.monotonic() + seconds
        while not (value := condition()):
            ended = [name for name, process in self.running.items() if process.poll() is not None]
            if ended or time.monotonic() > until:
                raise SystemExit("\n".join([f"Waited in vain until {what}.", *map(self._tail, ended)]))
            time.sleep(0.5)  # asking costs the database something too
        return value

    def end(self) -> None:
        """End everything this script has started, also what processes that are gone have left behind."""
        # The servers last: what uses them may have something to write.
        for name, process in reversed(self.running.items()):
            # PostgreSQL would wait for its clients, and killed leave its shared memory on the machine.
            send(process, signal.SIGINT if name == "postgresql" else signal.SIGTERM)
        psutil.wait_procs(psutil.Process().children(), timeout=GRACE)
        while left := psutil.Process().children(recursive=True):
            for process in left:
                kill(process)
            psutil.wait_procs(left, timeout=GRACE)

    def _tail(self, name: str) -> str:
        lines = self.log(name).read_text(errors="replace").splitlines()
        return "\n".join([f"{name} has ended:", *lines[-20:]])


def send(process: psutil.Process, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended already."""
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def kill(process: psutil.Process) -> None:
    """Send SIGKILL."""
    send(process, signal.SIGKILL)


def interrupt_once() -> None:
    """Let the first signal that ends a script raise KeyboardInterrupt; no second one stops the tearing down."""

    def interrupt(*_: object) -> None:
        ignore_interrupts()
        raise KeyboardInterrupt

    for number in _ENDS:
        signal.signal(number, interrupt)


def ignore_interrupts() -> None:
    """Ignore the signals that would end the script."""
    for number in _ENDS:
        signal.signal(number, signal.SIG_IGN)


def cpu_seconds(process: psutil.Process) -> float:
    """Return what a process and all it has started have used of the processors, also those that have ended."""
    used = 0.0
    for each in [process, *process.children(recursive=True)]:
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        used += times.user + times.system + times.children_user + times.children_system
    return used


def memory_bytes(process: psutil.Process) -> int:
    """Return the memory of a process and all it has started; what they share counts once."""
    used = 0
    for each in [process, *process.children(recursive=True)]:
        try:
            used += each.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return used


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def run(command: list[str], env: Mapping[str, str], user: str | None = None) -> None:
    """Run a command to its end; say what it said when it fails."""
    done = subprocess.run(command, env=dict(env), user=user, cwd="/", capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{os.path.basename(command[0])} failed:\n{done.stdout}{done.stderr}")
