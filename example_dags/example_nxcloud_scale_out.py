"""
Fetch the media of a long list in batches over all workers, and end with one manifest of them all.

The list is a file in a folder or bucket, one media file a line: its ID, or a JSON object as `media_from_webhook`
returns it. Before the first run, create the
[pool](https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/pools.html) whose slots
are how many batches run at the same time, over all DAGs that use it:

    airflow pools set nxcloud 8 "Batches that ask NXCloud at the same time"
"""

# [START example_nxcloud_scale_out]
from __future__ import annotations

import json
import math
import os
import tempfile
from collections import Counter
from dataclasses import asdict
from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowFailException,
    Asset,
    ObjectStoragePath,
    Param,
    task,
)

from airflow_provider_nxcloud.exceptions import NxCloudInputError
from airflow_provider_nxcloud.media import parse_media_ids
from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator

DESTINATION = os.environ.get("NXCLOUD_DESTINATION", "file:///tmp/nxcloud-media")
POOL = "nxcloud"
#: Below [core] max_map_length (1024); a longer list gets larger batches, not more.
MAX_BATCHES = 1000
#: Lines or media that an error names one by one.
NAMED = 20


def refuse_without_pool() -> None:
    """Airflow leaves the tasks of a pool that does not exist scheduled forever, with an empty log."""
    create = f"airflow pools set {POOL} 8 'Batches that ask NXCloud at the same time'"
    try:
        from airflow.models.pool import Pool

        exists = Pool.get_pool(POOL)
    except RuntimeError:  # Airflow 3 keeps tasks away from its database
        print(f"If get_media stays scheduled, create its pool: {create}")
    else:
        if not exists:
            raise AirflowFailException(f"there is no pool {POOL!r}; create it: {create}")


def read_lines(path: str) -> list:
    """Runs where a batch is fetched, so that XCom holds the path of each batch and not its media."""
    with ObjectStoragePath(path).open("rb") as lines:
        return [json.loads(line) for line in lines]


def write_lines(path: str, records) -> None:
    """Write a file that is whole from the first moment it is there, also when many lines do not fit in memory."""
    target = ObjectStoragePath(path)
    if target.protocol in ("", "file"):  # stores need no folders
        target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as lines:
        lines.writelines(f"{json.dumps(record)}\n" for record in records)
        lines.flush()
        target.fs.put_file(lines.name, target.path)


def read_media(path: str) -> list[dict]:
    """Check every line first: nothing is fetched from a list that is broken."""
    media, broken, number = [], [], 0
    with ObjectStoragePath(path).open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                text = line.decode("utf-8-sig").strip()
                entry = json.loads(text) if text.startswith(("{", '"')) else text
                media += [asdict(item) for item in parse_media_ids([entry] if text else [])]
            except (ValueError, RecursionError) as error:
                broken.append(f"\n- line {number}: {error}")
    if broken:
        raise NxCloudInputError(
            f"{len(broken)} of {number} lines of {path!r} name no media file; fix or remove them, nothing was "
            f"fetched:{''.join(broken[:NAMED])}"
        )
    # A media file that is there twice goes into one batch only.
    return [asdict(item) for item in parse_media_ids(media)]


with DAG(
    dag_id="example_nxcloud_scale_out",
    description="Fetch the media of a long list in batches over all workers",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["example", "nxcloud"],
    # For workers that die, whatever they were at. What is stored already is not fetched again.
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30)},
    # The default, 16, would bound the batches before the pool does.
    max_active_tasks=256,
    # In a pool that does not exist tasks wait forever, and Airflow 3 lets no task look for it: this ends the run.
    dagrun_timeout=timedelta(hours=6),
    params={
        "ids": Param(
            f"{DESTINATION}/ids.txt",
            type="string",
            title="List of media IDs",
            description="A file, also in a bucket, with one media ID a line",
        ),
        "destination": Param(
            DESTINATION,
            type="string",
            title="Destination",
            description="A folder, or a bucket such as s3://aws_default@my-bucket/whatsapp, gs://... or abfs://...",
        ),
        "batch_size": Param(
            100,
            type="integer",
            minimum=1,
            title="Batch size",
            description="Media files that one task fetches; starting a task costs about as much as 160 of them",
        ),
    },
):

    @task
    def make_batches(params=None, run_id=None):
        """Write a file for each batch and return their paths."""
        refuse_without_pool()
        if not ObjectStoragePath(params["ids"]).exists():
            raise AirflowFailException(f"there is no list {params['ids']!r}")
        media = read_media(params["ids"])
        size = max(params["batch_size"], math.ceil(len(media) / MAX_BATCHES))
        paths = []
        for start in range(0, len(media), size):
            paths.append(f"{params['destination']}/runs/{run_id}/{len(paths):05}.jsonl")
            write_lines(paths[-1], media[start : start + size])
        return paths

    @task(trigger_rule="all_done", outlets=[Asset("whatsapp_media")])
    def merge_manifests(batches, params=None, run_id=None):
        """Say of every media file that was asked for what became of it, and fail on anything missing."""
        if batches is None:
            raise AirflowFailException("there are no batches, because make_batches failed")
        counts, missing = Counter(), []

        def records():
            for batch in batches:
                manifest = batch.removesuffix(".jsonl") + ".manifest.jsonl"
                done = read_lines(manifest) if ObjectStoragePath(manifest).exists() else []
                found = {record["media_id"]: record for record in done}
                for item in read_lines(batch):
                    lost = {**item, "status": "failed", "error": f"there is no record of it in {manifest!r}"}
                    record = found.get(item["media_id"], lost)
                    counts[record["status"]] += 1
                    if record["status"] == "failed":
                        missing.append(f"\n- media file {item['media_id']!r}: {record['error']}")
                    yield record

        merged = f"{params['destination']}/runs/{run_id}/manifest.jsonl"
        write_lines(merged, records())
        if missing:
            raise AirflowFailException(
                f"{len(missing)} of {counts.total()} media files were not stored; clear the failed get_media "
                f"tasks to fetch them. {merged!r} names all:{''.join(missing[:NAMED])}"
            )
        return {"manifest": merged, **counts}

    batches = make_batches()
    get_media = NxCloudGetMediaOperator.partial(
        task_id="get_media",
        destination="{{ params.destination }}",
        manifest="{{ params.destination }}/runs/{{ run_id }}/{{ '%05d' % ti.map_index }}.manifest.jsonl",
        # The pool bounds what NXCloud gets from all DAGs, max_active_tis_per_dag what this one may take of it.
        pool=POOL,
        max_active_tis_per_dag=64,
        # The manifests have the records; in XCom they would be a third of a megabyte for 1,000 media.
        do_xcom_push=False,
    ).expand(media_ids=batches.map(read_lines))
    get_media >> merge_manifests(batches)
# [END example_nxcloud_scale_out]
