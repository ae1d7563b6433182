"""A customer's file name or caption is never rendered, by whichever way Airflow brings it to a task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from airflow_processes import DagRunner, everything_airflow_kept, files_in

from airflow_provider_nxcloud.sandbox import NxCloudSandbox

DAGS = Path(__file__).parent / "dags"
SECRET = "canary-access-s3cret"
NAMES = {
    "1000000001": "{{ conn.the_nxcloud.password }}.pdf",
    "1000000002": "50 % {% off",
    "1000000003": "{# nothing",
}
FEEDS = [
    "literal",
    "literal_text",
    "xcom_arg",
    "xcom_text",
    "template_json",
    "template_literal",
    "params",
    "sensor",
    "expand_kwargs",
    "expand_kwargs_text",
    "map",
    "expand",
]


@pytest.fixture
def sandbox():
    with NxCloudSandbox(access_secret=SECRET) as sandbox:
        yield sandbox


def messages(sandbox: NxCloudSandbox) -> list[dict]:
    return [
        {
            "id": f"wamid.{media_id}",
            "type": "document",
            "document": {
                "id": media_id,
                "filename": name,
                "caption": f"{name} {{{{ conn.the_nxcloud.password }}}}",
                "mime_type": sandbox.media[media_id].mime_type,
                "sha256": sandbox.media[media_id].sha256,
            },
        }
        for media_id, name in NAMES.items()
    ]


@pytest.mark.parametrize("rendering", ["text", "native"])
def test_what_a_customer_sends_is_stored_as_sent(sandbox, tmp_path: Path, rendering):
    out = tmp_path / "out"
    callback = {"business_phone": "8613800138000", "messages": messages(sandbox)}
    airflow = DagRunner(
        tmp_path / "home",
        DAGS,
        OUT=str(out),
        CALLBACK=json.dumps(callback),
        AIRFLOW_CONN_THE_NXCLOUD=sandbox.connection_json,
    )
    succeeded, output = airflow.run(f"foreign_{rendering}")
    assert succeeded, output
    stored = files_in(out / rendering)
    expected = {
        f"{media_id}-{name.replace('%', '_').replace('#', '_')}": sandbox.media[media_id].content
        for media_id, name in NAMES.items()
    }
    for feed in FEEDS:
        found = {Path(path).name: stored[path] for path in stored if path.startswith(f"{feed}/")}
        assert found == expected, feed
    assert SECRET not in str(stored)
    kept = everything_airflow_kept(airflow)
    assert "conn.the_nxcloud.password" in kept
    assert SECRET not in "\n".join(line for line in kept.splitlines() if "msg=MaskSecret(" not in line)


def test_what_is_no_media_id_is_refused_as_it_is(sandbox, tmp_path: Path):
    airflow = DagRunner(
        tmp_path / "home", DAGS, OUT=str(tmp_path / "out"), AIRFLOW_CONN_THE_NXCLOUD=sandbox.connection_json
    )
    succeeded, _ = airflow.run("foreign_odd")
    assert not succeeded
    states = airflow.query("select state from task_instance where task_id = 'get_media'")
    assert states == [("failed",)] * 3
    assert airflow.query("select value from xcom where key = 'rendered'") == []
    assert sandbox.calls() == []
