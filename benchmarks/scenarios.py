"""What is measured: how much of what, how many at once, over which network, by whom."""

from __future__ import annotations

from dataclasses import dataclass

#: What each contender is called in the tables.
TITLES = {
    "operator_all_checks": "this package's operator",
    "operator_overwrite": 'this package\'s operator, `if_exists="overwrite"`',
    "curl_parallel": "`curl -Z`",
    "aiohttp_script": "aiohttp script",
    "requests_pool": "`requests.Session` in a thread pool",
    "requests_loop": "`requests` one by one",
    "http_to_s3": "`HttpToS3Operator` per file, without Airflow's part",
    "mapped_tasks": "one mapped task per ID, `dag.test()`",
    "boto3_pool": "`requests` and boto3's `put_object` in a thread pool",
    "rclone_copyurl": "`rclone copyurl`",
    "aws_s3_cp": "`aws s3 cp --recursive` from disk",
    "s5cmd_cp": "`s5cmd cp` from disk",
}
OURS = "operator_all_checks"
#: Looks for no older object first, as copying programs do not either.
OVERWRITE = "operator_overwrite"
PARALLEL = (OURS, "curl_parallel", "aiohttp_script", "requests_pool")
TO_S3 = ("boto3_pool", "rclone_copyurl", "aws_s3_cp", "s5cmd_cp")
#: The most IDs that contenders get which work one after the other: their rate does not depend on it.
MOST_IDS = {"requests_loop": 20, "http_to_s3": 20, "mapped_tasks": 10}


@dataclass(frozen=True)
class Scenario:
    """
    One row of conditions.

    :param title: what it is called in the report.
    :param contenders: who takes part.
    :param count: how many media.
    :param size: bytes of each.
    :param workers: how many at once.
    :param latency_ms: what the server waits before each answer, in milliseconds.
    :param link_mbit: the speed of the network in Mbit/s, 0 for as fast as the machine can.
    :param to_s3: whether everybody writes to S3.
    :param most_rounds: more rounds than this would take long and tell nothing.
    """

    title: str
    contenders: tuple[str, ...]
    count: int
    size: int = 65_536
    workers: int = 32
    latency_ms: int = 0
    link_mbit: int = 0
    to_s3: bool = False
    most_rounds: int = 99


SCENARIOS = {
    "latency-32": Scenario(
        "50 ms + 50 ms latency, 64 KB media, 32 workers",
        (*PARALLEL, "requests_loop", "http_to_s3", "mapped_tasks"),
        count=960,
        latency_ms=50,
    ),
    "latency-128": Scenario(
        "50 ms + 50 ms latency, 64 KB media, 128 workers", PARALLEL, count=2560, workers=128, latency_ms=50
    ),
    "cpu": Scenario("no latency, 64 KB media, 8 workers", PARALLEL, count=2000, workers=8),
    "large": Scenario(
        "4 files of 100 MB at once, loopback as fast as it goes",
        PARALLEL,
        count=4,
        size=100_000_000,
        workers=4,
    ),
    "large-link": Scenario(
        "4 files of 100 MB at once over 1 Gbit/s",
        (OURS, "curl_parallel"),
        count=4,
        size=100_000_000,
        workers=4,
        link_mbit=1000,
    ),
    "s3": Scenario(
        "500 media of 64 KB to S3 (rclone), 16 workers",
        (OURS, OVERWRITE, *TO_S3, "http_to_s3"),
        count=500,
        workers=16,
        to_s3=True,
    ),
    "s3-large": Scenario(
        "16 media of 16 MB to S3 (rclone), 16 workers",
        (OURS, OVERWRITE, *TO_S3),
        count=16,
        size=16_000_000,
        workers=16,
        to_s3=True,
    ),
    "ids-500": Scenario("500 IDs, 1 KB media, 16 workers", (OURS,), count=500, size=1000, workers=16),
    "ids-5000": Scenario("5,000 IDs, 1 KB media, 16 workers", (OURS,), count=5000, size=1000, workers=16),
    "ids-50000": Scenario(
        "50,000 IDs, 1 KB media, 16 workers", (OURS,), count=50_000, size=1000, workers=16, most_rounds=1
    ),
    **{
        f"workers-{workers}": Scenario(
            f"{workers} workers", (OURS,), count=20 * workers, workers=workers, latency_ms=50, most_rounds=3
        )
        for workers in (1, 2, 4, 8, 16, 32, 64, 128)
    },
    **{
        f"delay-{delay}": Scenario(f"{delay} ms", (OURS,), count=640, latency_ms=delay, most_rounds=3)
        for delay in (0, 5, 10, 20, 50, 100, 200)
    },
}
