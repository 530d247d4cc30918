"""A day of listening at the greatest speed, everything going wrong in it: is a window unaccounted for, does it grow?

    OMP_NUM_THREADS=1 python benchmarks/soak.py [--hours 24] [--machines 4]

Sound is made as it is heard: a hum in noise on every channel of one microphone, judged by the detector without a
network in windows of 9.98 s every 0.99 s. In every hour, at moments drawn from a seed: lost blocks, a microphone
that is gone for minutes, digital silence, a stuck buffer, clipping, a gain of +12 dB, another machine's sound (alarms,
which a person acknowledges and resets through the journal), a network that raises once and one that raises for a
minute. A command that hangs is told of every alarm; journal and events go to files. Prints, hour by hour, windows
scored, unfit and lost, resident memory, files and threads; exit code 1 where those are not all that were due.
"""

import contextlib
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import soundfile

from calib import fit
from edge_runtime import features
from edge_runtime.alarm import Action, AlarmSettings, Kept, LevelSettings
from edge_runtime.backends import Arrays, Backend
from edge_runtime.bundle import Bundle, open_bundle
from edge_runtime.capture import Block, Change, MicrophoneSettings
from edge_runtime.cli import parser, run_command
from edge_runtime.features import Floats
from edge_runtime.journal import Request, Visitor
from edge_runtime.listening import events, opening
from edge_runtime.listening.post import Post
from edge_runtime.listening.service import Service
from edge_runtime.outputs.settings import CommandSettings
from edge_runtime.site_file import MachineSettings, Site

RATE, BLOCK = features.SAMPLE_RATE, features.SAMPLE_RATE // 2
LOOP_S = 60  # seconds of sound that are heard again and again
KINDS = ("lost", "gone", "silence", "stuck", "clipping", "gain", "fault", "once", "always")
LASTS = dict(zip(KINDS, (2, 240, 90, 30, 20, 60, 120, 1, 60), strict=True))  # seconds


class Injected(NamedTuple):
    """One thing that goes wrong."""

    kind: str
    begins: int  # second
    ends: int


def schedule(hours: int, seed: int) -> list[Injected]:
    """Each kind once an hour, one after another."""
    random = np.random.default_rng(seed)
    found = []
    for hour in range(hours):
        for place, kind in enumerate(random.permutation(KINDS)):
            begins = hour * 3600 + 60 + place * 390 + int(random.integers(0, 60))
            found.append(Injected(str(kind), begins, begins + LASTS[kind]))
    return found


