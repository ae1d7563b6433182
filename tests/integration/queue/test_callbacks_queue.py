"""Callbacks from SQS to an Airflow that is killed at each step: no message is lost, every file is stored once."""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow_processes import EXAMPLE_DAGS, environment, process
from airflow_to_kill import airflow_to_kill
from listening import assert_listens_on_loopback_only
from postgresql import is_installed
from receiving import wait_for
from running_airflow import free_port, wait_until

from airflow_provider_nxcloud.sandbox import NxCloudSandbox

pytest.importorskip("airflow.providers.common.messaging", reason="make test-queue has it")
boto3 = pytest.importorskip("boto3")
pytestmark = pytest.mark.skipif(not is_installed(), reason="this needs: apt-get install postgresql")

DAG_ID = "example_nxcloud_callbacks_queue"
COUNT = 40
ODD = ["no JSON", '{"hello": "world"}', "[]"]
ODD_SAID = ["payload is not JSON", "it is no object with messages or statuses"]
ACCESS = {"login": "testing", "password": "testing-secret"}


class Queue:
    """A queue in SQS by moto."""

    def __init__(self, endpoint: str) -> None:
        self.sqs = boto3.client(
            "sqs",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS["login"],
            aws_secret_access_key=ACCESS["password"],
        )
        self.url = self.sqs.create_queue(QueueName="callbacks")["QueueUrl"]
        extra = {"endpoint_url": endpoint, "region_name": "us-east-1"}
        self.connection = json.dumps({"conn_type": "aws", **ACCESS, "extra": extra})

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=body)

    def purge(self) -> None:
        self.sqs.purge_queue(QueueUrl=self.url)

    def counts(self) -> tuple[int, int]:
        """Return how many messages wait, and how many somebody has received and not deleted."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """SQS by moto."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with process(command, environment(tmp_path, tmp_path), tmp_path / "moto.log") as moto:

        def answers() -> bool:
            with closing(socket.socket()) as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_for(answers, "moto")
        assert_listens_on_loopback_only(moto.pid)
        yield SimpleNamespace(process=moto, queue=Queue(f"http://127.0.0.1:{port}"))


@pytest.fixture
def airflow(tmp_path: Path, server) -> Iterator[SimpleNamespace]:
    """A running Airflow with the DAG, whose messages come again after 20 seconds, and media files."""
    dags = tmp_path / "dags"
    dags.mkdir()
    source = (EXAMPLE_DAGS / f"{DAG_ID}.py").read_text()
    assert source.count("timedelta(minutes=30)") == 1
    (dags / f"{DAG_ID}.py").write_text(source.replace("timedelta(minutes=30)", "timedelta(seconds=20)"))
    queue = {"NXCLOUD_QUEUE_URL": server.queue.url, "AIRFLOW_CONN_AWS_DEFAULT": server.queue.connection}
    with NxCloudSandbox() as sandbox:
        for number in range(COUNT):
            sandbox.add_media(f"photo {number}".encode(), "image/jpeg", media_id=f"m{number}")
        with airflow_to_kill(tmp_path, dags, tmp_path / "media", sandbox, **queue) as airflow:
            yield airflow


def callback(sandbox: NxCloudSandbox, media_id: str, sha256: str = "", **fields: str) -> str:
    image = {"id": media_id, "sha256": sha256 or sandbox.media[media_id].sha256}
    message = {"id": f"wamid.{media_id}", "from": "447700900000", "type": "image", "image": image}
    return json.dumps({"business_phone": sandbox.business_phone, "messages": [message], **fields})


def stored(airflow: SimpleNamespace) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in airflow.out.glob("m*.jpg")}


def logged(airflow: SimpleNamespace) -> str:
    return "\n".join(path.read_text() for path in (airflow.home / "logs").rglob("*.log"))


def run_states(airflow: SimpleNamespace) -> list[str]:
    runs = airflow.database.query("select state from dag_run where dag_id = %s order by id", DAG_ID)
    return [state for (state,) in runs]


def is_running(airflow: SimpleNamespace, task_id: str) -> bool:
    state = "select 1 from task_instance where dag_id = %s and task_id = %s and state = 'running'"
    return airflow.database.query(state, DAG_ID, task_id) != []


def kill_triggerer_between_queue_and_database(airflow, queue: Queue, bodies: list[str]) -> None:
    """Of its two processes one asks SQS; the other, which stores events, is frozen before the messages come."""
    (log, triggerer), *_ = [each for each in airflow.processes.items() if each[0].stem == "triggerer"]

    def polls() -> int:
        return log.read_text().count("SqsSensor checking for message")

    before = polls()
    wait_until(airflow, lambda: polls() > before + 1, "the triggerer asks the queue")
    events = airflow.database.query("select count(*) from asset_event")
    triggerer.send_signal(signal.SIGSTOP)
    queue.send(*bodies)
    wait_until(airflow, lambda: queue.counts()[1] > 0, "messages are received")
    airflow.kill("triggerer")
    assert airflow.database.query("select count(*) from asset_event") == events
    wait_until(airflow, lambda: queue.counts() == (len(bodies), 0), "all of them are there again")
    airflow.start("triggerer")


def test_no_message_is_lost_whatever_is_killed(airflow, server, capsys):
    sandbox, queue = airflow.sandbox, server.queue
    began, times = time.monotonic(), []

    def step(condition, what: str) -> None:
        wait_until(airflow, condition, what)
        times.append(f"{what}: {time.monotonic() - began:.0f} s")

    sandbox.add_media(b"", "image/jpeg", media_id="other")
    not_fetched = [callback(sandbox, "other", "0" * 64), callback(sandbox, "m1", business_phone="1234567")]
    queue.send(*not_fetched, callback(sandbox, "m0"))
    # On a slow machine they come again before the first run has ended, for another one.
    step(lambda: run_states(airflow)[:1] == ["failed"], "a run ends, of whose three messages one was stored")
    assert set(stored(airflow)) == {"m0"}
    assert sum(queue.counts()) == len(not_fetched)
    queue.purge()
    wait_until(airflow, lambda: set(run_states(airflow)) == {"failed"}, "the runs have ended")

    wanted = {f"m{number}": sandbox.media[f"m{number}"].content for number in range(COUNT)}
    bodies = [callback(sandbox, media_id) for media_id in list(wanted)[1:]]
    sandbox.inject("download.hang", media_id=f"m{COUNT - 1}")
    kill_triggerer_between_queue_and_database(airflow, queue, [*bodies, bodies[0], *ODD])
    times.append(f"the triggerer is killed: {time.monotonic() - began:.0f} s")

    step(lambda: len(stored(airflow)) == COUNT - 1, "files are stored, and one hangs")
    airflow.kill_and_restart("scheduler")
    step(lambda: stored(airflow) == wanted, "every file is stored")
    server.process.send_signal(signal.SIGSTOP)
    step(lambda: is_running(airflow, "delete_messages"), "messages are about to be deleted")
    airflow.kill("scheduler")
    server.process.send_signal(signal.SIGCONT)
    assert sum(queue.counts()) >= len(bodies)
    airflow.start("scheduler")
    step(lambda: sum(queue.counts()) == len(ODD), "every message is deleted")

    assert stored(airflow) == wanted
    downloads = Counter(request.media_id for request in sandbox.downloads() if request.media_id in wanted)
    assert downloads == {media_id: 1 for media_id in wanted} | {f"m{COUNT - 1}": 2}
    log = logged(airflow).replace('\\"', '"')
    assert [said for said in ODD_SAID if said not in log] == []
    with capsys.disabled():
        print("", *times, sep="\n")
