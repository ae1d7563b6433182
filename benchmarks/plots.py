"""Draw what stands in the tables of the documentation, so that a picture shows the run that the page tells of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

DOCS = Path(__file__).resolve().parents[1] / "docs"
#: What is drawn beside the operator, and how each is marked.
MARKS = {
    "`curl -Z`": "^",
    "aiohttp script": "s",
    "`requests.Session` in a thread pool": "D",
    "`requests` one by one": "v",
}
STYLE = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.figsize": (7.2, 3.6),
    "font.size": 11,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    # The same data give the same file.
    "svg.fonttype": "none",
    "svg.hashsalt": "nxcloud",
}


def draw_performance(page: str) -> None:
    """Draw the rate by workers, with the contenders where they were measured, and by latency."""
    workers = list(_scaling(page, "workers"))
    plt.plot(*zip(*workers, strict=True), "o-", label="the operator")
    _draw_model([number for number, _ in workers], [number / 0.1 for number, _ in workers])
    measured = re.findall(
        r"### 50 ms \+ 50 ms latency, 64 KB media, (\d+) workers\n\n(.*?)(?=\n\n)", page, re.DOTALL
    )
    for contender, mark in MARKS.items():
        points = [
            (int(number), rate)
            for number, table in measured
            for name, rate in _rates(table)
            if name == contender
        ]
        plt.plot(*zip(*points, strict=True), mark, label=contender.replace("`", ""))
    plt.xscale("log", base=2)
    plt.xticks([number for number, _ in workers], [str(number) for number, _ in workers])
    _save("rate-by-workers", "workers (50 ms for each of two answers)")

    latencies = [point for point in _scaling(page, "latency of each answer") if point[0]]
    plt.plot(*zip(*latencies, strict=True), "o-", label="the operator")
    _draw_model([number for number, _ in latencies], [32 / (2 * number / 1000) for number, _ in latencies])
    plt.xscale("log")
    plt.xticks([number for number, _ in latencies], [str(number) for number, _ in latencies])
    plt.minorticks_off()
    _save("rate-by-latency", "latency of each answer in ms (32 workers)")


def draw_scaling(page: str) -> None:
    """Draw the rate, and the CPU that a media file costs the workers, with one worker and with two."""
    run = re.search(r"```text\n(.*?)```", page, re.DOTALL)[1]
    media = int(re.search(r"(\d+) media in", run)[1])
    rates = [float(rate) for rate in re.findall(r"([\d.]+) media/s", run)]
    cpu = [
        sum(float(seconds) for seconds in re.findall(r" w\d ([\d.]+)", line)) / media * 1000
        for line in re.findall(r"CPU seconds: .*", run)
    ]
    _, sides = plt.subplots(1, 2)
    for side, values, label in zip(
        sides, (rates, cpu), ("media files per second", "CPU ms a media file"), strict=True
    ):
        side.bar_label(side.bar(["one worker", "two workers"], values, width=0.5), fmt="%.0f")
        side.set_ylabel(label)
    _save("scale-out", "", "")


def _scaling(page: str, by: str) -> Iterator[tuple[int, float]]:
    """Yield number and rate of each row of a table."""
    table = re.search(rf"### Media/s by {by}\n\n(.*?)(?=\n\n|\n<!--)", page, re.DOTALL)[1]
    for number, rate in re.findall(r"^\|[^|]*\| (\d+)[^|]*\| ([\d,]+) \|", table, re.MULTILINE):
        yield int(number), float(rate.replace(",", ""))


def _rates(table: str) -> Iterator[tuple[str, float]]:
    """Yield contender and rate of each row of a table."""
    for line in table.splitlines()[2:]:
        cells = [cell.strip() for cell in line.split("|")]
        yield cells[3], float(cells[4].replace(",", ""))


def _draw_model(numbers: list[int], rates: list[float]) -> None:
    plt.plot(numbers, rates, ":", color="gray", label="workers / (2 x latency)")


def _save(name: str, xlabel: str, ylabel: str = "media files per second") -> None:
    if ylabel:
        plt.xlabel(xlabel)
        plt.ylabel(ylabel)
        plt.yscale("log")
        plt.gca().yaxis.set_major_formatter(mpl.ticker.ScalarFormatter())
        plt.legend()
    plt.tight_layout()
    plt.savefig(DOCS / "images" / f"{name}.svg", metadata={"Date": None})
    plt.close()


if __name__ == "__main__":
    mpl.use("svg")
    mpl.rcParams.update(STYLE)
    draw_performance((DOCS / "performance.md").read_text("utf-8"))
    draw_scaling((DOCS / "scaling.md").read_text("utf-8"))
