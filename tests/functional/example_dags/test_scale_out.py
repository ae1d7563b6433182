"""A list of media in batches over mapped tasks: what is fetched, what is merged, and what bad input ends in."""

from __future__ import annotations

import json
import runpy
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from airflow_processes import EXAMPLE_DAGS, files_in

pytestmark = pytest.mark.slow

DAG_ID = "example_nxcloud_scale_out"
IDS = [f"10000000{number:02}" for number in range(1, 8)]


@pytest.fixture
def fetch(airflow, tmp_path: Path):
    """Run the DAG over a list of that text, three media a batch; return whether it succeeded, and its log."""

    with closing(sqlite3.connect(airflow.database)) as database, database:
        database.execute("insert into slot_pool (pool, slots, include_deferred) values ('nxcloud', 8, 0)")

    def fetch(lines: str | bytes) -> tuple[bool, str]:
        ids = tmp_path / "ids.txt"
        ids.write_bytes(lines if isinstance(lines, bytes) else lines.encode())
        return airflow.run(DAG_ID, {"ids": f"file://{ids}", "batch_size": 3})

    return fetch


@pytest.fixture
def stored(tmp_path: Path):
    """Return the stored media by ID, and the lines of each file of the run by name."""

    def stored() -> tuple[dict[str, bytes], dict[str, list[dict]]]:
        files = files_in(tmp_path / "media")
        media = {Path(name).stem: content for name, content in files.items() if "/" not in name}
        lines = {
            Path(name).name: [json.loads(line) for line in content.splitlines()]
            for name, content in files.items()
            if "/" in name
        }
        return media, lines

    return stored


def states(airflow) -> dict[tuple[str, int], str]:
    rows = airflow.query("select task_id, map_index, state from task_instance where dag_id = ?", DAG_ID)
    return {(task_id, map_index): state for task_id, map_index, state in rows}


def ids(records: list[dict]) -> list[str]:
    return [record["media_id"] for record in records]


@pytest.fixture(scope="module")
def dag():
    return runpy.run_path(str(EXAMPLE_DAGS / f"{DAG_ID}.py"))["get_media"].dag


def test_no_task_is_lost_with_its_worker(dag):
    assert {task.task_id: task.retries for task in dag.tasks} == {
        "make_batches": 3,
        "get_media": 3,
        "merge_manifests": 3,
    }


def test_long_list_gets_larger_batches_rather_than_more_than_expand_takes(dag, tmp_path: Path):
    media_ids = [str(number) for number in range(2001)]
    (tmp_path / "ids.txt").write_text("\n".join(media_ids))
    params = {"ids": f"file://{tmp_path}/ids.txt", "destination": f"file://{tmp_path}", "batch_size": 1}
    make_batches = dag.get_task("make_batches").python_callable
    make_batches.__globals__["refuse_without_pool"] = lambda: None  # there is no database
    paths = make_batches(params=params, run_id="run")
    batches = [Path(path.removeprefix("file://")).read_text().splitlines() for path in paths]
    assert [len(lines) for lines in batches] == [3] * 667
    assert [json.loads(line)["media_id"] for lines in batches for line in lines] == media_ids


def test_every_media_is_fetched_once_and_in_one_manifest(airflow, fetch, stored, sandbox):
    hashed = json.dumps({"media_id": IDS[0], "sha256": sandbox.media[IDS[0]].sha256})
    succeeded, output = fetch("\ufeff" + "\r\n".join([hashed, "", *IDS[1:], "  "]))
    assert succeeded, output
    media, lines = stored()
    assert media == {media_id: sandbox.media[media_id].content for media_id in IDS}
    assert [ids(lines[f"0000{n}.jsonl"]) for n in range(3)] == [IDS[:3], IDS[3:6], IDS[6:]]
    assert ids(lines["manifest.jsonl"]) == IDS
    assert {record["status"] for record in lines["manifest.jsonl"]} == {"stored"}
    assert len(sandbox.downloads()) == len(IDS)
    # The records are in the manifests; what the next tasks need is a path a batch, and the counts.
    xcoms = dict(airflow.query("select task_id, value from xcom where key = 'return_value'"))
    assert sorted(xcoms) == ["make_batches", "merge_manifests"]
    assert "media_id" not in str(xcoms)


