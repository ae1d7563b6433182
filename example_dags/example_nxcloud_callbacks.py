"""
Fetch the media of NXCloud's callbacks as they come in, many callbacks a run, without anyone polling.

Whoever receives NXCloud's webhook posts the callbacks as events of an asset, over Airflow's REST API:
`{"callback": {...}}` or `{"callbacks": [{...}, ...]}` is an event's `extra`.

A run triggered by hand looks through the events of the last `hours` once more; what is stored stays as it is.
"""

# [START example_nxcloud_callbacks]
from __future__ import annotations

import json
import logging
import os
import time
from datetime import datetime, timedelta, timezone
from itertools import chain, groupby, islice

from airflow.providers.common.compat.sdk import DAG, Asset, ObjectStoragePath, Param, task

from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator
from airflow_provider_nxcloud.webhook import media_from_webhook

log = logging.getLogger(__name__)

DESTINATION = os.environ.get("NXCLOUD_DESTINATION", "file:///tmp/nxcloud-media")
CALLBACKS = Asset("x-nxcloud://whatsapp/callbacks")
#: Callbacks of these seconds are fetched together. Also longer than Airflow takes to commit an event.
GATHER = timedelta(seconds=5)
#: Airflow gives a run only some of the events that are new, so a run reads all from a little before its first on.
OVERLAP = timedelta(seconds=30)
#: Events read, and media files fetched by one task.
PAGE, BATCH = 500, 1000


def read_events(events, since: datetime):
    """Yield the asset's events from a moment on, oldest first."""
    if not hasattr(events, "after"):  # Airflow 2.11 and 3.0 have no filter
        yield from (event for event in events if event.timestamp >= since)
        return
    while page := list(events.after(since.isoformat()).limit(PAGE)):
        yield from page
        if len(page) < PAGE or page[-1].timestamp == since:
            return
        since = page[-1].timestamp  # whose event comes again


def read_media(event) -> list[dict]:
    """Return what an event has to fetch; one that makes no sense must not hold up the others."""
    extra = event.extra if isinstance(event.extra, dict) else {}
    callbacks = extra.get("callbacks", [extra["callback"]] if "callback" in extra else None)
    try:
        if not isinstance(callbacks, list):
            raise ValueError(f"neither callback nor callbacks in its extra, but {sorted(extra)!r:.100}")
        return media_from_webhook(callbacks)
    except ValueError as error:
        log.warning("Left out the event of %s: %s", event.timestamp, error)
        return []


def complete(items) -> list[dict]:
    """Return each media file once; what comes later adds what was not known."""
    media = {}
    for item in items:
        known = {key: value for key, value in media.get(item["media_id"], {}).items() if value is not None}
        media[item["media_id"]] = {**item, **known}
    return list(media.values())


def phone_of(item) -> str:
    return str(item["business_phone"])


def read_lines(path: str) -> list[dict]:
    """Runs where a batch is fetched, so that XCom holds the path of each batch and not its media."""
    return [json.loads(line) for line in ObjectStoragePath(path).read_text().splitlines()]


with DAG(
    dag_id="example_nxcloud_callbacks",
    description="Fetch the media of NXCloud's callbacks as they come in, many callbacks a run",
    doc_md=__doc__,
    schedule=[CALLBACKS],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    # What comes in during a run is one batch of the next.
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=10)},
    tags=["example", "nxcloud"],
    params={
        "hours": Param(
            24,
            type="number",
            minimum=0,
            maximum=10_000,
            title="Hours",
            description="How far back a run triggered by hand looks through the events once more",
        ),
    },
):

    @task(inlets=[CALLBACKS])
    def gather_callbacks(params=None, run_id=None, **context):
        """Write a file for each batch of media files and return their paths."""
        by_asset = context.get("triggering_asset_events") or context.get("triggering_dataset_events") or {}
        times = [event.timestamp for event in chain.from_iterable(by_asset.values())]
        hours = timedelta(hours=params["hours"])
        since = min(times) - OVERLAP if times else datetime.now(timezone.utc) - hours
        time.sleep(GATHER.total_seconds())
        events = read_events(context["inlet_events"][CALLBACKS], since)
        media = complete(item for event in events for item in read_media(event))
        paths = []
        # Each merchant number apart, because one that NXCloud refuses ends the task.
        for _, group in groupby(sorted(media, key=phone_of), phone_of):
            while batch := list(islice(group, BATCH)):
                path = ObjectStoragePath(f"{DESTINATION}/callbacks/{run_id}/{len(paths):05}.jsonl")
                if path.protocol in ("", "file"):  # stores need no folders
                    path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("".join(f"{json.dumps(item)}\n" for item in batch))
                paths.append(str(path))
        log.info("%d media files in the events since %s", len(media), since)
        return paths

    # One task a batch; events without media give none, and the task is skipped.
    NxCloudGetMediaOperator.partial(
        task_id="get_media",
        destination=DESTINATION,
        manifest=f"{DESTINATION}/callbacks/{{{{ run_id }}}}/{{{{ '%05d' % ti.map_index }}}}.manifest.jsonl",
        # The manifests have the records; in XCom they would be a third of a megabyte for 1,000 media files.
        do_xcom_push=False,
        outlets=[Asset("whatsapp_media")],
    ).expand(media_ids=gather_callbacks().map(read_lines))
# [END example_nxcloud_callbacks]
