"""
Measure the operator beside the other ways to do its job, and print a report in Markdown.

Everything runs on this machine in one go, each contender in a process of its own against the same local server,
in turns, several rounds; reported are medians. Every file is compared afterwards.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path

from report import machine, report
from runner import Runner
from scenarios import SCENARIOS

_MARKERS = ("<!-- begin benchmark -->\n", "<!-- end benchmark -->")


def main() -> None:
    """Run and report."""
    # Stopped either way, it ends what it started and removes what it wrote.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = parse_options()
    where = machine()  # before the load is our own
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        runner = Runner(Path(folder), options.port, options.rounds, options.scale)
        results = {}
        for key in options.only:
            print(f"measuring {key} ...", file=sys.stderr)
            results[key] = runner.run(key)
    text = report(results, [f"{where}. Made by `{shlex.join(['python', *sys.argv])}`.", *runner.notes])
    print(text)
    if options.write:
        begin, end = _MARKERS
        before, rest = options.write.read_text("utf-8").split(begin)
        options.write.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}", "utf-8")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, keys = parser.add_argument, ", ".join(SCENARIOS)
    add("--only", nargs="+", default=["*"], metavar="NAME", help=f"scenarios, also as a pattern; of: {keys}")
    add("--rounds", type=int, default=5, help="of each scenario (default: %(default)s)")
    add("--scale", type=float, default=1.0, help="times the number of media (default: %(default)s)")
    add("--port", type=int, default=0, help="of the server (default: a free one)")
    add("--folder", type=Path, default=memory_folder(), help="where media go (default: %(default)s)")
    add("--write", type=Path, metavar="FILE", help="put the report between the markers in that file too")
    options = parser.parse_args()
    for pattern in options.only:
        if not any(fnmatchcase(key, pattern) for key in SCENARIOS):
            parser.error(f"--only: there is no scenario {pattern!r}; there are {keys}")
    options.only = [key for key in SCENARIOS if any(fnmatchcase(key, pattern) for pattern in options.only)]
    if not 1 <= options.rounds <= 99:
        parser.error(f"--rounds must be from 1 to 99, not {options.rounds}")
    if not 0.01 <= options.scale <= 100:
        parser.error(f"--scale must be from 0.01 to 100, not {options.scale:g}")
    if not 0 <= options.port <= 65_535:
        parser.error(f"--port must be from 0 to 65535, not {options.port}")
    if not options.folder.is_dir():
        parser.error(f"--folder: there is no folder {options.folder}")
    if options.write and (not options.write.is_file() or not has_markers(options.write)):
        parser.error(f"--write: {options.write} is no file with the lines {' and '.join(_MARKERS)}")
    return options


def memory_folder() -> Path:
    """Return a folder in memory where there is one: a disk's own pace would blur the differences."""
    shm = Path("/dev/shm")
    return shm if os.access(shm, os.W_OK) else Path(tempfile.gettempdir())


def has_markers(path: Path) -> bool:
    """Return whether a report can be put into that file."""
    return all(path.read_text("utf-8").count(marker) == 1 for marker in _MARKERS)


if __name__ == "__main__":
    main()
