"""
Run urllib3's own tests, with its dummy servers, over our connection class, and compare with a run without it.

Some fail for reasons of the machine alone, so what counts is what passes without our class and fails with it.
As a plugin of pytest this module puts our class in.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
TESTS = (
    "test/with_dummyserver",
    "test/contrib/test_socks.py",
    "test/test_connection.py",
    "test/test_connectionpool.py",
    "test/test_response.py",
)
#: What does not apply, and why.
#: Those marked requires_network too: they send to an address outside and expect silence.
EXCLUDED = {"http2_probe": "no media file comes over HTTP/2, and these tests count threads that race"}


def pytest_configure() -> None:
    """Let every pool make our connections."""
    from urllib3 import connectionpool
    from urllib3.contrib import socks

    from airflow_provider_nxcloud.http.connection import with_limits

    for pool in (
        connectionpool.HTTPConnectionPool,
        connectionpool.HTTPSConnectionPool,
        socks.SOCKSHTTPConnectionPool,
        socks.SOCKSHTTPSConnectionPool,
    ):
        pool.ConnectionCls = with_limits(pool.ConnectionCls)


def download(folder: Path) -> Path:
    """Return the folder of the source distribution of the installed urllib3."""
    name = f"urllib3-{version('urllib3')}"
    if not (folder / name).is_dir():
        command = [
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--no-binary",
            "urllib3",
        ]
        requirement = name.replace("-", "==")
        subprocess.run([sys.executable, "-m", *command, "--dest", str(folder), requirement], check=True)
        with tarfile.open(folder / f"{name}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
    return folder / name


def failures(suite: Path, *options: str) -> set[str]:
    """Run tests and return which of them failed; none may be lost."""
    excluded = " and ".join(f"not {name}" for name in EXCLUDED)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "2",
        "-k",
        excluded,
        "--timeout",
        "60",
        "-r",
        "fE",
        *options,
    ]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    run = subprocess.run(command, cwd=suite, env=environment, stdout=subprocess.PIPE, text=True)
    summary = run.stdout.splitlines()[-1]
    print(summary)
    if run.returncode not in (0, 1) or not re.search(r"\d+ passed", summary):
        sys.exit(run.stdout)
    return set(re.findall(r"^(?:FAILED|ERROR) (\S+)", run.stdout, re.MULTILINE))


def main() -> None:
    """Compare; the argument is a folder for what is downloaded."""
    suite = download(Path(sys.argv[1]))
    without = failures(suite, *TESTS)
    only_ours = failures(suite, *TESTS, "-p", "urllib3_suite") - without
    if only_ours:  # some tests of sockets race on a busy machine
        only_ours &= failures(suite, *sorted(only_ours), "-p", "urllib3_suite")
    for name, reason in EXCLUDED.items():
        print(f"left out: {name}, because {reason}")
    sys.exit(f"These fail with our connection class alone: {sorted(only_ours)}" if only_ours else 0)


if __name__ == "__main__":
    main()
