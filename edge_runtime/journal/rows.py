"""What is written into the journal and read from it."""

import msgspec

from edge_runtime import utc
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
        return utc.text(self.utc_s)


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


class Listened(msgspec.Struct, frozen=True):
    """A machine that is listened to, as it was when the listening began."""

    machine: str
    bundle: str  # folder
    microphone: str  # name in the site file
    source: str  # device or files
    threshold: float
    warning: float | None  # threshold of the level below; None: the machine has none
    promise: str  # what the threshold promises
    window_s: float
    hop_s: float


class Spell(msgspec.Struct, frozen=True):
    """The windows of one machine over a minute; over an hour, once they are old."""

    machine: str
    begin_s: float  # UTC, seconds since 1970
    span_s: float
    scored: int = 0  # windows
    unfit: int = 0
    lost: int = 0
    above: int = 0  # windows above the threshold
    lowest: float | None = None  # scores; None: no window has one
    mean: float | None = None
    highest: float | None = None
    level_dbfs: float | None = None  # mean over the windows that have a level
    faults: dict[str, int] = {}  # word -> windows it was found in
    scores: list[float | None] = []  # of each window that was not lost; none once the spell is old


class Notice(msgspec.Struct, frozen=True):
    """One line for people: what failed, and that it works again."""

    number: int
    time: str  # UTC, ISO 8601
    about: str
    words: str


class Recorded(msgspec.Struct, frozen=True):
    """An event folder, in the list of them."""

    id: str  # name of the folder
    machine: str
    kind: Kind
    level: Level  # the highest it came to
    time: str  # UTC of the raise, ISO 8601
    clock: str  # what was wrong with the wall clock, or ""
    score: float | None  # the highest
    reason: str
    seconds: float  # of sound
    bytes: int


class Heard(msgspec.Struct, frozen=True):
    """One machine at the last sign of life."""

    machine: str
    state: State  # of its anomaly
    level: Level
    listening: bool
    score: float | None  # of the last window; None: it has none
    threshold: float = 0.0
    time: str = ""  # UTC of the last window; "": there was none yet
    level_dbfs: float | None = None  # of the last window; None: it was silent
    clipped: float = 0.0  # ratio of the samples of the last window at full scale
    faults: list[str] = []  # of the last window
    scored: int = 0  # windows since the listening began
    unfit: int = 0
    lost: int = 0
    valid_s: float | None = None  # UTC of the last window with a score, seconds since 1970


class Microphone(msgspec.Struct, frozen=True):
    """One microphone at the last sign of life."""

    name: str  # in the site file
    device: str
    listening: bool
    reason: str  # why it is heard, or not
    lost_s: float = 0.0  # seconds of sound since the listening began
    drift_ppm: float | None = None  # of its clock, above 0: fast; None: not known


class Latency(msgspec.Struct, frozen=True):
    """How long windows took, from the block that completed each to what was decided of it."""

    bounds_s: list[float]  # upper bounds of the classes; the last class has none
    counts: list[int]  # one more than bounds
    sum_s: float = 0.0


class Beat(msgspec.Struct, frozen=True):
    """A sign of life of the process that listens."""

    pid: int
    time: str  # UTC, ISO 8601
    monotonic_s: float  # of the computer that both run on
    machines: list[Heard]
    microphones: list[Microphone] = []
    started: str = ""  # UTC, ISO 8601
    version: str = ""
    backend: str = ""
    clock: str = ""  # what is wrong with the wall clock, or ""
    latency: Latency | None = None
    recent: list[Spell] = []  # the minute that is not over, and what is not written yet; in memory only


class Sign(msgspec.Struct, frozen=True):
    """Whether somebody listens, and what was last heard of it."""

    listener: int | None  # pid of the process that listens; None: nobody does
    quiet_s: float | None  # seconds since its last sign of life; None: it has given none yet
    fresh: bool  # it listens, and what `beat` says is so now
    beat: Beat | None  # the last sign of life, of whoever listened then