class Day:
    """A microphone whose day is over as soon as it has been listened to."""

    name, ended, drift_ppm = "a day", False, None

    def __init__(self, channels: int, hours: int, seed: int) -> None:
        self.faults, self.second, self._end = schedule(hours, seed), 0.0, hours * 3600
        random = np.random.default_rng(seed)
        self._normal = np.stack([hum(random, 49.0 + channel) for channel in range(channels)], axis=1)
        self._other = np.stack([hum(random, 400.0) for _ in range(channels)], axis=1)
        self._random, self._stuck = random, np.zeros((0, channels), np.float32)

    def now(self) -> str:
        """What goes wrong at this second; "" for nothing."""
        return next((fault.kind for fault in self.faults if fault.begins <= self.second < fault.ends), "")

    def take(self) -> Iterator[Block]:
        """Half a second."""
        if self.second >= self._end:
            self.ended = True
            return
        new, kind = (self.name if not self.second else None), self.now()
        self.second += BLOCK / RATE
        if kind == "gone" or (kind == "lost" and self._random.random() < 0.5):
            yield Block(self._normal[:0], self.second, BLOCK)
        else:
            yield Block(self._sound(kind), self.second, new=new)

    def _sound(self, kind: str) -> Floats:
        at = round(self.second * RATE) % (LOOP_S * RATE)  # whole periods in a loop: no click where it begins again
        sound: Floats = (self._other if kind == "fault" else self._normal)[at : at + BLOCK]
        if kind == "stuck":
            self._stuck = self._stuck if len(self._stuck) else sound[:512].copy()
            return np.tile(self._stuck, (BLOCK // 512 + 1, 1))[:BLOCK]
        self._stuck = self._stuck[:0]
        gain = {"silence": 0.0, "clipping": 40.0, "gain": 4.0}.get(kind, 1.0)
        return np.clip(sound * np.float32(gain), -1.0, 1.0)

    def changes(self) -> Sequence[Change]:
        """It is told in blocks."""
        return ()

    def fileno(self) -> None:
        """Always ready."""

    def close(self) -> None:
        """Nothing is held."""


def hum(random: np.random.Generator, pitch: float) -> Floats:
    """[samples]: harmonics in noise."""
    seconds = np.arange(LOOP_S * RATE) / RATE
    sound = 0.05 * np.sin(2 * np.pi * pitch * seconds) + 0.02 * np.sin(6 * np.pi * pitch * seconds)
    return (sound + 0.01 * random.standard_normal(len(seconds))).astype(np.float32)


class Failing:
    """The detector without a network, which raises when the day says so."""

    def __init__(self, backend: Backend, day: Day) -> None:
        self._backend, self._day = backend, day

    def run(self, inputs: Arrays) -> Arrays:
        """Inputs by name -> outputs by name."""
        if self._day.now() in ("once", "always"):
            raise RuntimeError("injected")
        return self._backend.run(inputs)

    def close(self) -> None:
        """Close it."""
        self._backend.close()


class Injecting(opening.Networks):
    """Backends that fail with the day."""

    def __init__(self, day: Day) -> None:
        super().__init__("onnxruntime")
        self._day = day

    def opened(self, bundle: Bundle) -> Backend:
        """As it is opened anew after it has failed."""
        return Failing(super().opened(bundle), self._day)


def packed(folder: Path, machines: int) -> Bundle:
    """A bundle of the detector without a network, fitted to the hum of each channel."""
    random = np.random.default_rng(0)
    for channel in range(machines):
        place = folder / "data" / f"fan{channel}" / "normal"
        place.mkdir(parents=True)
        sound = hum(random, 49.0 + channel)
        for clip in range(5):
            part = sound[clip * 12 * RATE : (clip + 1) * 12 * RATE]
            soundfile.write(place / f"{clip:06d}.wav", part, RATE, subtype="FLOAT")
    with contextlib.redirect_stdout(sys.stderr):
        fit.main(["--no-network", "--data", str(folder / "data"), "--out", str(folder / "fan.bundle")])
    return open_bundle(folder / "fan.bundle")


def site(bundle: Bundle, folder: Path) -> Site:
    """Every machine of the bundle on a channel of one microphone, and a command that hangs."""
    alarm = AlarmSettings(
        warning=LevelSettings(on_delay_s=5.0), alarm=LevelSettings(k=3, of=5), latching=True, not_listening_s=45.0
    )
    machines = {
        name: MachineSettings(str(bundle.folder), "day", machine=name, channel=channel, alarm=alarm)
        for channel, name in enumerate(bundle.machines)
    }
    outputs = {"hangs": CommandSettings(command="sleep 1000", timeout_s=600.0)}
    return Site(machines, {"day": MicrophoneSettings()}, outputs, state=str(folder / "state"))


class Person(threading.Thread):
    """Acknowledges and resets whatever there is, from outside, as the commands do."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder, self.over, self.done = folder, threading.Event(), 0

    def run(self) -> None:
        """Every second of real time."""
        while not self.over.wait(1.0):
            for action in ("acknowledge", "reset"):
                self.done += self._act(action)

    def _act(self, action: Action) -> int:
        """At every alarm that takes it -> at how many."""
        visitor = Visitor(self.folder)
        try:
            asked = [
                Request(action, one.machine, one.kind, "somebody") for one in visitor.states() if wanted(action, one)
            ]
            answers = [visitor.ask(request, 3.0) for request in asked]
            return sum(answer is not None and not answer[1] for answer in answers)
        finally:
            visitor.close()


def wanted(action: Action, alarm: Kept) -> bool:
    """Whether somebody would do that to an alarm."""
    return alarm.state.endswith("unacknowledged") if action == "acknowledge" else alarm.state.startswith("latched")


class Usage(NamedTuple):
    """Of this process, now."""

    mib: float  # resident
    files: int  # open
    threads: int


def usage() -> Usage:
    """From /proc."""
    lines = Path("/proc/self/status").read_text().splitlines()
    resident = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return Usage(resident / 1024, len(list(Path("/proc/self/fd").iterdir())), threading.active_count())


def listen(day: Day, service: Service, post: Post, hours: int) -> list[Usage]:
    """The whole day, a line an hour -> what the process used after each."""
    used: list[Usage] = []
    while not day.ended:
        service.turn()
        if day.second >= 3600 * (len(used) + 1):
            used.append(usage())
            counts = [sum(getattr(one, name) for one in post.monitors) for name in ("scored", "unfit", "raised")]
            lost = sum(one.grid.lost for one in post.monitors)
            windows = f"{counts[0]:8d} scored  {counts[1]:6d} unfit  {lost:6d} lost  {counts[2]:4d} alarms"
            now = f"{used[-1].mib:6.1f} MiB  {used[-1].files:3d} files  {used[-1].threads} threads"
            print(f"{len(used):3d} h  {windows}  {now}", flush=True)
    return used


def main(argv: Sequence[str] | None = None) -> int:
    """The benchmark."""
    arguments = parser(__doc__)
    arguments.add_argument("--hours", type=int, default=24)
    arguments.add_argument("--machines", type=int, default=4)
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        folder = Path(temporary)
        bundle = packed(folder, options.machines)
        wanted, day = site(bundle, folder), Day(options.machines, options.hours, options.seed)
        networks = Injecting(day)
        panel = keeping.panel(wanted, journal)
        (post,) = opening.posts(opening.place(wanted), {"day": day}, networks, panel)
        log = events.Log((folder / "events.jsonl").open("x"))
        service = Service([post], log, panel, opening.annunciator(wanted), networks.changes)
        person = Person(folder / "state")
        person.start()
        began = time.monotonic()
        used = listen(day, service, post, options.hours)
        seconds = time.monotonic() - began
        person.over.set()
        service.close(None)
        model, samples = bundle.model, options.hours * 3600 * RATE
        due = options.machines * ((samples - model.window) // model.hop + 1)
        told = sum(one.scored + one.unfit + one.grid.lost for one in post.monitors)
        sizes = {file.name: file.stat().st_size / 2**20 for file in (folder / "state").iterdir()}
        print(f"due {due}, scored + unfit + lost {told}: {'none' if due == told else due - told} unaccounted for")
        print(f"{options.hours * 3600 / seconds:.0f} times as fast as it sounds, {options.machines} machines")
        print(f"memory {used[0].mib:.1f} MiB after the first hour, {used[-1].mib:.1f} MiB after the last")
        print(f"a person acted {person.done} times; journal {sum(sizes.values()):.1f} MiB")
    return 0 if due == told else 1


if __name__ == "__main__":
    raise SystemExit(run_command(main))
