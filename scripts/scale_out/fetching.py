"""One run of the example DAG: started, watched, and held against what the sandbox served."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from airflow_provider_nxcloud.sandbox import NxCloudSandbox
from processes import cpu_seconds
from scale_out.cluster import Cluster
from scale_out.servers import BUCKET

DAG_ID = "example_nxcloud_scale_out"
_PHOTO = "1000000001"
_TABLES = (
    "task_instance",
    "task_instance_history",
    "rendered_task_instance_fields",
    "xcom",
    "log",
    "job",
    "celery_taskmeta",
)


def add_media(sandbox: NxCloudSandbox, number: int) -> list[str]:
    """Let the sandbox serve that many photos more, no two of them alike, and return their IDs."""
    photo = sandbox.media[_PHOTO]
    # What follows the end of a JPEG is no part of the picture.
    ids = [str(2_000_000_000 + n) for n in range(number)]
    for media_id in ids:
        sandbox.add_media(photo.content + media_id.encode(), photo.mime_type, media_id=media_id)
    return ids


class Fetch:
    """
    A run of the example DAG.

    :param cluster: where it runs.
    :param sandbox: what it fetches from.
    :param run_id: its run ID, also the folder in the bucket that it fetches into.
    :param media_ids: what it fetches.
    :param batches: in how many batches.
    """

    def __init__(
        self, cluster: Cluster, sandbox: NxCloudSandbox, run_id: str, media_ids: Sequence[str], batches: int
    ) -> None:
        self.cluster = cluster
        self.sandbox = sandbox
        self.run_id = run_id
        self.media_ids = media_ids
        self.batches = batches
        self.folder: Path = cluster.servers.bucket / run_id

    def start(self) -> None:
        """Put the list into the bucket and trigger the DAG."""
        self.sandbox.requests.clear()
        self._rows = self._count_rows()
        self._cpu = self._cpu_seconds()
        lines = "".join(f"{media_id}\n" for media_id in self.media_ids)
        self.cluster.servers.put(f"{self.run_id}/ids.txt", lines.encode())
        destination = f"s3://scale_out@{BUCKET}/{self.run_id}"
        conf = {
            "ids": f"{destination}/ids.txt",
            "destination": destination,
            "batch_size": -(-len(self.media_ids) // self.batches),
        }
        self._started = time.monotonic()
        self.cluster.trigger(DAG_ID, self.run_id, conf)

    def stored(self) -> set[str]:
        """Return the IDs of the media that are whole in the bucket now."""
        return {path.stem for path in self.folder.glob("*.jpg") if self._is_right(path)}

    def wait_until_stored(self, share: float) -> None:
        """Wait until about that share of all is in the bucket."""
        enough = share * len(self.media_ids)
        self.cluster.processes.wait_until(
            lambda: len(list(self.folder.glob("*.jpg"))) >= enough, f"{share:.0%} are stored"
        )

    def finish(self) -> float:
        """Wait for the end, check everything, report; return media a second."""
        state = self.cluster.wait_for_end(self.run_id)
        elapsed = time.monotonic() - self._started
        problems = self.problems()
        if state != "success" or problems:
            raise SystemExit("\n".join([f"The run {self.run_id} ended in {state}.", *problems]))
        seconds = self._fetching_seconds()
        rate = len(self.media_ids) / seconds
        print(
            f"  {len(self.media_ids)} media stored, each equal to what was served, each once in the manifest"
        )
        print(f"  {rate:.1f} media/s: {seconds:.1f} s from the first batch's start to the last one's end")
        print(f"  {elapsed:.1f} s from the trigger to the end of the run")
        attempts = self.cluster.attempts(self.run_id, "get_media")
        print("  tries of batches:", ", ".join(f"{number} on {name}" for name, number in attempts.items()))
        self._report_cost()
        return rate

    def problems(self) -> list[str]:
        """Say what is not as it must be: objects, their bytes, the manifest."""
        found = {path.stem for path in self.folder.glob("*.*") if path.name != "ids.txt"}
        wrong = set(self.media_ids) - self.stored()
        lines = (self.folder / "runs" / self.run_id / "manifest.jsonl").read_text("utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        in_order = [record["media_id"] for record in records] == list(self.media_ids)
        checks = {
            f"not stored or not equal to what was served: {sorted(wrong)[:5]} ({len(wrong)})": not wrong,
            "there are objects that nobody asked for": found <= set(self.media_ids),
            f"the manifest has {len(records)} records, not one of each media file in order": in_order,
            "the manifest has wrong records": all(map(self._is_right_record, records)),
        }
        return [text for text, holds in checks.items() if not holds]

    def statuses(self) -> Counter[str]:
        """Count the records of the manifest by status."""
        lines = (self.folder / "runs" / self.run_id / "manifest.jsonl").read_text("utf-8").splitlines()
        return Counter(json.loads(line)["status"] for line in lines)

    def _is_right(self, path: Path) -> bool:
        return path.read_bytes() == self.sandbox.media[path.stem].content

    def _is_right_record(self, record: dict) -> bool:
        media = self.sandbox.media[record["media_id"]]
        expected = {
            "size": len(media.content),
            "uri": f"s3://scale_out@{BUCKET}/{self.run_id}/{media.media_id}.jpg",
            "sha256": {"stored": media.sha256, "skipped": None}.get(record["status"], "none"),
        }
        return all(record[name] == value for name, value in expected.items())

    def _fetching_seconds(self) -> float:
        sql = (
            "select extract(epoch from max(end_date) - min(start_date)) from ("
            "select start_date, end_date, run_id, task_id from task_instance union all "
            "select start_date, end_date, run_id, task_id from task_instance_history) as tries "
            "where run_id = %s and task_id = 'get_media'"
        )
        return float(self.cluster.query(sql, self.run_id)[0][0])

    def _count_rows(self) -> Counter[str]:
        rows = Counter({name: self.cluster.query(f"select count(*) from {name}")[0][0] for name in _TABLES})
        rows["bytes in xcom"] = self.cluster.query("select coalesce(sum(length(value::text)), 0) from xcom")[
            0
        ][0]
        rows["bytes of the database"] = self.cluster.query("select pg_database_size('airflow')")[0][0]
        return rows

    def _cpu_seconds(self) -> Counter[str]:
        return Counter({name: cpu_seconds(each) for name, each in self.cluster.processes.running.items()})

    def _report_cost(self) -> None:
        spent = self._cpu_seconds()
        spent.subtract(self._cpu)
        # What was killed in between took its account with it.
        print("  CPU seconds:", ", ".join(f"{name} {used:.1f}" for name, used in spent.items() if used > 0))
        rows = self._count_rows()
        rows.subtract(self._rows)
        print("  database:", ", ".join(f"{name} +{number}" for name, number in rows.items()), flush=True)
