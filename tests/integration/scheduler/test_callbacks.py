"""Callbacks posted as asset events to an Airflow whose scheduler is killed: every file is stored, and once."""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from airflow_processes import AIRFLOW_2, EXAMPLE_DAGS
from airflow_to_kill import airflow_to_kill
from postgresql import is_installed
from receiving import poster, receiver, send
from running_airflow import wait_until

from airflow_provider_nxcloud.sandbox import NxCloudSandbox

pytestmark = pytest.mark.skipif(not is_installed(), reason="this needs: apt-get install postgresql")

DAG_ID = "example_nxcloud_callbacks"
URI = "x-nxcloud://whatsapp/callbacks"
#: `make callbacks` sets these to what docs/callbacks.md shows the figures of.
COUNT = int(os.environ.get("CALLBACKS", "120"))
SECONDS = float(os.environ.get("CALLBACK_SECONDS", "30"))
EVENTS, MEDIA = (int(os.environ.get(f"CALLBACK_{name}", "1000")) for name in ("EVENTS", "MEDIA"))
#: Of the callbacks, so many are delivered twice.
TWICE = 0.1


class Poster:
    """Posts asset events as a receiver does, and tries again while Airflow does not answer."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._token = ""

    def call(self, method: str, path: str, body: object = None) -> dict:
        try:
            return self._call(method, path, body)
        except urllib.error.HTTPError as error:
            if error.code != 401:  # Airflow 3.0 and 3.1 want a token also where all are admins
                raise
        with urllib.request.urlopen(f"{self.url}/auth/token") as answer:
            self._token = json.load(answer)["access_token"]
        return self._call(method, path, body)

    def _call(self, method: str, path: str, body: object) -> dict:
        authorization = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        request = urllib.request.Request(
            f"{self.url}/api/{'v1' if AIRFLOW_2 else 'v2'}/{path}",
            method=method,
            headers={"Content-Type": "application/json", **authorization},
            data=None if body is None else json.dumps(body).encode(),
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def knows_the_asset(self) -> bool:
        try:
            if AIRFLOW_2:
                return bool(self.call("GET", f"datasets?uri_pattern={URI}")["datasets"])
            (self.asset_id,) = [
                each["id"] for each in self.call("GET", f"assets?name_pattern={URI}")["assets"]
            ]
        except (OSError, ValueError):
            return False
        return True

    def post(self, extra: object) -> float:
        """Post an event; return when Airflow had taken it, in seconds since the epoch."""
        while True:
            try:
                if AIRFLOW_2:
                    self.call("POST", "datasets/events", {"dataset_uri": URI, "extra": extra})
                else:
                    self.call("POST", "assets/events", {"asset_id": self.asset_id, "extra": extra})
            except urllib.error.HTTPError as error:
                if error.code < 500:
                    raise
            else:
                return time.time()


@pytest.fixture
def airflow(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A running Airflow with the DAG, a sandbox with many media files, and what posts events."""
    dags, out = tmp_path / "dags", tmp_path / "media"
    dags.mkdir()
    shutil.copy(EXAMPLE_DAGS / f"{DAG_ID}.py", dags)
    with NxCloudSandbox() as sandbox:
        for number in range(max(COUNT, MEDIA)):
            sandbox.add_media(f"photo {number}".encode(), "image/jpeg", media_id=f"m{number}")
        with airflow_to_kill(tmp_path, dags, out, sandbox, without=("triggerer",)) as airflow:
            airflow.poster = Poster(airflow.url)
            wait_until(airflow, airflow.poster.knows_the_asset, "Airflow knows the asset")
            yield airflow


def callback(sandbox: NxCloudSandbox, media_id: str) -> dict:
    image = {"id": media_id, "mime_type": "image/jpeg", "sha256": sandbox.media[media_id].sha256}
    message = {"id": f"wamid.{media_id}", "from": "447700900000", "type": "image", "image": image}
    return {"messaging_product": "whatsapp", "business_phone": sandbox.business_phone, "messages": [message]}


def media_files(out: Path) -> dict[str, Path]:
    return {path.stem: path for path in out.glob("m*.jpg")}


def post_all(airflow: SimpleNamespace, posters: int) -> dict[str, float]:
    """Post a callback for each media file, some twice, over the time; return when Airflow took each."""
    began, posted = time.monotonic(), {}

    def post(number: int) -> None:
        media_id = f"m{number}"
        time.sleep(max(0.0, began + SECONDS * number / COUNT - time.monotonic()))
        extra = {"callback": callback(airflow.sandbox, media_id)}
        posted[media_id] = airflow.poster.post(extra)
        if number % round(1 / TWICE) == 0:
            airflow.poster.post(extra)
        if number == COUNT // 3:
            for odd in ODD:
                airflow.poster.post(odd)
        if number == COUNT // 2:
            airflow.kill_and_restart("scheduler")

    with ThreadPoolExecutor(posters) as pool:
        list(pool.map(post, range(COUNT)))
    return posted


