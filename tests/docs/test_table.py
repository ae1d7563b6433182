"""The documented query tells from manifests alone who sent what when."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from pages import blocks

from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator
from airflow_provider_nxcloud.webhook import media_from_webhook

pytest.importorskip("duckdb")
BSUID = "CN.13491208655302741918"


@pytest.fixture
def fetch(sandbox, tmp_path):
    """Fetch media files in a run of that name."""

    def fetch(run: str, media_ids: list) -> None:
        folder = tmp_path / "callbacks" / run
        folder.mkdir(parents=True)
        NxCloudGetMediaOperator(
            task_id="get_media",
            media_ids=media_ids,
            destination=str(tmp_path),
            manifest=str(folder / "00000.manifest.jsonl"),
            ignore_media_errors=True,
        ).execute(context={})

    return fetch


@pytest.fixture
def who_sent_what(tmp_path):
    (block,) = [block for block in blocks("python") if "import duckdb" in block.code]
    names: dict = {}
    exec(block.code, names)
    return lambda: names["who_sent_what"](str(tmp_path / "callbacks/*/*.manifest.jsonl"))


def test_manifests_say_who_sent_what_when(sandbox, fetch, who_sent_what, tmp_path, no_backoff):
    image = {"id": "1000000001", "caption": "Hi {{ first name }}, 牛小信 😀"}
    callback = {
        "contacts": [{"user_id": BSUID}],  # of somebody without a number
        "messages": [
            {"id": "wamid.1", "from": "", "timestamp": "1767225600", "type": "image", "image": image}
        ],
    }
    media = media_from_webhook(callback)
    fetch("first", [*media, "1000000004", {"media_id": "unknown", "user_id": BSUID}])
    fetch("second", media)  # delivered again
    sent = datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert [(row[0] and row[0].astimezone(timezone.utc), *row[1:]) for row in who_sent_what()] == [
        (sent, BSUID, None, image["caption"], f"file://{tmp_path}/1000000001.jpg", 43995),
        (None, None, None, None, f"file://{tmp_path}/1000000004.ogg", 7723),
    ]


def test_manifest_of_plain_ids_has_nobody_in_it(fetch, who_sent_what):
    fetch("run", ["1000000001"])
    assert [row[:4] for row in who_sent_what()] == [(None, None, None, None)]
