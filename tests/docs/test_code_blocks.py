"""The code in the documentation runs, against the sandbox and into a folder."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from airflow.cli.cli_parser import get_parser
from airflow.providers.common.compat.sdk import DAG, Connection
from airflow_processes import DagRunner, files_in
from pages import PRELUDE, ROOT, blocks

from airflow_provider_nxcloud.connection.settings import ConnectionSettings
from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator
from airflow_provider_nxcloud.storage.stores import storage_for
from airflow_provider_nxcloud.webhook import media_from_webhook

#: What the pages write to; the tests put a folder of their own in its place.
FOLDER = "file:///data/whatsapp"
STORES = ("s3://", "gs://", "abfs://")
FILES = [block for block in blocks("python") if block.note]
FRAGMENTS = [block for block in blocks("python") if not block.note and "with DAG(" not in block.code]
DAGS = [block for block in blocks("python") if not block.note and "with DAG(" in block.code]
COMMANDS = [
    (block, line)
    for block in blocks("bash")
    if not block.code.startswith("export ")  # test_connection_docs.py runs these
    for line in re.sub(r"\\\n\s*", "", block.code).splitlines()
    if line.strip()
]


@pytest.mark.parametrize("block", FILES, ids=str)
def test_block_of_a_file_is_its_marked_region(block):
    region = re.search(r"# \[START \S+\]\n(.*)# \[END", (ROOT / block.note).read_text("utf-8"), re.DOTALL)
    assert block.code == region.group(1)


def test_readme_shows_a_file():
    assert [block.page for block in FILES].count("README.md") == 1


@pytest.mark.parametrize("block", FRAGMENTS, ids=str)
def test_fragment_runs(block, sandbox, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("offer.pdf").write_bytes(sandbox.media["1000000011"].content)
    names: dict = {}
    exec(PRELUDE, names)
    with DAG("docs", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        exec(compile(block.code.replace(FOLDER, str(tmp_path / "media")), str(block), "exec"), names)
    for each in dag.tasks:
        if not getattr(each, "destination", "").startswith(STORES):  # tests/integration/storages stores there
            each.execute(context={})
    for name, test in names.items():
        if name.startswith("test_"):
            test(tmp_path)


@pytest.mark.slow
def test_dags_run_in_airflow(sandbox, tmp_path):
    dags = tmp_path / "dags"
    dags.mkdir()
    for number, block in enumerate(DAGS):
        code = block.code.replace(FOLDER, f"file://{tmp_path}/{number}")
        (dags / f"dag_{number}.py").write_text(PRELUDE + code)
    airflow = DagRunner(
        tmp_path / "home", dags, AIRFLOW_CONN_NXCLOUD_DEFAULT=os.environ["AIRFLOW_CONN_NXCLOUD_DEFAULT"]
    )
    for number, block in enumerate(DAGS):
        (dag_id,) = re.findall(r'dag_id="(\w+)"', block.code)
        succeeded, output = airflow.run(dag_id)
        assert succeeded, output
        stored = {Path(name).stem for name in files_in(tmp_path / str(number)) if not name.endswith(".jsonl")}
        assert stored == set(re.findall(r'"(\d{10})"', block.code))


def check_storage_connection(scheme, value):
    """See that a connection has the type and the settings that we take for a store."""
    store = storage_for(scheme)
    assert value["conn_type"] == (store.conn_type or "wasb")
    store.check_connection(Connection(conn_id="store", **{**value, "extra": json.dumps(value["extra"])}))


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json_is_what_it_is_shown_for(block, sandbox, tmp_path):
    value = json.loads(block.code)
    if block.note.startswith("connection: "):
        check_storage_connection(block.note.split()[1], value)
    elif "conn_type" in value or block.note == "extra":
        fields = {"conn_type": "nxcloud", "login": "k", "password": "s", "extra": value} | (
            {} if block.note else value
        )
        fields["extra"] = json.dumps(fields["extra"])
        assert ConnectionSettings.from_connection(Connection(conn_id="nx", **fields)).business_phone
    elif "messages" in value:
        (media,) = media_from_webhook(value)
        served = sandbox.media[media["media_id"]]
        assert (media["sha256"], media["mime_type"]) == (served.sha256, served.mime_type)
    elif block.note.startswith("record of media"):
        media_id = block.note.split()[-1]
        operator = NxCloudGetMediaOperator(task_id="t", media_ids=[media_id], destination=str(tmp_path))
        (record,) = operator.execute(context={})
        assert value == {**record, "uri": record["uri"].replace(f"file://{tmp_path}", FOLDER)}
    else:
        assert block.note == "lifecycle.json"
        session = pytest.importorskip("botocore.session").get_session()
        shape = session.get_service_model("s3").shape_for("BucketLifecycleConfiguration")
        pytest.importorskip("botocore.validate").validate_parameters(value, shape)


@pytest.mark.parametrize(("block", "line"), COMMANDS, ids=str)
def test_command_exists(block, line):
    command, *arguments = shlex.split(line, comments=True)
    if command == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif command == "airflow":
        get_parser().parse_args(arguments)
    elif command == "python":
        assert arguments[:2] == ["-m", "airflow_provider_nxcloud.sandbox"]
        with subprocess.Popen(
            [sys.executable, *arguments, "--port=0"], stdout=subprocess.PIPE, text=True
        ) as run:
            assert run.stdout.readline().startswith("NXCloud sandbox on http://127.0.0.1:")
            run.send_signal(signal.SIGTERM)
            run.communicate()
        assert run.returncode == 0
    elif command == "pip":
        project = (ROOT / "pyproject.toml").read_text()
        assert all(f"\n{extra} = [" in project for extra in re.findall(r"\[(\w+)\]", line))
    else:
        assert command in {"aws", "curl", "grep"}


@pytest.mark.parametrize(
    ("path", "module", "model"),
    [
        ("/api/v2/dags/example_nxcloud_webhook/dagRuns", "dag_run", "TriggerDAGRunPostBody"),
        ("/api/v2/assets/events", "assets", "CreateAssetEventsBody"),
    ],
)
def test_request_is_what_airflow_takes(path, module, model):
    models = pytest.importorskip(f"airflow.api_fastapi.core_api.datamodels.{module}")
    (line,) = [line for _, line in COMMANDS if line.startswith("curl") and f"$AIRFLOW{path}" in line]
    arguments = shlex.split(line.replace("$CALLBACK", '{\\"messages\\": []}').replace("$ASSET_ID", "1"))
    request = getattr(models, model).model_validate(json.loads(arguments[arguments.index("-d") + 1]))
    assert {"messages": []} in (getattr(request, "conf", None), getattr(request, "extra", {}).get("callback"))
