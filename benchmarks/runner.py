"""Run scenarios: servers up, contenders in turns, everything down again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from contextlib import ExitStack
from hashlib import sha256
from itertools import count
from pathlib import Path

import psutil
from job import Job
from measure import ContenderError, Measurement, measure
from scenarios import MOST_IDS, SCENARIOS, TITLES, Scenario
from server import content_of
from servers import BUCKET, free_port, nxcloud, s3

#: The program that a contender runs.
PROGRAMS = {"curl_parallel": "curl", "s5cmd_cp": "s5cmd"}
#: Those that write to S3 in every scenario.
ALWAYS_TO_S3 = ("http_to_s3",)
#: Those that copy files from disk.
COPIES = ("aws_s3_cp", "s5cmd_cp")

Results = dict[str, list[Measurement]]


class Runner:
    """
    Runs scenarios.

    :param folder: for everything that is written; empty.
    :param port: of the server, 0 for a free one.
    :param rounds: of each scenario.
    :param scale: times the number of media.
    """

    def __init__(self, folder: Path, port: int, rounds: int, scale: float) -> None:
        self._folder = folder
        self._port = port
        self._rounds = rounds
        self._scale = scale
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(Path(__file__).parent),
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).with_name("dags")),
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "NO_PROXY": "127.0.0.1",
        }
        self._numbers = count()
        self._has_database = False
        #: What could not be measured, and why.
        self.notes: list[str] = []

    def run(self, key: str) -> Results:
        """
        Measure one scenario.

        :param key: its name.
        :return: the measurements of each contender that could be measured.
        """
        scenario = SCENARIOS[key]
        results: Results = defaultdict(list)
        contenders = [name for name in scenario.contenders if self._is_ready(name)]
        with ExitStack() as servers:
            port = free_port(self._port)
            if self._port not in (0, port):
                self._note(f"port {self._port} is in use; the server took a free one")
            base_url, process = servers.enter_context(nxcloud(scenario, port))
            needs_s3 = scenario.to_s3 or any(name in ALWAYS_TO_S3 for name in contenders)
            endpoint = servers.enter_context(s3(self._folder)) if needs_s3 else ""
            for number in range(min(self._rounds, scenario.most_rounds)):
                # Whoever is first in one round is last in the next.
                for name in contenders[:: -1 if number % 2 else 1]:
                    try:
                        to_s3 = scenario.to_s3 or name in ALWAYS_TO_S3
                        job = self._job(scenario, name, base_url, endpoint if to_s3 else "")
                        measurement = self._measure(name, job, process)
                        results[name].append(measurement)
                    except ContenderError as error:
                        contenders.remove(name)
                        self._note(f"{TITLES[name]} left out of {scenario.title!r}: {error}")
        return results

    def _job(self, scenario: Scenario, contender: str, base_url: str, endpoint: str) -> Job:
        most = MOST_IDS.get(contender, scenario.count)
        media = min(most, max(min(scenario.count, scenario.workers), int(scenario.count * self._scale)))
        out = f"out-{next(self._numbers)}"  # S3 may remember what was there before
        return Job(
            base_url=base_url,
            media_ids=[f"{scenario.size}-{number}" for number in range(media)],
            workers=scenario.workers,
            destination=f"s3://{BUCKET}/{out}" if endpoint else str(self._folder / out),
            sha256=sha256(content_of(scenario.size)).hexdigest(),
            s3_endpoint=endpoint,
            source=str(self._folder / "source"),
        )

    def _measure(self, contender: str, job: Job, process: psutil.Process) -> Measurement:
        """Measure with empty folders, and clean up."""
        out = self._folder / job.destination.removeprefix("s3://")
        folders = [out, Path(f"{out}-warm"), Path(job.source), Path(f"{job.source}-warm")]
        connection = {"conn_type": "aws", "extra": {"endpoint_url": job.s3_endpoint}}
        environment = {**self._environment, "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection)}
        try:
            for folder in folders:
                folder.mkdir(parents=True)
            if contender in COPIES:
                write_source(folders[2:], job)
            return measure(contender, job, folder=folders[0], server=process, environment=environment)
        finally:
            for folder in folders:
                shutil.rmtree(folder)

    def _is_ready(self, contender: str) -> bool:
        program = PROGRAMS.get(contender)
        if program and not shutil.which(program, path=self._environment["PATH"]):
            self._note(f"{TITLES[contender]} was not measured: there is no {program} here")
            return False
        if contender == "mapped_tasks" and not self._has_database:
            command = [str(Path(sys.executable).with_name("airflow")), "db", "migrate"]
            subprocess.run(command, env=self._environment, check=True, capture_output=True)
            self._has_database = True
        return True

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            print(text, file=sys.stderr)


def write_source(folders: list[Path], job: Job) -> None:
    """Write what is to be copied from disk, and one file for the warm-up."""
    content = content_of(int(job.media_ids[0].partition("-")[0]))
    for folder, media_ids in zip(folders, (job.media_ids, job.media_ids[:1]), strict=True):
        for media_id in media_ids:
            Path(folder, f"{media_id}.jpg").write_bytes(content)
