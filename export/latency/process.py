"""The listening process from outside: time to the first score, real-time factor, CPU seconds, peak resident memory."""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import msgspec
import soundfile

from calib.golden import golden_clip
from edge_runtime.bundle import Bundle
from edge_runtime.errors import BackendError
from export.budgets import Mel
from export.latency.content import Process, Spread

ROOT = Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")  # a second
HOPS = 60  # of sound after the first window
RUNS = 5


class Run(NamedTuple):
    """What one process took."""

    first_ms: float
    real_time_factor: float
    cpu_s_per_s: float
    memory_mib: float


def measure(bundle: Bundle, machine: str, backend: str, runs: int = RUNS) -> Process:
    """Fresh processes on a WAV file of simulated sound; one more before them warms the disk's cache."""
    model = bundle.model
    sound = golden_clip(model.window + HOPS * model.hop, model.sample_rate)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sound.wav"
        soundfile.write(file, sound, model.sample_rate, subtype="PCM_16")
        words = [
            "run",
            str(bundle.folder.resolve()),
            "--machine",
            machine,
            "--file",
            str(file),
            "--fast",
            "--no-compare",
        ]
        words += [] if backend == "onnxruntime" else ["--backend", backend]
        found = [listen(words) for _ in range(runs + 1)][1:]
    spreads = {name: _spread([getattr(run, name) for run in found]) for name in Run._fields}
    return Process(sound_s=len(sound) / model.sample_rate, runs=runs, **spreads)


def listen(words: Sequence[str]) -> Run:
    """One process, its events read as they come."""
    command = [sys.executable, "-m", "edge_runtime", *words]
    search = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    began = time.perf_counter()
    first = first_end = last_end = cpu = memory = 0.0
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": search}
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            event = msgspec.json.decode(line)
            if event["event"] == "window":
                last_end, memory = event["end_s"], _peak_mib(process.pid) or memory
                if not first:
                    first, first_end, cpu = time.perf_counter() - began, last_end, _cpu_s(process.pid)
        said = process.stderr.read().decode(errors="replace").strip()
        ended = time.perf_counter() - began
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or last_end <= first_end:
        raise BackendError(f"the listening process ended with exit code {process.returncode}: {said or 'no word'}")
    sound = last_end - first_end
    spent = usage.ru_utime + usage.ru_stime - cpu
    return Run(1e3 * first, (ended - first) / sound, spent / sound, memory)


def log_mel() -> Mel | None:
    """The project's own benchmark against librosa, in its own process; None: librosa or the benchmark is missing."""
    file = ROOT / "benchmarks" / "log_mel.py"
    if find_spec("librosa") is None or not file.exists():
        return None
    done = subprocess.run([sys.executable, str(file), "--json"], capture_output=True)
    return None if done.returncode else msgspec.json.decode(done.stdout, type=Mel)


def _cpu_s(pid: int) -> float:
    """CPU seconds of a process so far: user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _peak_mib(pid: int) -> float | None:
    """Of the process itself: what wait4 tells of a child holds what its parent had before it became another program."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else None  # None: it has just ended


def _spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))
