"""A day of listening at the greatest speed, everything going wrong in it: is a window unaccounted for, does it grow?

    OMP_NUM_THREADS=1 python benchmarks/soak.py [--hours 24] [--machines 4]
    OMP_NUM_THREADS=1 python benchmarks/soak.py --hours 12 --no-recorder        # alarms, scores and events of no sound
    OMP_NUM_THREADS=1 python benchmarks/soak.py --hours 12 --no-journal         # nothing is kept at all

Sound is made as it is heard: a hum in noise on every channel of one microphone, judged by the detector without a
network in windows of 9.98 s every 0.99 s. In every hour, at moments drawn from a seed: lost blocks, a microphone
that is gone for minutes, digital silence, a stuck buffer, clipping, a gain of +12 dB, another machine's sound (alarms,
which a person acknowledges and resets through the journal), a network that raises once and one that raises for a
minute. A command that hangs is told of every alarm. Journal, signs of life and recorder have a clock that goes as fast
as the sound, and a folder on the disk (so events are written beside far more of the windows than in a plant). Prints,
hour by hour, windows scored, unfit and lost, resident memory, files, threads and what was written; then how long the
windows took. Exit code 1 where those are not all that were due.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import soundfile

from benchmarks.a_day import RATE, Day, Injecting, SoundTime, hum
from calib import fit
from edge_runtime.alarm import Action, AlarmSettings, Kept, LevelSettings
from edge_runtime.bundle import Bundle, open_bundle
from edge_runtime.capture import MicrophoneSettings
from edge_runtime.cli import parser, run_command
from edge_runtime.journal import Request, Visitor
from edge_runtime.listening import events, keeping, opening
from edge_runtime.listening.post import Post
from edge_runtime.listening.service import Service
from edge_runtime.outputs.settings import CommandSettings
from edge_runtime.recorder.settings import RecorderSettings
from edge_runtime.site_file import MachineSettings, Site

MEMORY = Path("/dev/shm")  # where the log of events lies: no disk of a device sees it
MB, FAST = 1e6, 99  # bytes; percentile of windows


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


def site(bundle: Bundle, state: Path | None, recorder: RecorderSettings | None) -> Site:
    """Every machine of the bundle on a channel of one microphone, and a command that hangs."""
    alarm = AlarmSettings(
        warning=LevelSettings(on_delay_s=5.0), alarm=LevelSettings(k=3, of=5), latching=True, not_listening_s=45.0
    )
    machines = {
        name: MachineSettings(str(bundle.folder), "day", machine=name, channel=channel, alarm=alarm)
        for channel, name in enumerate(bundle.machines)
    }
    outputs = {"hangs": CommandSettings(command="sleep 1000", timeout_s=600.0)}
    kept = str(state) if state else None
    return Site(machines, {"day": MicrophoneSettings()}, outputs, state=kept, recorder=recorder if kept else None)


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
    written: int  # bytes that went to a disk since it began
    flushes: int  # of files of the recorder, since it began


class Flushes:
    """Counts calls of fsync; SQLite makes its own, which nobody sees."""

    def __init__(self) -> None:
        self.count, self._fsync = 0, os.fsync
        os.fsync = self  # type: ignore[assignment]

    def __call__(self, descriptor: int) -> None:
        """Do it."""
        self.count += 1
        self._fsync(descriptor)


def usage(flushes: Flushes) -> Usage:
    """From /proc."""
    lines = Path("/proc/self/status").read_text().splitlines()
    resident = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    files = len(list(Path("/proc/self/fd").iterdir()))
    return Usage(resident / 1024, files, threading.active_count(), int(fields["write_bytes"]), flushes.count)


class Run(NamedTuple):
    """What a day was like."""

    used: list[Usage]  # at the beginning, and after each hour
    windows_s: dict[bool, list[float]]  # of each turn with windows; True: something was written meanwhile
    seconds: float  # of the world


def listen(day: Day, service: Service, post: Post, writes: Callable[[], bool]) -> Run:
    """The whole day, a line an hour."""
    flushes = Flushes()
    run, judged, began = Run([usage(flushes)], {False: [], True: []}, 0.0), 0, time.perf_counter()
    while not day.ended:
        at, busy = time.perf_counter(), writes()
        service.turn()
        now = sum(one.scored + one.unfit for one in post.monitors)
        if now > judged:
            judged = now
            run.windows_s[busy or writes()].append(time.perf_counter() - at)
        if day.second >= 3600 * len(run.used):
            run.used.append(usage(flushes))
            print(f"{len(run.used) - 1:3d} h  {_counts(post)}  {_used(*run.used[-2:])}", flush=True)
    return run._replace(seconds=time.perf_counter() - began)


def _counts(post: Post) -> str:
    counts = [sum(getattr(one, name) for one in post.monitors) for name in ("scored", "unfit", "raised")]
    lost = sum(one.grid.lost for one in post.monitors)
    return f"{counts[0]:8d} scored  {counts[1]:6d} unfit  {lost:6d} lost  {counts[2]:4d} alarms"


def _used(before: Usage, now: Usage) -> str:
    written = f"{(now.written - before.written) / MB:6.1f} MB written  {now.flushes - before.flushes:4d} flushes"
    return f"{now.mib:6.1f} MiB  {now.files:3d} files  {now.threads} threads  {written}"


def report(run: Run, state: Path, hours: int) -> None:
    """How fast, how large, how much was written."""
    first, last = run.used[1], run.used[-1]
    print(f"{hours * 3600 / run.seconds:.0f} times as fast as it sounds")
    print(f"memory {first.mib:.1f} MiB after the first hour, {last.mib:.1f} MiB after the last")
    for busy, words in ((False, "while nothing of an event is written"), (True, "while an event is written")):
        if taken := run.windows_s[busy]:
            took = [1e3 * value for value in np.percentile(taken, [50, FAST, 100])]
            figures = f"median {took[0]:.1f} ms, p{FAST} {took[1]:.1f} ms, longest {took[2]:.0f} ms"
            print(f"{len(taken)} times the windows of all machines, {words}: {figures}")
    print(f"written {(last.written - run.used[0].written) / MB / hours:.2f} MB an hour")
    for place in sorted(state.iterdir()) if state.is_dir() else []:
        files = [place] if place.is_file() else [file for file in place.rglob("*") if file.is_file()]
        count = f", {len(list(place.iterdir()))} of them" if place.is_dir() else ""
        print(f"  {place.name}: {sum(file.stat().st_size for file in files) / MB:.2f} MB{count}")


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--hours", type=int, default=24)
    arguments.add_argument("--machines", type=int, default=4)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--folder", type=Path, help="where the state lies while it runs (temporary files)")
    for name, words in (("recorder", "sound around alarms"), ("journal", "anything")):
        arguments.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, default=True, help=f"keep {words}")
    arguments.add_argument("--budget-mb", type=float, default=200.0, help="of all events (200)")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The benchmark."""
    options = _options(argv)
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary, contextlib.ExitStack() as stack:
        folder, state = Path(temporary), Path(temporary) / "state"
        bundle = packed(folder, options.machines)
        recorder = RecorderSettings(budget_mb=options.budget_mb, free_mb=0.0) if options.recorder else None
        wanted, day = (
            site(bundle, state if options.journal else None, recorder),
            Day(options.machines, options.hours, options.seed),
        )
        SoundTime(day).rule()
        notes, networks, placed = opening.Notes(), Injecting(day), opening.place(wanted)
        journal = keeping.journal(wanted, notes, stack)
        panel = keeping.panel(wanted, journal)
        sources = {"day": day}
        (post,) = opening.posts(placed, sources, networks, panel)
        recording = keeping.recording(wanted, journal, placed, panel, notes, 60.0)
        signs = keeping.signs(wanted, journal, placed, sources, stack, recording)
        log = stack.enter_context(tempfile.TemporaryFile("w", dir=MEMORY if MEMORY.is_dir() else None))
        service = Service(
            [post], events.Log(log), panel, opening.annunciator(wanted), networks.changes, [notes.take],
            signs=signs, recording=recording,
        )  # fmt: skip
        person = Person(state)
        if options.journal:
            person.start()
        run = listen(day, service, post, lambda: recording is not None and recording.busy)
        person.over.set()
        service.close(None)
        model, samples = bundle.model, options.hours * 3600 * RATE
        due = options.machines * ((samples - model.window) // model.hop + 1)
        told = sum(one.scored + one.unfit + one.grid.lost for one in post.monitors)
        print(f"due {due}, scored + unfit + lost {told}: {'none' if due == told else due - told} unaccounted for")
        report(run, state, options.hours)
        print(f"{options.machines} machines; a person acted {person.done} times")
    return 0 if due == told else 1


if __name__ == "__main__":
    raise SystemExit(run_command(main))
