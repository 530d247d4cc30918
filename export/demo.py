"""From recordings to an alarm, end to end: what `make demo` runs.

    python export/demo.py --out build/demo                 simulated machines, a stream with a fault at a known second
    python export/demo.py --out build/demo --data DATA     your recordings: normal test clips, then anomalies

Each step is a command of this project, printed as it would be typed. OUT keeps bundle/, report.html, result.json and
what led to them. Every clip of a stream of DATA is a recording of its own: no window crosses a join.
"""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run by path: the repository root, not this folder, comes first
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import msgspec
import soundfile

from calib.clips import Clip, check, index, select, training
from edge_runtime import config, features
from edge_runtime.bundle import open_bundle
from edge_runtime.cli import new_path, parser, run_command, say
from edge_runtime.errors import AuscultError, DataError
from edge_runtime.features import LogMel
from export import compare
from export.demo_report import Heard, Result, table, write_page

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("fan", "pump", "gearbox", "bearing")
ON_DELAY_S = 10.0  # seconds above the threshold before the alarm
STREAM_S, FAULT_AT_S = 300.0, 150.0  # seconds of each simulated stream, and when its fault begins
BATCH = 32  # clips: small, so that a few hundred clips give enough steps
SEEN = 3200  # clips that the demo's network is shown, however few there are of them


class Stream(msgspec.Struct, frozen=True):
    """What one machine's listening process hears."""

    machine: str
    files: list[Path]
    fault_at_s: float


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    arguments = parser(__doc__)
    arguments.add_argument("--out", required=True, help="folder to make; must not exist")
    arguments.add_argument("--data", type=Path, help="data set (default: simulate one)")
    options = arguments.parse_args(argv)
    clips = checked(options.data) if options.data else []
    out = new_path(options.out)
    out.mkdir(parents=True)
    began = time.monotonic()
    data = options.data or simulate(out)
    clips = clips or index(data)
    build(data, out, clips)
    streams = recorded_streams(clips) if options.data else simulated_streams(data, out)
    heard = [listen(stream, out) for stream in streams]
    result = Result(
        data=str(data),
        seconds=round(time.monotonic() - began, 1),
        accuracy=config.load_json(out / "accuracy.json", compare.Comparison),
        heard=heard,
    )
    config.save_json(out / "result.json", result)
    write_page(out, open_bundle(out / "bundle"), clips, result)
    print(table(result))
    print(f"\n{result.seconds:.0f} s; report: {out / 'report.html'}")
    return 0


def checked(data: Path) -> list[Clip]:
    """The clips of a data set that can be trained, calibrated and measured on."""
    clips = index(data)
    for split, label in (("train", "normal"), ("test", "normal"), ("test", "anomaly")):
        if not select(clips, split=split, label=label):
            raise DataError(f"{data}: no {label} {split} clips; `python calib/clips.py {data}` prints what there is")
    check(clips)
    return clips


def simulate(out: Path) -> Path:
    """A data set of four simulated machines."""
    counts = ("--source", 90, "--target", 10, "--test", 25)
    step("train/simulate.py", out / "data", "--machines", *KINDS, *counts)
    return out / "data"


def build(data: Path, out: Path, clips: list[Clip]) -> None:
    """Train, export, quantize, calibrate, compare, pack."""
    train = training(clips)
    settings = {
        "window_frames": window_frames(clips),
        "training.epochs": epochs(len(train)),
        "training.batch": BATCH,
    }
    changes = [word for setting in settings.items() for word in ("--set", "{}={}".format(*setting))]
    step("train/run.py", "train/configs/featex.yaml", *changes, "--data", data, "--out", out / "run")
    step("export/to_onnx.py", out / "run", "--data", data, "--out", out / "model")
    step("export/quantize.py", out / "model", "--data", data)
    step("calib/fit.py", out / "model", "--data", data)
    step("export/compare.py", out / "model", "--data", data, "--out", out / "accuracy.json")
    step("export/pack.py", out / "model", "--accuracy", out / "accuracy.json", "--out", out / "bundle")


def window_frames(clips: list[Clip]) -> int:
    """The default window, or the shortest clip where that is shorter."""
    shortest = min(soundfile.info(clip.path).frames for clip in clips)
    return min(features.WINDOW_FRAMES, features.frames_in(shortest, LogMel()))


def epochs(clips: int) -> int:
    """As many as show the network its clips; at least 5, at most 100."""
    return min(max(round(SEEN / clips), 5), 100)


def simulated_streams(data: Path, out: Path) -> list[Stream]:
    """One long recording of each machine, unseen in training, with a fault at a known second."""
    streams = []
    for kind in KINDS:
        file = out / "streams" / f"{kind}.wav"
        step(
            "train/simulate.py",
            *("--stream", file, "--like", data / "dev_data" / kind),
            *("--seconds", STREAM_S, "--fault-at", FAULT_AT_S, "--severity", 9),
        )
        streams.append(Stream(f"{kind}_section_00", [file], FAULT_AT_S))
    return streams


def recorded_streams(clips: list[Clip]) -> list[Stream]:
    """Each machine's normal test clips one after another, then its anomalies."""
    streams = []
    for machine in sorted({clip.machine for clip in clips if clip.split == "test"}):
        normal = [clip.path for clip in select(clips, machine=machine, split="test", label="normal")]
        anomalies = [clip.path for clip in select(clips, machine=machine, split="test", label="anomaly")]
        if normal and anomalies:
            seconds = sum(soundfile.info(path).duration for path in normal)
            streams.append(Stream(machine, normal + anomalies, seconds))
    return streams


def listen(stream: Stream, out: Path) -> Heard:
    """The listening process on one machine's stream, as fast as it can."""
    events = out / "events" / f"{stream.machine}.jsonl"
    events.parent.mkdir(exist_ok=True)
    step(
        *("-m", "edge_runtime", "run", out / "bundle", "--machine", stream.machine, "--events", events),
        *("--on-delay", ON_DELAY_S, "--file", *stream.files),
    )
    return Heard.from_events(stream.machine, [str(file) for file in stream.files], stream.fault_at_s, events)


def step(*words: object) -> None:
    """Run one of this project's commands; its results go to stderr, the demo's own alone to stdout."""
    typed = [str(word) for word in words]
    run = [str(ROOT / word) if word.endswith((".py", ".yaml")) else word for word in typed]
    shown = shlex.join(typed[:12]) + (f" … {len(typed) - 12} more" if len(typed) > 12 else "")
    say(f"\n$ python {shown}")
    began = time.monotonic()
    search = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run([sys.executable, *run], stdout=sys.stderr, env={**os.environ, "PYTHONPATH": search})
    if done.returncode:
        raise AuscultError(f"python {shown}: exit code {done.returncode}; its message stands above")
    say(f"  {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    raise SystemExit(run_command(main))
