"""Every example DAG imports cleanly and does what it says, in an Airflow of its own."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest
from airflow_processes import AIRFLOW_2, EXAMPLE_DAGS, environment, files_in, run

EXAMPLES = sorted(path.stem for path in EXAMPLE_DAGS.glob("*.py"))
PARSE = """
import json, sys, warnings

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    # Airflow's own imports come first, so that what is caught below comes from the files.
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models.dagbag import DagBag
    import airflow.providers.common.compat.sdk
    del caught[:]
    bag = DagBag(sys.argv[1])

ours = [w for w in caught if "example_dags" in w.filename or "airflow_provider_nxcloud" in w.filename]
captured = [w for file in getattr(bag, "captured_warnings", {}).values() for w in file]
print("RESULT", json.JSONEncoder(default=str).encode({
    "errors": bag.import_errors,
    "warnings": [str(w.message) for w in ours] + [str(w) for w in captured],
    "dags": {dag_id: [sorted(dag.tags), dag.schedule_interval if hasattr(dag, "schedule_interval")
             else dag.schedule, dag.catchup, sorted(dag.task_ids)] for dag_id, dag in bag.dags.items()},
    "shown": {dag_id: [dag.description, dag.doc_md, [[param.schema.get("title"), param.description]
              for param in map(dag.params.get_param, dag.params)],
              sorted({asset.uri for task in dag.tasks for asset in
                      getattr(task, "partial_kwargs", vars(task)).get("outlets") or []})]
              for dag_id, dag in bag.dags.items()},
}))
"""
PHONE = "8613800138000"


def message(sandbox, media_id: str, timestamp: int | None, **media) -> dict:
    served = sandbox.media[media_id]
    announced = {"id": media_id, "mime_type": served.mime_type, "sha256": served.sha256, **media}
    sent = {} if timestamp is None else {"timestamp": str(timestamp)}
    return {"id": f"wamid.{media_id}", "from": "447700900000", "type": "image", "image": announced, **sent}


def callback(*messages: dict) -> dict:
    return {"messaging_product": "whatsapp", "business_phone": PHONE, "messages": list(messages)}


@pytest.fixture(scope="module")
def parsed(tmp_path_factory) -> dict:
    """What a fresh Airflow finds in the folder."""
    home = tmp_path_factory.mktemp("home")
    code, output = run(["-c", PARSE, str(EXAMPLE_DAGS)], environment(home, EXAMPLE_DAGS))
    results = [line for line in output.splitlines() if line.startswith("RESULT")]
    assert code == 0, output
    return json.loads(results[0].removeprefix("RESULT"))


def test_examples_import_without_error_or_warning(parsed):
    assert parsed["errors"] == {}
    assert parsed["warnings"] == []


def test_each_example_is_the_dag_of_its_name(parsed):
    assert len(EXAMPLES) == 6
    assert sorted(parsed["dags"]) == EXAMPLES
    for dag_id, (tags, schedule, catchup, tasks) in parsed["dags"].items():
        assert (tags, catchup) == (["example", "nxcloud"], False)
        assert (schedule is None) == ("callbacks" not in dag_id)
        assert "get_media" in tasks


def test_examples_tell_in_the_interface_what_they_do_and_take(parsed):
    for description, documentation, params, outlets in parsed["shown"].values():
        assert description
        assert not re.search(r"``|`docs/", documentation)
        assert all(title and help_text for title, help_text in params)
        assert outlets == ["whatsapp_media"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_mark_what_the_documentation_shows(name):
    lines = (EXAMPLE_DAGS / f"{name}.py").read_text().splitlines()
    assert lines.count(f"# [START {name}]") == lines.count(f"# [END {name}]") == 1
    compile("\n".join(lines[lines.index(f"# [START {name}]") :]), name, "exec")


@pytest.mark.slow
def test_media_ids_brings_every_file_once(airflow, sandbox, tmp_path):
    assert airflow.run("example_nxcloud_media_ids")[0]
    stored = files_in(tmp_path / "media")
    records = [json.loads(line) for line in stored.pop("manifest.jsonl").splitlines()]
    assert [record["media_id"] for record in records] == list(sandbox.media)
    assert {Path(name).stem: content for name, content in stored.items()} == {
        media.media_id: media.content for media in sandbox.media.values()
    }
    assert {record["status"] for record in records} == {"stored"}
    assert {Path(record["uri"]).name for record in records} == set(stored)

    assert airflow.run("example_nxcloud_media_ids")[0]
    assert len(sandbox.downloads()) == len(sandbox.media)


@pytest.mark.slow
def test_media_ids_takes_its_params_when_triggered(airflow, sandbox, tmp_path):
    conf = {"media_ids": ["1000000011"], "destination": f"file://{tmp_path}/else where"}
    assert airflow.run("example_nxcloud_media_ids", conf)[0]
    assert files_in(tmp_path / "else where")["1000000011.pdf"] == sandbox.media["1000000011"].content
    assert not (tmp_path / "media").exists()


@pytest.mark.slow
def test_wait_for_media_waits_and_then_brings_the_files(airflow, sandbox, tmp_path):
    sandbox.media["1000000004"].available_after_calls = 2
    succeeded, output = airflow.run("example_nxcloud_wait_for_media")
    assert succeeded, output
    assert files_in(tmp_path / "media") == {
        "1000000001.jpg": sandbox.media["1000000001"].content,
        "1000000004.ogg": sandbox.media["1000000004"].content,
    }
    # Once in the first look, and once by the operator; the other one also twice by the trigger.
    assert [len(sandbox.calls(media_id)) for media_id in ("1000000001", "1000000004")] == [2, 4]
    assert ("No triggerer is running" in output) == AIRFLOW_2  # Airflow 3 does not let a task know


@pytest.mark.slow
def test_webhook_sorts_by_day_and_stores_a_repeated_delivery_once(airflow, sandbox, tmp_path):
    delivery = callback(
        message(sandbox, "1000000001", 1_767_225_599),  # the last second of 2025, UTC
        message(sandbox, "1000000002", 1_767_225_600),
        message(sandbox, "1000000003", 1_767_225_601),
        message(sandbox, "1000000004", None),
        {"id": "wamid.text", "type": "text", "text": {"body": "hello"}},
    )
    expected = {
        "2025-12-31/1000000001.jpg": sandbox.media["1000000001"].content,
        "2026-01-01/1000000002.png": sandbox.media["1000000002"].content,
        "2026-01-01/1000000003.webp": sandbox.media["1000000003"].content,
        "undated/1000000004.ogg": sandbox.media["1000000004"].content,
    }
    assert airflow.run("example_nxcloud_webhook", delivery)[0]
    assert files_in(tmp_path / "media") == expected

    assert airflow.run("example_nxcloud_webhook", delivery)[0]
    assert files_in(tmp_path / "media") == expected
    assert len(sandbox.downloads()) == 4


@pytest.mark.slow
def test_webhook_stores_nothing_that_is_not_what_the_callback_announced(airflow, sandbox, tmp_path):
    delivery = callback(
        message(sandbox, "1000000001", 1_767_225_600, sha256="0" * 64),
        message(sandbox, "1000000002", 1_767_225_600),
    )
    succeeded, output = airflow.run("example_nxcloud_webhook", delivery)
    assert not succeeded
    assert "1000000001" in output
    assert files_in(tmp_path / "media") == {"2026-01-01/1000000002.png": sandbox.media["1000000002"].content}


@pytest.mark.slow
def test_webhook_without_media_has_nothing_to_do(airflow, sandbox):
    succeeded, output = airflow.run("example_nxcloud_webhook", {"statuses": [{"id": "wamid.1"}]})
    assert succeeded, output
    assert sandbox.requests == []


@pytest.mark.slow
def test_webhook_leaves_out_what_is_no_callback(airflow, sandbox):
    succeeded, output = airflow.run("example_nxcloud_webhook", {"hello": "world"})
    assert succeeded, output
    assert "payload is no callback: it has neither messages nor statuses" in output
    assert sandbox.requests == []


@pytest.mark.slow
def test_webhook_brings_the_photo_of_the_callback_in_its_form(airflow, sandbox, tmp_path):
    callback = runpy.run_path(str(EXAMPLE_DAGS / "example_nxcloud_webhook.py"))["CALLBACK"]
    succeeded, output = airflow.run("example_nxcloud_webhook", {"callback": callback})
    assert succeeded, output
    assert files_in(tmp_path / "media") == {"2026-01-01/1000000001.jpg": sandbox.media["1000000001"].content}


@pytest.mark.slow
def test_webhook_without_configuration_says_how_to_trigger_it(airflow, sandbox):
    succeeded, output = airflow.run("example_nxcloud_webhook")
    assert not succeeded
    assert "trigger with the callback as configuration" in output
    assert sandbox.requests == []
