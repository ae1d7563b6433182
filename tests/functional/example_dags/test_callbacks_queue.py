"""What the tasks around the fetch do with the messages of a queue: what is read, and what is deleted."""

from __future__ import annotations

import json
import runpy
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from airflow_processes import EXAMPLE_DAGS

DAG_ID = "example_nxcloud_callbacks_queue"
BEGAN = datetime(2026, 1, 1, tzinfo=timezone.utc)


class Events:
    """The events of an asset, filtered as Airflow does."""

    def __init__(self, events: list[SimpleNamespace]) -> None:
        self.events = events

    def after(self, moment: str) -> Events:
        return Events([each for each in self.events if each.timestamp >= datetime.fromisoformat(moment)])

    def limit(self, count: int) -> list[SimpleNamespace]:
        return self.events[:count]


@pytest.fixture
def example(tmp_path: Path) -> dict:
    module = runpy.run_path(str(EXAMPLE_DAGS / f"{DAG_ID}.py"))
    names = module["gather_messages"].function.__globals__
    names["DESTINATION"] = str(tmp_path)
    return names


@pytest.fixture
def gather(example):
    """Read events with these messages, one a second; the first of them started the run, or none did."""

    def gather(*batches: list[dict], started: bool = True) -> list[list[dict]]:
        events = [
            SimpleNamespace(timestamp=BEGAN + timedelta(seconds=number), extra={"payload": payload})
            for number, payload in enumerate({"message_batch": batch} for batch in batches)
        ]
        inlet_events = MagicMock()  # no dict: not every Airflow's assets can be its keys
        inlet_events.__getitem__.return_value = Events(events)
        paths = example["gather_messages"].function(
            run_id="run",
            inlet_events=inlet_events,
            triggering_asset_events={"asset": events[:1]} if started else {},
        )
        return [example["read_lines"](path) for path in paths]

    return gather


def message(name: str, *media: dict, receipt: str = "first", **fields: object) -> dict:
    messages = [{"id": f"wamid.{name}", "type": "image", "image": item} for item in media]
    body = json.dumps({"messages": messages, "business_phone": "8613800138000", **fields})
    return {"MessageId": name, "ReceiptHandle": f"{name}-{receipt}", "Body": body}


def receipts(batches: list[list[dict]]) -> list[list[str]]:
    return [[each["receipt"] for each in batch] for batch in batches]


def test_all_events_since_the_first_are_read_in_pages(gather, example):
    example["PAGE"] = 2
    batches = gather(*([message(f"{number}", {"id": f"m{number}"})] for number in range(5)))
    assert receipts(batches) == [[f"{number}-first" for number in range(5)]]


def test_message_that_came_again_has_its_last_receipt(gather):
    again = message("a", {"id": "m1"}, receipt="second")
    assert receipts(gather([message("a", {"id": "m1"})], [again])) == [["a-second"]]


@pytest.mark.parametrize("body", ["no JSON", "[]", "17", '{"hello": "world"}', "[" * 100_000])
def test_what_is_no_callback_is_left_in_the_queue_and_named(gather, caplog, body):
    odd = {"MessageId": "odd", "ReceiptHandle": "r", "Body": body}
    assert receipts(gather([odd, message("a", {"id": "m1"})])) == [["a-first"]]
    assert "No callback, and left in the queue: message odd: " in caplog.text


def test_callback_without_media_is_there_to_be_deleted(gather):
    batches = gather([message("text"), message("lost", {"errors": [{"code": 131052}]})])
    assert [each["media"] for batch in batches for each in batch] == [[], []]


def test_each_merchant_number_and_each_thousand_are_a_batch_of_their_own(gather, example):
    example["BATCH"] = 2
    messages = [message(f"{n}", {"id": f"m{n}"}, business_phone=f"86138001380{n % 2}") for n in range(6)]
    assert receipts(gather(messages)) == [
        ["0-first", "2-first"],
        ["4-first"],
        ["1-first", "3-first"],
        ["5-first"],
    ]


def test_media_of_two_messages_is_fetched_once_also_with_different_hashes(gather, example, tmp_path):
    said = [{"sha256": "a" * 64}, {"sha256": "b" * 64}, {"caption": "hello"}]
    gather([message(f"{number}", {"id": "m1", **each}) for number, each in enumerate(said)])
    (media,) = example["media_of_batch"](str(tmp_path / "callbacks" / "run" / "00000.jsonl"))
    assert (media["media_id"], media["sha256"], media["caption"]) == ("m1", "a" * 64, "hello")


@pytest.mark.parametrize(
    "extra", [None, {}, {"payload": None}, {"payload": []}, {"payload": {"message_batch": 5}}]
)
def test_event_without_messages_is_left_out_and_told(example, caplog, extra):
    events = [SimpleNamespace(timestamp=BEGAN, extra=extra)]
    assert list(example["read_messages"](Events(events), BEGAN)) == []
    assert "it has no messages of a queue" in caplog.text


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85"])
def test_caption_that_python_takes_for_two_lines_is_one_in_a_file(example, tmp_path, end):
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps({"caption": f"a{end}b"}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert example["read_lines"](str(path)) == [{"caption": f"a{end}b"}]


def test_run_that_no_event_started_reads_nothing(gather):
    assert gather([message("a", {"id": "m1"})], started=False) == []


def test_run_fails_when_fetching_does_although_messages_are_deleted_afterwards(example):
    delete = example["get_media"].dag.get_task("delete_messages")
    # With on_failure_fail_dagrun Airflow looks at this task alone.
    assert (delete.is_teardown, delete.on_failure_fail_dagrun) == (True, False)
    assert delete.upstream_task_ids == {"gather_messages", "get_media"}


def test_only_messages_whose_media_are_all_stored_are_deleted(example, tmp_path, monkeypatch):
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        extra = {"endpoint_url": endpoint, "region_name": "us-east-1"}
        connection = {"conn_type": "aws", "login": "testing", "password": "testing", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        sqs = boto3.client("sqs", **extra, aws_access_key_id="testing", aws_secret_access_key="testing")
        url = example["QUEUE_URL"] = sqs.create_queue(QueueName="callbacks")["QueueUrl"]
        media = {f"{n}": ["m1"] for n in range(12)} | {"none": [], "part": ["m1", "m2"], "failed": ["m3"]}
        for name in [*media, "no manifest"]:
            sqs.send_message(QueueUrl=url, MessageBody=name)
        lines = {}
        while received := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for each in received:
                ids = [{"media_id": media_id} for media_id in media.get(each["Body"], ["m1"])]
                lines[each["Body"]] = json.dumps({"receipt": each["ReceiptHandle"], "media": ids})
        (tmp_path / "1.jsonl").write_text(lines.pop("no manifest"))
        (tmp_path / "0.jsonl").write_text("\n".join(lines.values()))
        records = [("m1", "stored"), ("m2", "failed"), ("m3", "failed")]
        manifest = "".join(
            json.dumps({"media_id": name, "status": status}) + "\n" for name, status in records
        )
        (tmp_path / "0.manifest.jsonl").write_text(manifest)

        count = "ApproximateNumberOfMessagesNotVisible"
        for _ in range(2):  # a retry after a kill deletes what is deleted already
            example["delete_messages"].function([str(tmp_path / f"{number}.jsonl") for number in range(2)])
            left = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[count])["Attributes"]
            assert left == {count: "3"}
    finally:
        server.stop()
