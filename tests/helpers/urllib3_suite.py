"""
Run urllib3's own tests, with its dummy servers, over our connection class.

Some may fail for reasons of the machine alone, so what counts is what fails with our class and passes without it.
As a plugin of pytest this module puts our class in, if the environment says so.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from contextvars import ContextVar
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TESTS = (
    "test/with_dummyserver",
    "test/contrib/test_socks.py",
    "test/test_connection.py",
    "test/test_connectionpool.py",
    "test/test_response.py",
)
_OUTSIDE = "it sends to an address outside and expects silence"
_CLASS = "it compares the class of the connection with urllib3's own"
#: What does not apply, and why. Those that say so by a marker, requires_network, go unnamed.
EXCLUDED = {
    "http2_probe": "no media file comes over HTTP/2, and these tests count threads that race",
    "h2": "no media file comes over HTTP/2, and after these tests urllib3's own class is back in place",
    "TestBrokenHeaders": "a line that is no header is skipped here, so nothing is logged of it",
    "in_the_original_order": "a head without its last line is a response that broke off here",
    "too_long_does_not_buffer": "it wants urllib3's words for what ends here in ours",
    "test_verified": _CLASS,
    "test_ca_dir_verified": _CLASS,
    "test_context_combines_with_ca_certs": _CLASS,
    "test_proxy_verified": _CLASS,
    "test_pool_timeouts": _CLASS,
    "test_connect_timeout": _OUTSIDE,
    "test_total_applies_connect": _OUTSIDE,
}
OURS = {"WITH_OUR_CONNECTIONS": "1"}


def pytest_configure() -> None:
    _show_servers_their_streams()
    if OURS.items() <= os.environ.items():
        _let_pools_make_our_connections()


def _let_pools_make_our_connections() -> None:
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


def _show_servers_their_streams() -> None:
    """Do what urllib3's own fork of its dummy servers' framework does; no registry has it."""
    from hypercorn.app_wrappers import ASGIWrapper
    from hypercorn.trio.tcp_server import TCPServer

    stream_of_task: ContextVar[Any] = ContextVar("stream_of_task", default=None)
    run, call = TCPServer.run, ASGIWrapper.__call__

    async def run_with_stream(self: TCPServer) -> None:
        stream_of_task.set(self.stream)
        await run(self)

    async def call_with_stream(self: ASGIWrapper, scope: Any, *args: Any) -> None:
        stream = stream_of_task.get()
        extensions = scope.setdefault("extensions", {})
        extensions["_transport"] = stream
        if hasattr(stream, "getpeercert"):
            subject = (stream.getpeercert() or {}).get("subject", ())
            extensions["tls"] = {
                "alpn_protocol": stream.selected_alpn_protocol(),
                "client_cert_name": ", ".join(f"{name}={value}" for ((name, value),) in subject),
            }
        await call(self, scope, *args)

    TCPServer.run, ASGIWrapper.__call__ = run_with_stream, call_with_stream


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


def failures(suite: Path, tests: Iterable[str], environment: dict[str, str]) -> set[str]:
    """Run tests and return which of them failed; none may be lost."""
    excluded = " and ".join(f"not {name}" for name in EXCLUDED)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "2",
        "-m",
        "not requires_network",
        "-k",
        excluded,
        "--timeout",
        "60",
        "-r",
        "fE",
        "-p",
        "urllib3_suite",
        *tests,
    ]
    environment = {**os.environ, "PYTHONPATH": str(HERE), **environment}
    run = subprocess.run(command, cwd=suite, env=environment, stdout=subprocess.PIPE, text=True)
    summary = run.stdout.splitlines()[-1]
    print(summary)
    if run.returncode not in (0, 1) or not re.search(r"\d+ (passed|failed)", summary):
        sys.exit(run.stdout)
    return set(re.findall(r"^(?:FAILED|ERROR) (test/.+?)(?: - .*)?$", run.stdout, re.MULTILINE))


def main() -> None:
    """Run them; the argument is a folder for what is downloaded."""
    suite = download(Path(sys.argv[1]))
    failed = failures(suite, TESTS, OURS)
    if failed:  # some tests of sockets race on a busy machine
        failed = failures(suite, sorted(failed), OURS)
    if failed:
        failed -= failures(suite, sorted(failed), {})
    for name, reason in EXCLUDED.items():
        print(f"left out: {name}, because {reason}")
    sys.exit(f"These fail with our connection class alone: {sorted(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