def test_broken_lines_are_all_named_and_nothing_is_fetched(airflow, fetch, stored, sandbox):
    lines = [
        IDS[0].encode(),
        b"../etc/passwd",
        b'{"media_id": ',
        b"\xff\xfe",
        b'{"id": "1"}',
        b'{"media_id": ' * 100_000,
        IDS[1].encode(),
    ]
    succeeded, output = fetch(b"\n".join(lines))
    assert not succeeded
    assert "5 of 7 lines of" in output
    problems = ["'/' or '..'", "Expecting value", "utf-8", "no 'media_id'", "maximum recursion depth"]
    for line, problem in enumerate(problems, 2):
        assert any(f"line {line}: " in text and problem in text for text in output.splitlines())
    assert sandbox.requests == []
    assert stored() == ({}, {})
    assert states(airflow)["make_batches", -1] == "failed", "a retry would read the same lines"


def test_empty_list_succeeds_with_an_empty_manifest(airflow, fetch, stored, sandbox):
    succeeded, output = fetch("\n")
    assert succeeded, output
    assert stored() == ({}, {"manifest.jsonl": []})
    assert sandbox.requests == []
    assert states(airflow)["merge_manifests", -1] == "success"


def test_pool_that_does_not_exist_is_refused_with_the_command_that_creates_it(airflow, sandbox):
    succeeded, output = airflow.run(DAG_ID)
    assert not succeeded
    assert "there is no pool 'nxcloud'; create it: airflow pools set nxcloud 8" in output
    assert states(airflow)["make_batches", -1] == "failed"
    assert sandbox.requests == []


def test_list_that_is_not_there_fails_by_name(airflow, fetch, tmp_path):
    succeeded, output = airflow.run(DAG_ID, {"ids": f"file://{tmp_path}/missing.txt"})
    assert not succeeded
    assert f"there is no list 'file://{tmp_path}/missing.txt'" in output
    assert states(airflow)["make_batches", -1] == "failed"


def test_media_in_two_batches_is_fetched_once(fetch, stored, sandbox):
    known = json.dumps({"media_id": IDS[0], "sha256": sandbox.media[IDS[0]].sha256})
    succeeded, output = fetch("\n".join([*IDS[:4], known, IDS[1]]))
    assert succeeded, output
    _, lines = stored()
    assert ids(lines["manifest.jsonl"]) == IDS[:4]
    assert lines["00000.jsonl"][0]["sha256"] == sandbox.media[IDS[0]].sha256, (
        "the entries complete each other"
    )
    assert len(sandbox.downloads()) == 4


def test_media_with_two_hashes_is_refused(fetch, sandbox):
    lines = [json.dumps({"media_id": IDS[0], "sha256": digit * 64}) for digit in "ab"]
    succeeded, output = fetch("\n".join(lines))
    assert not succeeded
    assert f"media_ids has '{IDS[0]}' twice, with different sha256" in output
    assert sandbox.requests == []


def test_run_fails_when_a_media_is_missing_but_stores_and_records_the_others(airflow, fetch, stored, sandbox):
    sandbox.inject("download.status", status=404, media_id=IDS[4], times=None)
    succeeded, output = fetch("\n".join(IDS))
    assert not succeeded
    assert "1 of 7 media files were not stored" in output
    media, lines = stored()
    assert sorted(media) == sorted(set(IDS) - {IDS[4]})
    failed = [record for record in lines["manifest.jsonl"] if record["status"] == "failed"]
    assert ids(failed) == [IDS[4]]
    assert ids(lines["manifest.jsonl"]) == IDS
    assert states(airflow)["merge_manifests", -1] == "failed"


def test_media_of_batches_without_a_manifest_count_as_missing(airflow, fetch, stored):
    del airflow.env["AIRFLOW_CONN_NXCLOUD_DEFAULT"]
    succeeded, output = fetch("\n".join(IDS))
    assert not succeeded
    assert "7 of 7 media files were not stored" in output
    records = stored()[1]["manifest.jsonl"]
    assert ids(records) == IDS
    assert all("there is no record of it in" in record["error"] for record in records)
