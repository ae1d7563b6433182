"""The operator inside a real Airflow: templates, mapping, assets, and no secret where users look."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from airflow_processes import AIRFLOW_2, DagRunner, everything_airflow_kept, files_in, run

from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator
from airflow_provider_nxcloud.sandbox import NxCloudSandbox

DAGS = Path(__file__).parent / "dags"
SECRET = "canary-access-s3cret"
WRONG_SECRET = "canary-wrong-s3cret"
STORAGE_SECRET = "canary-storage-s3cret"


@pytest.fixture
def sandbox():
    with NxCloudSandbox(access_secret=SECRET) as sandbox:
        yield sandbox


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def make_airflow(sandbox, tmp_path: Path, out: Path) -> Callable[..., DagRunner]:
    """An Airflow with the DAGs beside this file and further settings."""
    storage = {"conn_type": "generic", "login": "someone", "password": STORAGE_SECRET}
    return partial(
        DagRunner,
        tmp_path / "home",
        DAGS,
        OUT=str(out),
        AIRFLOW_CONN_THE_NXCLOUD=sandbox.connection_json,
        AIRFLOW_CONN_THE_STORAGE=json.dumps(storage),
        AIRFLOW_CONN_WRONG_SECRET=json.dumps({**sandbox.connection, "password": WRONG_SECRET}),
        AIRFLOW__LOGGING__LOGGING_LEVEL="DEBUG",
    )


@pytest.fixture
def airflow(make_airflow) -> DagRunner:
    return make_airflow()


def result(airflow: DagRunner, task_id: str, map_index: int = -1) -> list[dict]:
    ((value,),) = airflow.query(
        "select value from xcom where task_id = ? and map_index = ? and key = 'return_value'",
        task_id,
        map_index,
    )
    value = json.loads(value)
    return json.loads(value) if isinstance(value, str) else value


def states(airflow: DagRunner, task_id: str) -> dict[int, str]:
    return dict(airflow.query("select map_index, state from task_instance where task_id = ?", task_id))


def assert_no_secret(sandbox: NxCloudSandbox, text: str) -> None:
    signatures = [call.headers["sign"] for call in sandbox.calls()]
    assert signatures
    secrets = [SECRET, WRONG_SECRET, STORAGE_SECRET, *signatures, "sandbox-oss-key"]
    # The supervisor that `airflow dags test` of Airflow 3 runs in process logs what it is to mask.
    text = "\n".join(line for line in text.splitlines() if "msg=MaskSecret(" not in line)
    shown = [(secret, text[max(0, at - 200) : at]) for secret in secrets if (at := text.find(secret)) >= 0]
    assert shown == []
    assert not re.search(r"[?&](Signature|Expires|OSSAccessKeyId)=", text)


@pytest.mark.parametrize("rendering", ["text", "native"])
def test_every_template_field_is_rendered(airflow, sandbox, out, rendering):
    succeeded, output = airflow.run(f"templated_{rendering}")
    assert succeeded, output
    expected = {
        "1000000001.jpg": sandbox.media["1000000001"].content,
        "1000000011.pdf": sandbox.media["1000000011"].content,
    }
    for feed in ("param", "json_text", "jinja_xcom", "xcom_arg"):
        assert files_in(out / rendering / feed) == expected, feed
        lines = (out / rendering / f"{feed}.jsonl").read_text().splitlines()
        records = result(airflow, feed)
        # What else the mapping said is in the manifest alone.
        assert [json.loads(line) for line in lines] == [
            {**record, "source": json.loads(line)["source"]}
            for record, line in zip(records, lines, strict=True)
        ]
        ((rendered,),) = airflow.query(
            "select rendered_fields from rendered_task_instance_fields where task_id = ?", feed
        )
        rendered = json.loads(rendered)
        assert set(rendered) == set(NxCloudGetMediaOperator.template_fields)
        assert "{{" not in json.dumps(rendered)
        assert (rendered["nxcloud_conn_id"], rendered["storage_conn_id"]) == ("the_nxcloud", "the_storage")
    # The connection's number has no plus sign and no spaces; the argument was what got sent.
    assert {json.loads(call.body)["business_phone"] for call in sandbox.calls()} == {"8613800138000"}
    assert_no_secret(sandbox, output + everything_airflow_kept(airflow))


def test_mapping_runs_one_task_a_batch_and_skips_over_nothing(airflow, sandbox, out):
    succeeded, output = airflow.run("mapped")
    assert succeeded, output
    assert states(airflow, "mapped") == {0: "success", 1: "success", 2: "success"}
    assert [[r["media_id"] for r in result(airflow, "mapped", index)] for index in (0, 1)] == [
        ["1000000001"],
        ["1000000002", "1000000003"],
    ]
    assert states(airflow, "mapped_over_nothing") == {-1: "skipped"}
    assert {Path(name).stem: content for name, content in files_in(out).items()} == {
        media_id: sandbox.media[media_id].content for media_id in ("1000000001", "1000000002", "1000000003")
    }


def test_mapping_over_arguments_in_a_task_group(airflow, sandbox, out):
    succeeded, output = airflow.run("mapped_by_kwargs")
    assert succeeded, output
    assert files_in(out) == {
        "first/1000000001.jpg": sandbox.media["1000000001"].content,
        "second/1000000002.png": sandbox.media["1000000002"].content,
    }


def test_template_that_renders_to_none_is_named(airflow, sandbox):
    succeeded, output = airflow.run("rendered_to_none")
    assert not succeeded
    assert "media_ids" in output
    assert "NxCloudInputError" in output
    assert sandbox.requests == []


def test_only_declared_outlets_get_counts_and_bytes(airflow, sandbox, out):
    if AIRFLOW_2:  # where events are only for datasets that a scheduler has seen
        code, output = run(["-m", "airflow", "dags", "reserialize"], airflow.env)
        assert code == 0, output
    succeeded, output = airflow.run("outlets")
    assert succeeded, output
    asset = "dataset" if AIRFLOW_2 else "asset"
    events = airflow.query(
        f"select {asset}.uri, event.source_task_id, event.extra"
        f" from {asset}_event event join {asset} on {asset}.id = event.{asset}_id"
    )
    assert sorted((uri, task_id) for uri, task_id, _ in events) == [
        ("x-nxcloud://whatsapp/archive", "get_media"),
        ("x-nxcloud://whatsapp/media", "get_media"),
    ]
    sizes = [len(sandbox.media[media_id].content) for media_id in ("1000000001", "1000000002")]
    for _, _, extra in events:
        assert json.loads(extra) == {
            "stored": 2,
            "skipped": 0,
            "failed": 1,
            "bytes": sum(sizes),
            "manifest": f"{out}/outlets.jsonl",
        }


def test_metrics_go_where_airflow_sends_its_own(sandbox, out, tmp_path, make_airflow):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
        statsd.bind(("127.0.0.1", 0))
        statsd.settimeout(10)
        airflow = make_airflow(
            AIRFLOW__METRICS__STATSD_ON="True",
            AIRFLOW__METRICS__STATSD_HOST="127.0.0.1",
            AIRFLOW__METRICS__STATSD_PORT=str(statsd.getsockname()[1]),
        )
        succeeded, output = airflow.run("outlets")
        assert succeeded, output
        seen: dict[str, list[str]] = {}
        while len(seen.get("airflow.nxcloud.transfer.duration", ())) < 2:
            name, _, value = statsd.recv(65536).decode().partition(":")
            seen.setdefault(name, []).append(value)

    photo, video = (len(sandbox.media[media_id].content) for media_id in ("1000000001", "1000000002"))
    # Which of the two tasks comes first is Airflow's choice.
    assert sorted(seen["airflow.nxcloud.media.stored"]) == ["1|c", "2|c"]
    assert sorted(seen["airflow.nxcloud.media.failed"]) == ["0|c", "1|c"]
    assert seen["airflow.nxcloud.media.skipped"] == ["0|c", "0|c"]
    assert set(seen["airflow.nxcloud.media.bytes"]) == {f"{photo + video}|c", f"{photo}|c"}
    assert all(value.endswith("|ms") for value in seen["airflow.nxcloud.transfer.duration"])


def test_openlineage_gets_bytes_and_files_of_the_destination(sandbox, out, tmp_path, make_airflow):
    events = tmp_path / "events.jsonl"
    transport = {"type": "file", "log_file_path": str(events), "append": True}
    airflow = make_airflow(AIRFLOW__OPENLINEAGE__TRANSPORT=json.dumps(transport))
    succeeded, output = airflow.run("outlets")
    assert succeeded, output
    assert not airflow.run("failing")[0]

    text = events.read_text()
    ended = [event for event in map(json.loads, text.splitlines()) if event["eventType"] != "START"]
    by_task = {event["job"]["name"]: event for event in ended}
    sizes = [len(sandbox.media[media_id].content) for media_id in ("1000000001", "1000000002")]
    for task_id, files, size in (("get_media", 2, sum(sizes)), ("no_outlets", 1, sizes[0])):
        event = by_task[f"outlets.{task_id}"]
        assert [(each["namespace"], each["name"]) for each in event["inputs"]] == [
            ("nxcloud", "whatsapp/media")
        ]
        output = next(each for each in event["outputs"] if each["namespace"] == "file")
        statistics = output["outputFacets"]["outputStatistics"]
        folder = {"get_media": "outlets"}.get(task_id, task_id)
        assert output["name"] == f"{out}/{folder}"
        assert (statistics["fileCount"], statistics["size"]) == (files, size)
    failed = by_task["failing.get_media"]
    assert failed["eventType"] == "FAIL"
    assert failed["outputs"][0]["outputFacets"]["outputStatistics"]["fileCount"] == 0
    assert_no_secret(sandbox, text)


def test_failure_shows_code_and_connection_but_no_secret(airflow, sandbox, out):
    succeeded, output = airflow.run("failing")
    assert not succeeded
    assert "1003" in output
    assert "'wrong_secret'" in output
    assert states(airflow, "get_media") == {-1: "failed"}
    assert len(sandbox.calls()) == 1
    assert not list(out.rglob("*.jpg"))
    assert_no_secret(sandbox, output + everything_airflow_kept(airflow))


def test_debug_log_of_a_resumed_download_shows_no_secret(airflow, sandbox, out):
    for fault in ("download.reset", "download.cut", "download.expired", "download.status", "api.status"):
        sandbox.inject(fault)
    succeeded, output = airflow.run("outlets")
    assert succeeded, output
    assert len(sandbox.downloads()) > 4
    assert os.listdir(out / "no_outlets") == ["1000000001.jpg"]
    assert_no_secret(sandbox, output + everything_airflow_kept(airflow))


def test_folder_of_the_day_needs_no_logical_date(airflow, out):
    if AIRFLOW_2:  # where every run has one
        airflow.run("dated")
    else:
        code, output = run([str(DAGS / "nxcloud_in_airflow.py")], airflow.env)
        assert code == 0, output
        assert airflow.query("select logical_date from dag_run") == [(None,)]
    (stored,) = files_in(out)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d/1000000001\.jpg", stored)
