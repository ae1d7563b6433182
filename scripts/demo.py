"""Run an example DAG with a real Airflow against the sandbox, and list the files it stored."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from airflow_provider_nxcloud.sandbox import NxCloudSandbox

ROOT = Path(__file__).resolve().parent.parent
DEMO = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".demo").resolve()
MEDIA = DEMO / "media"
LOG = DEMO / "airflow.log"
DAG_ID = "example_nxcloud_media_ids"


def main() -> None:
    """Prepare, run, list."""
    # Both ways to stop it end in the same clean-up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    shutil.rmtree(MEDIA, ignore_errors=True)
    DEMO.mkdir(exist_ok=True)
    LOG.unlink(missing_ok=True)
    with NxCloudSandbox() as sandbox:
        environment = airflow_environment(sandbox)
        print(f"The sandbox answers at {sandbox.base_url} with {len(sandbox.media)} media.")
        print(f"Preparing an Airflow home in {DEMO / 'airflow'} ...", flush=True)
        airflow(["db", "migrate"], environment)
        # Airflow 3.0 runs no DAG whose assets it has not seen yet.
        airflow(["dags", "reserialize"], environment)
        print(f"Running: airflow dags test {DAG_ID}", flush=True)
        airflow(["dags", "test", DAG_ID], environment)
        records = [json.loads(line) for line in (MEDIA / "manifest.jsonl").read_text("utf-8").splitlines()]
        print_table(records)
        wrong = [r["media_id"] for r in records if r["sha256"] != sandbox.media[r["media_id"]].sha256]
    if wrong or len(records) != len(sandbox.media):
        raise SystemExit(f"These media are not what the sandbox served: {wrong or 'some are missing'}")
    print(f"{len(records)} files in {MEDIA}, each equal to what the sandbox served. Airflow's log: {LOG}")


def airflow_environment(sandbox: NxCloudSandbox) -> dict[str, str]:
    """Return an environment in which Airflow keeps everything inside the checkout."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    return {
        **inherited,
        "AIRFLOW_HOME": str(DEMO / "airflow"),
        # `make airflow` finds the DAGs that this one has created, and has to run them.
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "example_dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_NXCLOUD_DEFAULT": sandbox.connection_json,
        "NXCLOUD_DESTINATION": str(MEDIA),
        "NO_PROXY": "127.0.0.1",
    }


def airflow(arguments: list[str], environment: dict[str, str]) -> None:
    """Run an airflow command to its end, or end it with all it started when this script is interrupted."""
    command = [str(Path(sys.executable).with_name("airflow")), *arguments]
    with LOG.open("ab") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, cwd=DEMO, start_new_session=True
        )
        try:
            code = process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if code:
        tail = "\n".join(LOG.read_text("utf-8", errors="replace").splitlines()[-40:])
        raise SystemExit(f"{tail}\n\nairflow {' '.join(arguments)} failed; the whole log is {LOG}")


def print_table(records: list[dict]) -> None:
    """Print one line a file."""
    rows = [("name", "type", "bytes", "sha256")]
    for record in records:
        name = Path(record["uri"]).name if record["uri"] else record["media_id"]
        rows.append((name, record["mime_type"], str(record["size"]), (record["sha256"] or record["status"])))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    print()
    for name, kind, size, sha256 in rows:
        print(f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {size:>{widths[2]}}  {sha256}")
    print()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("\nInterrupted; everything it started has ended.") from None
