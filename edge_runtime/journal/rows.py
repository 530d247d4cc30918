"""What is written into the journal and read from it."""

import datetime

import msgspec

from edge_runtime.alarm.words import Action, Kind, Level, State


class Moment(msgspec.Struct, frozen=True):
    """When something happens, on three clocks; the first alone decides anything."""

    now_s: float  # monotonic seconds
    utc_s: float  # seconds since 1970, as the wall clock says
    at_s: float = 0.0  # seconds of sound since the start
    clock: str = ""  # what is wrong with the wall clock, or ""

    @property
    def time(self) -> str:
        """The wall clock's UTC, ISO 8601."""
        return datetime.datetime.fromtimestamp(self.utc_s, datetime.timezone.utc).isoformat(timespec="milliseconds")


class Entry(msgspec.Struct, frozen=True):
    """One change of an alarm, in the history."""

    number: int
    time: str  # UTC, ISO 8601
    clock: str
    at_s: float
    machine: str
    kind: Kind
    before: State
    state: State
    level: Level
    cause: str
    who: str
    why: str
    score: float | None  # of the window that it came with
    reason: str  # how that window deviates from normal sound


class Request(msgspec.Struct, frozen=True):
    """What a person asks of the process that listens."""

    action: Action
    machine: str
    kind: Kind
    who: str
    why: str = ""
    seconds: float | None = None  # to shelve for
    number: int = 0  # given by the journal


class Heard(msgspec.Struct, frozen=True):
    """One machine at the last sign of life."""

    machine: str
    state: State  # of its anomaly
    level: Level
    listening: bool
    score: float | None  # the last one


class Beat(msgspec.Struct, frozen=True):
    """A sign of life of the process that listens."""

    pid: int
    time: str  # UTC, ISO 8601
    monotonic_s: float  # of the machine that both run on
    machines: list[Heard]
