"""Run a sandbox from the command line: ``python -m airflow_provider_nxcloud.sandbox``."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from functools import partial
from typing import Any, NoReturn

from airflow_provider_nxcloud.sandbox.faults import FAULTS
from airflow_provider_nxcloud.sandbox.server import NxCloudSandbox
from airflow_provider_nxcloud.sandbox.state import SandboxRequest

_VARIABLE = "AIRFLOW_CONN_NXCLOUD_DEFAULT"
_YEAR = 31_536_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM."""
    parser = _parser()
    options = parser.parse_args(arguments)
    signals: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: signals.append(number))
    try:
        with _sandbox(options) as sandbox:
            _announce(sandbox)
            # In steps, because a signal that another thread gets, as of two at once, ends no wait.
            while not signals:
                time.sleep(0.1)
    except ValueError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"{error.strerror}")
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # Without the usage, which would bury the one line that matters.
        self.exit(2, f"{self.prog}: error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m airflow_provider_nxcloud.sandbox",
        description="A stand-in for NXCloud on this machine. Its keys are published test values.",
        epilog="\n".join(
            ["faults, with their options and defaults; all take times (null is forever) and media_id too:"]
            + [f"  {fault.usage}\n      {fault.apply.__doc__}" for fault in FAULTS.values()]
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    seconds = partial(_number, least=0, most=_YEAR)
    offset = partial(_number, least=-_YEAR, most=_YEAR)
    share = partial(_number, least=0, most=1)
    add("--host", default="127.0.0.1", help="loopback address to listen on (default %(default)s)")
    add("--port", type=int, default=0, help="port to listen on (default: a free one)")
    add("--access-key", default="sandbox-access-key", help="accepted access key (default %(default)s)")
    add("--access-secret", default="sandbox-access-secret", help="its secret (default %(default)s)")
    add("--business-phone", default="8613800138000", help="known merchant number (default %(default)s)")
    add("--latency", type=seconds, default=0.0, metavar="SECONDS", help="before each answer (default 0)")
    add("--url-lifetime", type=seconds, default=300.0, metavar="SECONDS", help="of URLs (default 300)")
    add("--clock-offset", type=offset, default=0.0, metavar="SECONDS", help="server clock ahead (default 0)")
    add("--rate-limit", type=int, metavar="CALLS", help="API calls a second before 429 (default: no limit)")
    add("--fault", type=_fault, action="append", default=[], metavar="NAME[:key=value...]", help="see below")
    add("--fault-rate", type=share, default=0.0, metavar="SHARE", help="of random faults, 0 to 1 (default 0)")
    add(
        "--available-after-calls", type=int, default=0, metavar="N", help="-1 for each sample's first N calls"
    )
    add("--available-after-seconds", type=seconds, default=0.0, metavar="SECONDS", help="-1 until then")
    add("--quiet", action="store_true", help="no line for each request")
    return parser


def _sandbox(options: argparse.Namespace) -> NxCloudSandbox:
    # A switch that is not named as a setting is handled below.
    names = {field.name for field in fields(NxCloudSandbox)}
    settings = {name: value for name, value in vars(options).items() if name in names}
    sandbox = NxCloudSandbox(**settings, api_latency=options.latency, download_latency=options.latency)
    for media in sandbox.media.values():
        media.available_after_calls = options.available_after_calls
        media.available_after_seconds = options.available_after_seconds
    for name, fault_options in options.fault:
        sandbox.inject(name, **fault_options)

    def observe(request: SandboxRequest) -> None:
        # A server that runs for days must not keep what nobody reads.
        sandbox.requests.clear()
        if not options.quiet:
            sys.stdout.write(f"{request.method} {request.path} {request.status}\n")
            sys.stdout.flush()

    sandbox.observer = observe
    return sandbox


def _announce(sandbox: NxCloudSandbox) -> None:
    print(f"NXCloud sandbox on {sandbox.base_url}\n\nmedia:")
    for media in sandbox.media.values():
        print(f"  {media.media_id}  {media.mime_type}  {len(media.content)} bytes")
    form = {
        "Access key": sandbox.access_key,
        "Access secret": sandbox.access_secret,
        "Base URL": sandbox.base_url,
        "Port": sandbox.base_url.rpartition(":")[2],
        "Business phone": sandbox.business_phone,
    }
    print("\nconnection nxcloud_default of type NXCloud, in Airflow's form:")
    for label, value in form.items():
        print(f"  {label:<14}  {value}")
    print("\nor in the environment of every Airflow process, either of:")
    print(f"export {_VARIABLE}={shlex.quote(sandbox.connection_json)}")
    print(f"export {_VARIABLE}={shlex.quote(sandbox.connection_uri)}\n", flush=True)


def _number(text: str, *, least: float, most: float) -> float:
    with suppress(ValueError):
        if least <= float(text) <= most:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least:g} to {most:g}")


def _fault(text: str) -> tuple[str, dict[str, Any]]:
    # A colon counts only before key=, so that URLs, JSON objects and date:5 can be values.
    name, *parts = re.split(r":(?=[a-z_]+=)", text)
    options: dict[str, Any] = {}
    for part in parts:
        key, _, value = part.partition("=")
        try:
            options[key] = json.loads(value) if key != "media_id" else value
        except ValueError:
            options[key] = value
    return name, options


if __name__ == "__main__":
    sys.exit(main())
