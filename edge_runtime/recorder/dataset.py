"""Event folders -> clips of a DCASE data set, labelled by what people said each event was, to retrain with.

    DATA/fan/train/section_00_source_train_normal_0000_event_20261121T190256Z-fan.wav
    DATA/fan/test/section_00_source_test_anomaly_0000_event_20261121T190256Z-fan.wav
    DATA/fan/exported.csv      which clip came from which event: none is exported twice

A machine that is called `ToyCar_id_01` gets the names of 2020 (ToyCar/test/anomaly_id_01_00000000.wav); in a folder of
one's own recordings clips are numbered on. No clip spans lost sound or holds a window that was not fit to be scored.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
import soundfile

from edge_runtime.errors import ConfigError, DataError
from edge_runtime.features import SAMPLE_RATE
from edge_runtime.recorder import event
from edge_runtime.recorder.event import Event, EventWindow
from edge_runtime.recorder.memory import Samples

LIST = "exported.csv"
WANTED = ("fault", "normal")  # labels that clips are made of
TEST_EVERY = 5  # of normal clips: each fifth is for testing
ABOVE = 0.5  # of a clip's windows that must have been above the threshold, for an anomaly
NAMED = re.compile(r"(?P<type>.+)_(?P<section>(?:section|id)_\d\d)")
PLAIN = {"halves": "train/normal", "one": "normal"}  # folders of one's own recordings (docs/data.md), where they are


class Exported(msgspec.Struct, frozen=True):
    """What was written, and what was left out."""

    data: str
    clips: dict[str, int]  # "fan train normal" -> clips
    events: int  # that clips were made of
    left_out: dict[str, int]  # why -> events


class Stretch(msgspec.Struct, frozen=True):
    """Samples of an event that one label holds for, and windows to judge each clip by."""

    start: int
    end: int
    anomaly: bool


class Machine:
    """The folder of one machine in a data set; numbers go on from what is there."""

    def __init__(self, data: Path, name: str) -> None:
        found = NAMED.fullmatch(name)
        self.name = found["type"] if found else name
        self._section = found["section"] if found else "section_00"
        self.folder = data / self.name
        self._plain = next((kind for kind, place in PLAIN.items() if (self.folder / place).is_dir()), "")
        places = {self._place(split, "normal") for split in ("train", "test")}
        self.normals = sum(len(self._there(place, "normal")) for place in places)  # clips
        self._numbers: dict[tuple[Path, str], int] = {}
        self.known = self._known()

    def path(self, split: str, label: str, one: str) -> Path:
        """Of the next clip of that kind, from that event."""
        place = self._place(split, label)
        if (place, label) not in self._numbers:
            self._numbers[place, label] = max(self._there(place, label), default=-1)
        self._numbers[place, label] += 1
        number = self._numbers[place, label]
        if self._plain:
            return place / f"{number:06d}.wav"
        if self._section.startswith("id"):
            return place / f"{label}_{self._section}_{number:08d}.wav"
        return place / f"{self._section}_source_{split}_{label}_{number:04d}_event_{one}.wav"

    def tell(self, files: Iterable[Path], one: str) -> None:
        """Into the list of what was exported."""
        new = not (self.folder / LIST).exists()
        with (self.folder / LIST).open("a", newline="") as stream:
            rows = csv.writer(stream)
            if new:
                rows.writerow(["file", "event"])
            rows.writerows([str(file.relative_to(self.folder)), one] for file in files)

    def _known(self) -> set[str]:
        if not (self.folder / LIST).exists():
            return set()
        with (self.folder / LIST).open(newline="") as stream:
            return {row["event"] for row in csv.DictReader(stream)}

    def _there(self, place: Path, label: str) -> list[int]:
        """Numbers of the clips there. Names of other years count, too."""
        form = re.compile(rf"(?:{label}_{self._section}_(\d+)|{self._section}(?:_[a-z]+)*_{label}_(\d+)(?:_.*)?)\.\w+")
        if self._plain:
            form = re.compile(r"(\d+)()\.\w+")
        found = [form.fullmatch(file.name) for file in place.iterdir()] if place.is_dir() else []
        return [int(one[1] or one[2]) for one in found if one]

    def _place(self, split: str, label: str) -> Path:
        return self.folder / {"": split, "halves": f"{split}/{label}", "one": label}[self._plain]


def export(
    folders: Iterable[Path], data: Path, clip_s: float, append: bool = False, names: dict[str, str] | None = None
) -> Exported:
    """`names`: machine of the site -> machine of the data set; unless given, its name in the bundle."""
    if data.exists() and not append:
        raise ConfigError(f"--out {data}: already exists; give another path, or --append to add to it")
    machines: dict[str, Machine] = {}
    clips: Counter[str] = Counter()
    left: Counter[str] = Counter()
    events = 0
    folders = list(folders)
    _check_apart(folders, names)
    for folder in folders:
        try:
            found = event.read(folder)
            name = _called(found, names)
            if name not in machines:
                machines[name] = Machine(data, name)
            why = unfit(folder, found, machines[name])
            made = [] if why else list(_clips(folder, found, round(clip_s * SAMPLE_RATE)))
        except (DataError, OSError, soundfile.LibsndfileError) as error:
            left[f"damaged: {error}"] += 1
            continue
        if not made:
            left[why or f"no stretch of {clip_s:g} s that was heard, and fits what was said"] += 1
            continue
        events += 1
        clips.update(_write(made, found, machines[name]))
    return Exported(str(data), dict(clips), events, dict(left))


def _called(found: Event, names: dict[str, str] | None) -> str:
    """What its machine is called in the data set."""
    return (names or {}).get(found.machine) or found.known_as or found.machine


def _check_apart(folders: Iterable[Path], names: dict[str, str] | None) -> None:
    """Two machines of the site must not become one: what is normal for the one may be a fault of the other."""
    whose: dict[str, str] = {}
    for folder in folders:
        with suppress(DataError):
            found, labels = event.read(folder), event.said(folder).labels
            if not labels or labels[-1].what not in WANTED:
                continue
            other = whose.setdefault(_called(found, names), found.machine)
            if other != found.machine:
                raise ConfigError(
                    f"{other} and {found.machine} are both {_called(found, names)} in the data set; give one of them "
                    f"another name (--rename {found.machine}=TYPE), or export one (--machine {other})"
                )


def unfit(folder: Path, found: Event, machine: Machine) -> str:
    """Why no clips are made of an event; "" where they are."""
    labels = event.said(folder).labels
    if not labels:
        return "nobody said what it was"
    if labels[-1].what not in WANTED:
        return f"said to be: {labels[-1].what}"
    if found.state == "open":
        return "it goes on"
    if not (folder / event.SOUND).exists():
        return "without sound (privacy: features-only)"
    return "exported already" if found.id in machine.known else ""


def _clips(folder: Path, found: Event, length: int) -> Iterator[tuple[bool, Samples]]:
    """(anomaly, samples) of each clip of an event."""
    sound, rate = soundfile.read(folder / event.SOUND, dtype="int16")
    if rate != SAMPLE_RATE:
        raise DataError(f"{folder / event.SOUND}: {rate} Hz; wanted {SAMPLE_RATE}")
    anomaly = event.said(folder).labels[-1].what == "fault"
    windows = event.windows(folder)
    for start, end in _heard(found, len(sound)):
        for at in _places(start, end, *_wanted(found, windows, anomaly, len(sound)), length):
            if _agrees(windows, at, at + length, anomaly):
                yield anomaly, sound[at : at + length]


def _wanted(found: Event, windows: list[EventWindow], anomaly: bool, samples: int) -> tuple[int, int]:
    """Of a fault what lies between the first window that led to the alarm and the return; of a false alarm all."""
    if not anomaly:
        return 0, samples
    first = next((one.start_s for one in windows if abs(one.end_s - found.since_s) < 1e-3), found.since_s)
    last = samples if found.returned_s is None else round(found.returned_s * SAMPLE_RATE)
    return max(0, round(first * SAMPLE_RATE)), min(samples, last)


def _heard(found: Event, samples: int) -> Iterator[tuple[int, int]]:
    """Stretches without a gap."""
    at = 0
    for start, end in found.gaps:
        yield at, min(samples, round(start * SAMPLE_RATE))
        at = round(end * SAMPLE_RATE)
    yield at, samples


def _places(start: int, end: int, first: int, last: int, length: int) -> Iterator[int]:
    """First samples of clips between `first` and `last`, side by side; too short a stretch borrows beside it."""
    low, high = max(start, first), min(end, last)
    if low >= high or end - start < length:
        return
    if high - low < length:
        yield min(low, end - length)
        return
    yield from range(low, high - length + 1, length)


def _agrees(windows: list[EventWindow], start: int, end: int, anomaly: bool) -> bool:
    """What was heard in the clip fits the label: windows with their middle in it."""
    inside = [one for one in windows if start <= (one.start_s + one.end_s) / 2 * SAMPLE_RATE < end]
    if any(one.score is None for one in inside):
        return False
    above = sum(bool(one.decision) for one in inside)
    return not anomaly or above >= max(1.0, ABOVE * len(inside))


def _write(made: list[tuple[bool, Samples]], found: Event, machine: Machine) -> Iterator[str]:
    """The clips of one event, and what kind each is."""
    files = []
    for anomaly, samples in made:
        label = "anomaly" if anomaly else "normal"
        machine.normals += not anomaly
        split = "test" if anomaly or machine.normals % TEST_EVERY == 0 else "train"
        file = machine.path(split, label, found.id)
        save_clip(file, samples)
        files.append(file)
        yield f"{machine.name} {split} {label}"
    machine.tell(files, found.id)


def save_clip(file: Path, samples: Samples) -> None:
    """A WAV of 16 bits, whole or not at all; none is overwritten."""
    if file.exists():
        raise DataError(f"{file}: already there; give another --out")
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    soundfile.write(partial, np.ascontiguousarray(samples), SAMPLE_RATE, "PCM_16", format="WAV")
    partial.rename(file)