ODD = [
    {},
    {"callback": None},
    {"callback": {"hello": "world"}},
    {"order": 17},
    {"callback": {"messages": [{"type": "image", "image": {"errors": [{"code": 131052}]}}]}},
    {"junk": "x" * (300_000 if AIRFLOW_2 else 10_000_000)},
]
ODD_SAID = [
    "neither callback nor callbacks in its extra, but ['from_rest_api']",
    "neither callback nor callbacks in its extra, but ['from_rest_api', 'order']",
    "neither callback nor callbacks in its extra, but ['from_rest_api', 'junk']",
    "payload[0] must be a webhook callback (a JSON object), not nothing",
    "payload[0] is no callback: it has neither messages nor statuses",
    "has no image with an id",
]


@pytest.mark.parametrize("posters", [1, 8] if "CALLBACKS" in os.environ else [8])
def test_no_callback_waits_or_is_lost(airflow, posters, capsys):
    posted = post_all(airflow, posters)
    wanted = set(posted)
    wait_until(airflow, lambda: set(media_files(airflow.out)) >= wanted, "every file is stored")
    active = "select 1 from dag_run where dag_id = %s and state in ('queued', 'running')"
    wait_until(airflow, lambda: not airflow.database.query(active, DAG_ID), "the runs end")

    files = media_files(airflow.out)
    assert {name: path.read_bytes() for name, path in files.items()} == {
        name: airflow.sandbox.media[name].content for name in wanted
    }
    runs = airflow.database.query("select run_id, state from dag_run where dag_id = %s", DAG_ID)
    assert {state for _, state in runs} == {"success"}
    downloads = Counter(request.media_id for request in airflow.sandbox.downloads())
    # Only what the killed task was at may have come twice.
    assert sum(downloads.values()) <= COUNT + 32, downloads
    logged = "\n".join(path.read_text() for path in (airflow.home / "logs").rglob("*.log"))
    assert [said for said in ODD_SAID if said not in logged.replace('\\"', '"')] == []
    xcoms = airflow.database.query("select value from xcom where dag_id = %s", DAG_ID)
    assert "media_id" not in str(xcoms)

    waits = sorted(files[name].stat().st_mtime - posted[name] for name in wanted)
    ((starts,),) = airflow.database.query(
        "select sum(try_number) from task_instance where dag_id = %s and start_date is not null", DAG_ID
    )
    longest, median, most = waits[-1], waits[len(waits) // 2], waits[len(waits) * 95 // 100]
    with capsys.disabled():
        print(
            f"\n{COUNT} callbacks in {SECONDS:.0f} s, {posters} at a time; from callback to object: "
            f"median {median:.1f} s, 95 % {most:.1f} s, longest {longest:.1f} s; {len(runs)} runs, "
            f"{starts} task starts, {len(airflow.sandbox.calls())} calls of getMedia, "
            f"{sum(downloads.values())} downloads"
        )


@pytest.mark.skipif(AIRFLOW_2, reason="the receiver of the pages is for Airflow 3")
def test_receiver_brings_callbacks_to_the_bucket_also_with_a_token_that_expired(airflow, tmp_path):
    folder = tmp_path / "receiver"
    folder.mkdir()
    with receiver(folder) as (port, _), poster(folder, airflow.poster.url):
        for media_id in ("m0", "m1"):
            assert send(port, callback(airflow.sandbox, media_id)) == 200
            wait_until(airflow, lambda: media_id in media_files(airflow.out), f"{media_id} is stored")  # noqa: B023
    # Each takes longer than a token lives, because a run waits that long before it reads.
    assert "401 Client Error" in (folder / "log").read_text()


@pytest.mark.skipif(AIRFLOW_2, reason="the events are written into the tables of Airflow 3")
def test_many_events_in_one_run(airflow, capsys):
    """Many events, each media file in several of them: memory is bounded, and XCom holds paths only."""
    callbacks = [callback(airflow.sandbox, f"m{number % MEDIA}") for number in range(EVENTS)]
    airflow.database.query(
        "insert into asset_event (asset_id, extra, timestamp) "
        "select %s, extra::json, now() + '1 microsecond'::interval * row_number() over () "
        "from unnest(%s) as extra returning 1",
        airflow.poster.asset_id,
        [json.dumps({"callback": each}) for each in callbacks],
    )
    began = time.monotonic()
    airflow.poster.call("POST", f"dags/{DAG_ID}/dagRuns", {"logical_date": None})
    largest: Counter = Counter()

    def is_over() -> bool:
        for task in airflow.children("scheduler"):
            with suppress(psutil.Error):
                largest["bytes"] = max(largest["bytes"], task.memory_info().rss)
        return airflow.database.query("select 1 from dag_run where state in ('success', 'failed')") != []

    wait_until(airflow, is_over, "the run ends")
    assert airflow.database.query("select state from dag_run") == [("success",)]
    assert len(media_files(airflow.out)) == MEDIA
    assert len(airflow.sandbox.downloads()) == MEDIA
    xcoms = airflow.database.query("select value from xcom where dag_id = %s", DAG_ID)
    assert len(str(xcoms)) < 1000 + 200 * MEDIA / 1000
    assert largest["bytes"] < 300 * 2**20
    with capsys.disabled():
        print(
            f"\n{EVENTS} events for one run, {MEDIA} media files: {time.monotonic() - began:.0f} s, "
            f"the largest task {largest['bytes'] / 2**20:.0f} MiB"
        )
