"""An event on disk: one folder that says what was heard around an alarm, and what people made of it.

STATE/events/20261121T190256Z-fan/
    sound.flac          16 kHz, 16 bits, one channel; not with `privacy: features-only`
    normal.flac         the nearest normal sound that was heard here, to compare by ear; where there is one
    features.npz        mel [frames, n_mels] and normal [n_mels], the nearest normal spectrum, dB
    spectrogram.png     deviation.png
    windows.json        every window of it
    event.json          the manifest, written last: a folder without one is no event
    label.json          what people said it was, and whether it stays
"""

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeVar, get_args

import msgspec

from edge_runtime import safe_file, utc
from edge_runtime.alarm.words import Kind, Level
from edge_runtime.errors import DataError
from edge_runtime.reason import Reason

FORMAT = 1
TRIES, PAUSE_S = 5, 0.02  # looks for a folder that is being exchanged, and seconds between them
EVENTS = "events"  # folder of the state folder
MANIFEST, LABEL, WINDOWS, FEATURES = "event.json", "label.json", "windows.json", "features.npz"
SOUND, NORMAL = "sound.flac", "normal.flac"
SPECTROGRAM, DEVIATION = "spectrogram.png", "deviation.png"
ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-\w[\w.-]*")

T = TypeVar("T")
What = Literal["fault", "normal", "disturbance", "microphone", "unclear"]
State = Literal["open", "whole", "cut"]  # open: it goes on; cut: the listening ended in the middle of it
WHATS: tuple[What, ...] = get_args(What)
MEANINGS: dict[What, str] = {
    "fault": "the machine: a fault, or the beginning of one",
    "normal": "the machine as it should be: a false alarm",
    "disturbance": "something else nearby: voices, a truck, work on the machine",
    "microphone": "the microphone or its wiring",
    "unclear": "nobody can say",
}


class Pictures(msgspec.Struct, frozen=True):
    """What the colours and columns of the pictures stand for; rows are mel bands, the highest on top."""

    low_db: float  # the darkest colour of the spectrogram
    high_db: float  # the lightest
    most_db: float  # the reddest colour of the deviation; below 0 the bluest
    column_s: float  # seconds of sound to a column


class EventWindow(msgspec.Struct, frozen=True):
    """One window of an event."""

    start_s: float  # of the event's sound; below 0 where it began before it
    end_s: float
    score: float | None
    decision: bool | None
    level_dbfs: float | None
    faults: list[str]


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The manifest of an event."""

    format: int
    id: str  # name of the folder
    site: str
    machine: str
    kind: Kind
    level: Level  # the highest it came to
    state: State
    time: str  # UTC of the raise, ISO 8601
    clock: str  # what was wrong with the wall clock then, or ""
    seconds: float  # of sound
    since_s: float  # in the event's sound: the end of the first window that led to the alarm
    alarm_s: float  # in the event's sound: the raise
    returned_s: float | None  # the return to normal; None: it is not in the sound
    score: float | None  # the highest
    threshold: float
    reason: Reason
    bundle: str
    model_hash: str
    sample_rate: int  # Hz
    privacy: Literal["sound", "features-only"]
    normal_db: float | None = None  # mean distance over bands of normal.flac from the window that alarmed, dB
    known_as: str = ""  # the machine's name in the bundle
    excess: float = 0.0  # the highest score above the threshold, in distances from the normal median to the threshold
    gaps: list[tuple[float, float]] = []  # in the event's sound, seconds: lost, and silent here; of 0 s: a break
    pictures: Pictures | None = None
    bytes: int = 0  # of all its files but this one and label.json


class Label(msgspec.Struct, frozen=True):
    """What a person said that an event was."""

    what: What
    who: str
    time: str  # UTC, ISO 8601
    why: str = ""


class Said(msgspec.Struct, frozen=True):
    """All that people said of an event, the newest last."""

    labels: list[Label] = []
    marked: bool = False  # it stays, whatever the budget and its age
    marked_by: str = ""


def read(folder: Path) -> Event:
    """The manifest of an event folder."""
    return _decoded(folder / MANIFEST, Event)


def windows(folder: Path) -> list[EventWindow]:
    """Of an event, in order."""
    return _decoded(folder / WINDOWS, list[EventWindow])


def said(folder: Path) -> Said:
    """What people said of an event; nothing yet of most."""
    return _decoded(folder / LABEL, Said) if (folder / LABEL).exists() else Said()


def label(folder: Path, what: str, who: str, why: str = "") -> Said:
    """Say what an event was; what was said before stays in the list."""
    if what not in WHATS:
        raise DataError(f"{what}: no such label; give one of {', '.join(WHATS)}")
    now = utc.now("seconds")
    with alone(folder):
        before = said(folder)
        return _say(folder, msgspec.structs.replace(before, labels=[*before.labels, Label(what, who, now, why)]))


def mark(folder: Path, marked: bool, who: str) -> Said:
    """Keep an event for good, or no more."""
    with alone(folder):
        return _say(folder, msgspec.structs.replace(said(folder), marked=marked, marked_by=who if marked else ""))


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Two who label at once, or one while the event is written anew: each after the other, nothing is lost."""
    descriptor = _held(folder)
    try:
        yield
    finally:
        os.close(descriptor)


def _held(folder: Path) -> int:
    """A descriptor that holds the folder of that name, even if it was exchanged while this waited."""
    for left in reversed(range(TRIES)):
        with suppress(FileNotFoundError):  # between the two renames of `recorder.folder`
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if folder.stat().st_ino == os.fstat(descriptor).st_ino:
                    return os.dup(descriptor)  # the lock stays with its copy
            finally:
                os.close(descriptor)
        time.sleep(PAUSE_S if left else 0.0)
    raise DataError(f"{folder}: no such event; it was removed meanwhile")


def folders(state: Path) -> list[Path]:
    """Every event folder that is whole, oldest first; what is half-written has no manifest, or another name."""
    try:
        there = list((state / EVENTS).iterdir())
    except FileNotFoundError:
        return []
    return sorted(path for path in there if ID.fullmatch(path.name) and _is_whole(path))


def folder_of(state: Path, event: str) -> Path:
    """The folder of an event by its name; nothing outside the state folder can be named."""
    folder = state / EVENTS / event
    if not ID.fullmatch(event) or not _is_whole(folder):
        raise DataError(f"{event[:80]}: no such event; see: python -m edge_runtime events list")
    return folder


def _is_whole(folder: Path) -> bool:
    """Of a folder that nobody may look into, `read` says so."""
    try:
        return (folder / MANIFEST).is_file()
    except OSError:
        return True


def _say(folder: Path, now: Said) -> Said:
    read(folder)
    safe_file.write(folder / LABEL, msgspec.json.format(msgspec.json.encode(now)))
    return now


def _decoded(file: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}; it is no event, or was removed meanwhile") from None
    except msgspec.MsgspecError as error:
        raise DataError(f"{file}: {error}; not a file of an event of format {FORMAT}") from None
