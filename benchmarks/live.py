"""Listening live: CPU, memory, and seconds to the first score, for 1, 4 and 8 machines on one microphone.

    python benchmarks/live.py BUNDLE [--machines 1 4 8] [--seconds 60] [--rate 48000]

A PulseAudio of its own plays a hum into a null sink with a channel for each machine; `run SITE.yaml` listens to its
monitor through ALSA and PortAudio, as it would to a sound card. Of the listening process and of the one that captures:
seconds of CPU for a second of sound (real-time factor, after the first window), resident and proportional memory at the
end. Needs the Debian packages libportaudio2 libasound2-plugins pulseaudio pulseaudio-utils.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

import numpy as np
import soundfile

from calib.golden import golden_clip
from edge_runtime.bundle import Bundle, open_bundle
from edge_runtime.cli import parser, run_command, say
from edge_runtime.errors import ConfigError
from tests.edge_runtime import sound_server

TICKS = os.sysconf("SC_CLK_TCK")  # a second
MACHINE = """
  machine {number}:
    {{bundle: {bundle}, machine: {machine}, microphone: mic, channel: {number}, quality: {{compare: false}}}}"""


class Live(NamedTuple):
    """One run."""

    first_s: float  # process start to first score
    listener: float  # CPU seconds for each second of sound
    capture: float
    resident_mib: float  # of the listener
    pss_mib: float  # of both, shared pages divided among their users
    windows: int
    unscored: int
    lost: int  # windows


def measure(bundle: Bundle, machine: str, machines: int, seconds: float, rate: int) -> Live:
    """So many machines, each on a channel of its own."""
    server = sound_server.opened(rate=rate, channels=machines)
    try:
        file = server.folder / "hum.wav"
        sound = golden_clip(round((seconds + 30) * rate), rate)
        soundfile.write(file, np.repeat(sound[:, np.newaxis], machines, axis=1), rate, subtype="PCM_16")
        player = server.play(file)
        try:
            return listen(server, site(server.folder, bundle, machine, machines), seconds)
        finally:
            player.kill()
            player.wait()
    finally:
        sound_server.closed(server)


def site(folder: Path, bundle: Bundle, machine: str, machines: int) -> Path:
    """The site file."""
    file = folder / "site.yaml"
    lines = [MACHINE.format(number=n, bundle=bundle.folder.resolve(), machine=machine) for n in range(machines)]
    words = ["state: state", "microphones: {mic: {device: pulsemic}}", "machines:", *lines]
    file.write_text("\n".join(words) + "\n")
    return file


def listen(server: sound_server.SoundServer, file: Path, seconds: float) -> Live:
    """One process, looked at from outside."""
    told = file.with_name("events.jsonl")
    command = [sys.executable, "-m", "edge_runtime", "run", str(file), "--events", str(told)]
    began = time.monotonic()
    process = server.start(command, stderr=subprocess.DEVNULL)
    try:
        while not any(event["event"] == "window" for event in events(told)):
            if process.poll() is not None or time.monotonic() - began > 60:
                raise ConfigError("the listener does not listen; run it by hand on a bundle of yours")
            time.sleep(0.005)
        first_s = time.monotonic() - began
        (child,) = (int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
        before, start = (cpu_s(process.pid), cpu_s(child)), time.monotonic()
        time.sleep(seconds)
        passed = time.monotonic() - start
        spent = [now - then for now, then in zip((cpu_s(process.pid), cpu_s(child)), before, strict=True)]
        resident, pss = memory_mib(process.pid, "Rss"), memory_mib(process.pid, "Pss") + memory_mib(child, "Pss")
    finally:
        process.terminate()
        process.wait()
    ends = [event for event in events(told) if event["event"] == "end"]
    counts = [sum(end[name] for end in ends) for name in ("windows", "unfit", "lost")]
    return Live(first_s, spent[0] / passed, spent[1] / passed, resident, pss, *counts)


def events(file: Path) -> list[dict[str, Any]]:
    """Whole lines of the events."""
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far: user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mib(pid: int, of: str) -> float:
    """Of a process, now."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(f"{of}:")) / 1024


def main(argv: Sequence[str] | None = None) -> int:
    """The benchmark."""
    arguments = parser(__doc__)
    arguments.add_argument("bundle", type=Path)
    arguments.add_argument("--machine", help="of the bundle (its first)")
    arguments.add_argument("--machines", type=int, nargs="+", default=[1, 4, 8], help="how many at once (1 4 8)")
    arguments.add_argument("--seconds", type=float, default=60.0, help="after the first window (60)")
    arguments.add_argument("--rate", type=int, default=48_000, help="of the sound card, Hz (48000)")
    options = arguments.parse_args(argv)
    if missing := sound_server.missing_packages():
        raise ConfigError(f"apt install {' '.join(missing)}")
    bundle = open_bundle(options.bundle)
    model = bundle.model
    window_s, hop_s = model.window / model.sample_rate, model.hop / model.sample_rate
    say(f"{model.system}, a window of {window_s:.3f} s every {hop_s:.3f} s")
    print("machines  first score  CPU listener  CPU capture  resident     PSS  windows  unscored  lost")
    for machines in options.machines:
        run = measure(bundle, options.machine or bundle.machines[0], machines, options.seconds, options.rate)
        cost = f"{run.listener:12.4f}  {run.capture:11.4f}  {run.resident_mib:4.1f} MiB  {run.pss_mib:6.1f}"
        windows = f"{run.windows:7d}  {run.unscored:8d}  {run.lost:4d}"
        print(f"{machines:8d}  {run.first_s:9.2f} s  {cost}  {windows}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
