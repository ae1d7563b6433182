"""``python -m airflow_provider_nxcloud.sandbox`` in a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import re
import shlex
import signal
import subprocess
import sys

import pytest
from airflow.models.connection import Connection

from airflow_provider_nxcloud.connection.fields import EXTRA_FIELDS
from airflow_provider_nxcloud.connection.form import ui_field_behaviour
from airflow_provider_nxcloud.sandbox import __main__ as cli

COMMAND = [sys.executable, "-m", "airflow_provider_nxcloud.sandbox"]


@contextlib.contextmanager
def running(*arguments):
    """A sandbox process and the text it printed up to the last line of its announcement."""
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        announced = ""
        while announced.count("export ") < 2 or not announced.endswith("\n\n"):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            announced += line
        yield process, announced
    finally:
        process.kill()
        process.communicate()


def send(announced, method="GET", target="/"):
    address = re.search(r"http://(127\.0\.0\.1:\d+)", announced)[1]
    connection = http.client.HTTPConnection(address, timeout=5)
    connection.request(method, target)
    status = connection.getresponse().status
    connection.close()
    return status


def test_announcement_has_everything_to_start_with():
    with running("--access-key", "it's a key") as (_, announced):
        base_url = re.match(r"NXCloud sandbox on (http://127\.0\.0\.1:\d+)\n", announced)[1]
        assert re.search(r"^  1000000001  image/jpeg  \d+ bytes$", announced, re.MULTILINE)
        exports = [shlex.split(line)[1] for line in announced.splitlines() if line.startswith("export ")]
        values = [export.removeprefix("AIRFLOW_CONN_NXCLOUD_DEFAULT=") for export in exports]
        for connection in (Connection.from_json(values[0]), Connection(uri=values[1])):
            assert (connection.conn_type, connection.host) == ("nxcloud", base_url)
            assert (connection.login, connection.password) == ("it's a key", "sandbox-access-secret")
            assert connection.extra_dejson == {"business_phone": "8613800138000"}
        form = dict(re.findall(r"^  (\S+(?: \S+)?) +(\S.*)$", announced.partition("form:")[2], re.MULTILINE))
        labels = {name: field.label for name, field in EXTRA_FIELDS.items()} | ui_field_behaviour()[
            "relabeling"
        ]
        assert form == {
            labels["login"]: "it's a key",
            labels["password"]: "sandbox-access-secret",
            labels["host"]: base_url,
            "Port": base_url.rpartition(":")[2],
            labels["business_phone"]: "8613800138000",
        }
        assert send(announced) == 404


@pytest.mark.parametrize(
    "numbers", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT, signal.SIGTERM], [signal.SIGINT] * 2]
)
def test_signals_end_it_cleanly(numbers):
    with running("--fault", "api.hang") as (process, _):
        for number in numbers:
            process.send_signal(number)
        _, errors = process.communicate(timeout=5)

        assert (process.returncode, errors) == (0, "")


def test_each_request_is_one_line_without_its_query():
    with running("--fault", "api.status:status=418") as (process, announced):
        send(announced, "GET", "/media/1000000001?Expires=1&Signature=geheim")
        assert process.stdout.readline() == "GET /media/1000000001 403\n"
        send(announced, "POST", "/x")
        assert process.stdout.readline() == "POST /x 418\n"


def test_quiet_prints_no_requests():
    with running("--quiet") as (process, announced):
        send(announced)
        process.send_signal(signal.SIGTERM)

        assert process.communicate(timeout=5) == ("", "")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--host", "0.0.0.0"], "loopback addresses only"),
        (["--port", "99999"], "no port 99999"),
        (["--port", "http"], "--port"),
        (["--latency", "fast"], "--latency"),
        (["--latency", "nan"], "--latency"),
        (["--fault", "api.nothing"], "unknown fault 'api.nothing'"),
        (["--fault", "download.cut:at=2"], "cannot use at=2"),
        (["--fault", "download.cut:times=x"], "times"),
        (["--fault-rate", "2"], "--fault-rate"),
        (["--no-such-switch"], "--no-such-switch"),
    ],
)
def test_bad_switch_is_one_line(capsys, arguments, text):
    with pytest.raises(SystemExit) as exit_info:
        cli.main(arguments)

    errors = capsys.readouterr().err
    assert exit_info.value.code == 2
    assert text in errors
    assert errors.count("\n") == 1


def test_port_in_use_is_one_line(sandbox):
    port = sandbox.base_url.rpartition(":")[2]

    result = subprocess.run([*COMMAND, "--port", port], capture_output=True, text=True, timeout=10)

    assert result.returncode == 2
    assert re.fullmatch(rf".*error: cannot listen on 127\.0\.0\.1 port {port}: .*\n", result.stderr)


def test_switches_reach_the_sandbox():
    switches = (
        "--access-key=k --access-secret=s --business-phone=4915112345678 --latency=0.5 --url-lifetime=9"
        " --clock-offset=-70 --rate-limit=5 --available-after-calls=2 --available-after-seconds=3"
    )
    options = cli._parser().parse_args(switches.split())

    sandbox = cli._sandbox(options)

    assert (sandbox.access_key, sandbox.access_secret, sandbox.business_phone) == ("k", "s", "4915112345678")
    assert (sandbox.api_latency, sandbox.download_latency, sandbox.url_lifetime) == (0.5, 0.5, 9)
    assert (sandbox.clock_offset, sandbox.rate_limit) == (-70, 5)
    assert {media.available_after_calls for media in sandbox.media.values()} == {2}
    assert {media.available_after_seconds for media in sandbox.media.values()} == {3}


def test_long_run_keeps_no_records(capsys):
    with cli._sandbox(cli._parser().parse_args([])) as sandbox:
        for _ in range(3):
            send(sandbox.base_url)

    assert sandbox.requests == []
    assert capsys.readouterr().out == "GET / 404\n" * 3


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("api.status", {}),
        ("api.status:status=429:times=null", {"status": 429, "times": None}),
        ("api.status:retry_after=date:5:media_id=77", {"retry_after": "date:5", "media_id": "77"}),
        ("api.url:url=http://127.0.0.1:1/x", {"url": "http://127.0.0.1:1/x"}),
        ('api.shape:value={"code":"0"}', {"value": {"code": "0"}}),
    ],
)
def test_fault_switch_reads_json_and_text(text, options):
    assert cli._fault(text) == (text.partition(":")[0], options)
