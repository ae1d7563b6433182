"""What ``make airflow`` starts: reachable from this machine only, and gone with Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from airflow_processes import AIRFLOW_2, PATIENCE
from listening import listening_addresses
from pages import blocks
from running_airflow import free_port

SCRIPTS = Path(__file__).parents[3] / "scripts"


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """The script, as far as "Airflow is ready", after `make demo` as in README."""
    folder, port = tmp_path_factory.mktemp("demo"), free_port()
    log = folder / "printed.log"
    subprocess.run([sys.executable, str(SCRIPTS / "demo.py"), str(folder)], check=True, timeout=PATIENCE)
    with log.open("wb") as output:
        script = psutil.Popen(
            [sys.executable, str(SCRIPTS / "local_airflow.py"), str(folder)],
            env={**os.environ, "PORT": str(port)},
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while "Airflow is ready" not in log.read_text():
            assert script.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield SimpleNamespace(script=script, folder=folder, log=log, url=f"http://127.0.0.1:{port}")
    finally:
        with suppress(psutil.NoSuchProcess):
            script.terminate()
        script.wait(60)


def test_ready_line_repeats_the_address(local):
    assert f"Airflow is ready: {local.url} " in local.log.read_text()


def test_nothing_listens_but_on_loopback(local):
    assert listening_addresses(local.script.pid) == {"127.0.0.1"}


@pytest.mark.skipif(AIRFLOW_2, reason="README's line is for Airflow 3")
def test_readmes_line_brings_a_file(local):
    (line,) = [
        block.code for block in blocks("bash") if block.page == "README.md" and block.code.startswith("curl ")
    ]
    photo = local.folder / "media" / "1000000001.jpg"
    assert not photo.exists(), "what make demo has left"
    asked = time.monotonic()
    command = line.rstrip().replace("http://127.0.0.1:8080", local.url) + " --fail --silent --show-error"
    subprocess.run(["bash", "-c", command], check=True, timeout=60)
    while not photo.exists():
        assert local.script.poll() is None, local.log.read_text()
        assert time.monotonic() < asked + PATIENCE, "the file did not come"
        time.sleep(0.1)
    print(f"{time.monotonic() - asked:.1f} s from curl to file")


# The last test: it ends what the others look at.
def test_ctrl_c_leaves_nothing_running(local):
    started = local.script.children(recursive=True)
    assert len(started) >= 4
    local.script.send_signal(signal.SIGINT)
    assert local.script.wait(60) == 0
    assert [process for process in started if process.is_running()] == []
