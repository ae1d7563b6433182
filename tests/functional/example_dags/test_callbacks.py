"""What a run of the callbacks example makes of the events that it reads."""

from __future__ import annotations

import runpy
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

from airflow_processes import EXAMPLE_DAGS


def event(media_id: str, phone: str, **said: str) -> SimpleNamespace:
    message = {"id": f"wamid.{media_id}", "type": "image", "image": {"id": media_id, **said}}
    callback = {"messages": [message], "business_phone": phone}
    return SimpleNamespace(timestamp=datetime.now(timezone.utc), extra={"callback": callback})


def gather(folder: Path, *events: SimpleNamespace) -> list[list[dict]]:
    module = runpy.run_path(str(EXAMPLE_DAGS / "example_nxcloud_callbacks.py"))
    names = module["gather_callbacks"].function.__globals__
    names.update(DESTINATION=str(folder), GATHER=timedelta(0))
    inlet_events = MagicMock()  # no dict: not every Airflow's assets can be its keys
    inlet_events.__getitem__.return_value = list(events)
    paths = module["gather_callbacks"].function(params={"hours": 1}, run_id="run", inlet_events=inlet_events)
    return [names["read_lines"](path) for path in paths]


def test_each_merchant_number_is_a_batch_of_its_own(tmp_path: Path):
    """One that NXCloud refuses ends the task, and must not hold up the others."""
    batches = gather(
        tmp_path, event("1", "49151"), event("2", "44770"), event("3", "49151"), event("1", "49151")
    )
    assert [[item["media_id"] for item in batch] for batch in batches] == [["2"], ["1", "3"]]


def test_later_event_adds_to_what_is_known_and_replaces_nothing(tmp_path: Path):
    ((media,),) = gather(
        tmp_path,
        event("1", "49151", sha256="a" * 64),
        event("1", "49151", caption="hello"),
        event("1", "49151", sha256="b" * 64),
    )
    assert (media["sha256"], media["caption"]) == ("a" * 64, "hello")
