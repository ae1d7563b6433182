"""What a run of the callbacks example makes of the events that it reads."""

from __future__ import annotations

import runpy
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

from airflow_processes import EXAMPLE_DAGS


def event(media_id: str, phone: str) -> SimpleNamespace:
    message = {"id": f"wamid.{media_id}", "type": "image", "image": {"id": media_id}}
    callback = {"messages": [message], "business_phone": phone}
    return SimpleNamespace(timestamp=datetime.now(timezone.utc), extra={"callback": callback})


def test_each_merchant_number_is_a_batch_of_its_own(tmp_path: Path):
    """One that NXCloud refuses ends the task, and must not hold up the others."""
    module = runpy.run_path(str(EXAMPLE_DAGS / "example_nxcloud_callbacks.py"))
    names = module["gather_callbacks"].function.__globals__
    names.update(DESTINATION=str(tmp_path), GATHER=timedelta(0))
    events = [event("1", "49151"), event("2", "44770"), event("3", "49151"), event("1", "49151")]

    paths = module["gather_callbacks"].function(
        params={"hours": 1}, run_id="run", inlet_events={names["CALLBACKS"]: events}
    )

    batches = [[item["media_id"] for item in names["read_lines"](path)] for path in paths]
    assert batches == [["2"], ["1", "3"]]
