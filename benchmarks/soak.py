"""
Fetch many media of mixed sizes through random faults and SIGKILLs, and count what was lost, doubled or corrupted.

The sandbox fails a share of all requests. The process that runs the operator is killed without warning at the
given points and started again, as Airflow would retry the task, until it succeeds. Then every file is compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SANDBOX = """
import json, sys
from collections import Counter
sys.path.insert(0, sys.argv[1])
from soak import content_of
from airflow_provider_nxcloud.sandbox import NxCloudSandbox
sandbox = NxCloudSandbox(fault_rate=float(sys.argv[3]), seed=1)
sandbox.media.clear()
for number in range(int(sys.argv[2])):
    sandbox.add_media(content_of(number), "image/jpeg", media_id=f"media{number}")
sandbox.start()
print(sandbox.connection_json, flush=True)
sys.stdin.readline()
calls = Counter(request.media_id for request in sandbox.calls())
downloads = Counter(request.media_id for request in sandbox.downloads())
print(json.dumps({"calls": calls.total(), "downloads": downloads.total(), "media": len(downloads)}))
"""
RUN = """
import json, sys
from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator
NxCloudGetMediaOperator(
    task_id="soak", media_ids=[f"media{n}" for n in range(int(sys.argv[2]))], destination=sys.argv[1],
    manifest=sys.argv[1] + ".jsonl",
).execute({})
"""


def content_of(number: int) -> bytes:
    """Return the content of one media file: mostly small, some of hundreds of KB, a few of MBs."""
    chance = random.Random(number)
    size = chance.choices([1_000, 20_000, 200_000, 2_000_000], weights=[50, 40, 9.5, 0.5])[0]
    return chance.randbytes(chance.randint(size // 2, size))


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--media", type=int, default=20_000, help="how many (default: %(default)s)")
    parser.add_argument(
        "--fault-rate", type=float, default=0.05, help="share of requests (default: %(default)s)"
    )
    parser.add_argument("--kills", type=int, default=3, help="SIGKILLs, evenly spread (default: %(default)s)")
    options = parser.parse_args()
    if options.media < 1 or not 0 <= options.fault_rate < 1 or options.kills < 0:
        parser.error("--media must be at least 1, --fault-rate from 0 to below 1, --kills at least 0")
    with tempfile.TemporaryDirectory() as folder:
        soak(options, Path(folder))


def soak(options: argparse.Namespace, folder: Path) -> None:
    """Start the sandbox, run until the operator succeeds, compare."""
    sandbox = subprocess.Popen(
        [
            sys.executable,
            "-c",
            SANDBOX,
            str(Path(__file__).parent),
            str(options.media),
            str(options.fault_rate),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        environment = {
            **os.environ,
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW_CONN_NXCLOUD_DEFAULT": sandbox.stdout.readline(),
        }
        started = time.monotonic()
        runs = run_until_done(options, folder / "out", environment)
        seconds = time.monotonic() - started
        stats = json.loads(sandbox.communicate("\n")[0])
    finally:
        sandbox.kill()
        sandbox.wait()
    found = {path.name: path for path in (folder / "out").rglob("*") if path.is_file()}
    expected = {f"media{number}.jpg": number for number in range(options.media)}
    corrupt = [
        name for name in expected.keys() & found.keys() if digest(found[name]) != digest(expected[name])
    ]
    print(f"{options.media} media in {runs} runs with {options.kills} SIGKILLs, {seconds:.0f} s")
    print(f"lost {len(expected.keys() - found.keys())}, corrupt {len(corrupt)}, ", end="")
    staged = [name for name, path in found.items() if ".nxcloud-staging-" in str(path)]
    foreign = len(found.keys() - expected.keys() - set(staged))
    folders = len(list((folder / "out").glob(".nxcloud-staging-*")))
    print(
        f"doubled or foreign {foreign}; staging folders left by kills {folders}, files in them {len(staged)}"
    )
    calls, downloads = stats["calls"] - options.media, stats["downloads"] - options.media
    print(
        f"{calls} API calls and {downloads} downloads more than media files: faults, and retries after kills"
    )


def run_until_done(options: argparse.Namespace, out: Path, environment: dict[str, str]) -> int:
    """Run the operator again and again, killing the first runs, and return how many runs it took."""
    for run in range(1, options.kills + 20):
        log = out.with_suffix(".log")
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", RUN, str(out), str(options.media)],
                env=environment,
                stdout=output,
                stderr=output,
            )
        if run <= options.kills:
            enough = options.media * run // (options.kills + 1)
            while process.poll() is None and (len(list(out.glob("media*"))) if out.exists() else 0) < enough:
                time.sleep(0.2)
            process.kill()
        if process.wait() == 0:
            return run
    raise SystemExit(f"the operator did not succeed in any run; the last said:\n{log.read_text()[-2000:]}")


def digest(what: Path | int) -> str:
    """Return the SHA-256 of a file, or of the content a media file should have."""
    return hashlib.sha256(what.read_bytes() if isinstance(what, Path) else content_of(what)).hexdigest()


if __name__ == "__main__":
    main()
