"""The listening process from outside: time to the first score, real-time factor, peak resident memory.

    python benchmarks/listen.py BUNDLE FILE.wav [--machine NAME] [--runs 5]

Each run is a new process on one file, as fast as it can, one thread. First score: from the start of the process,
imports included, to the line of the first window. Real-time factor: seconds taken from the first window to the end for
each second of sound after it. Medians; the least and greatest beside them tell how quiet the machine was.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple


class Run(NamedTuple):
    """What one process took."""

    first_ms: float
    factor: float
    memory_mib: float
    windows: int


def listen(command: list[str]) -> Run:
    """Run it once, reading its events as they come."""
    began = time.perf_counter()
    first = first_end = last_end = 0.0
    windows = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "window":
                windows, last_end = windows + 1, event["end_s"]
                if windows == 1:
                    first, first_end = time.perf_counter() - began, event["end_s"]
        ended = time.perf_counter() - began
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or windows < 2:
        raise SystemExit(f"exit code {process.returncode}, {windows} windows: give a file of two windows or more")
    return Run(1e3 * first, (ended - first) / (last_end - first_end), usage.ru_maxrss / 1024, windows)


def main() -> None:
    """Print the three figures."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("bundle", type=Path)
    arguments.add_argument("file", type=Path)
    arguments.add_argument("--machine", help="which machine of the bundle (the only one)")
    arguments.add_argument("--runs", type=int, default=5)
    options = arguments.parse_args()
    command = [sys.executable, "-m", "edge_runtime", "run", str(options.bundle), "--file", str(options.file), "--fast"]
    command += ["--machine", options.machine] if options.machine else []
    runs = [listen(command) for _ in range(options.runs + 1)][1:]  # the first warms the disk's cache
    for name, unit, form in (("first_ms", "ms", ".0f"), ("factor", "", ".4f"), ("memory_mib", "MiB", ".1f")):
        values = [getattr(run, name) for run in runs]
        low, middle, high = min(values), statistics.median(values), max(values)
        words = {"first_ms": "process start to first score", "factor": "real-time factor", "memory_mib": "peak memory"}
        print(f"{words[name]:30s} {middle:{form}} {unit} ({low:{form}} to {high:{form}})")
    print(f"{runs[0].windows} windows, {len(runs)} runs")


if __name__ == "__main__":
    main()
