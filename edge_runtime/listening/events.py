"""What a listening process tells: one JSON object a line. Times are seconds of sound since the start.

The clock is the count of samples, lost ones included. Wall-clock time (UTC, "time") is told beside it and decides
nothing; "clock" says where it is not to be trusted: "unset" or "jumped".
"""

import contextlib
import threading
from typing import IO

import msgspec

from edge_runtime import detector
from edge_runtime.cli import say
from edge_runtime.listening.log import writable
from edge_runtime.outputs import Told
from edge_runtime.reason import Reason

PATIENCE_S = 0.05  # seconds between looks whether a reader is there again


class Event(msgspec.Struct, frozen=True, tag_field="event", tag=str.lower):
    """Any of those below; the key "event" holds its name in small letters."""


class Start(Event, frozen=True):
    """Listening to a machine begins."""

    time: str  # UTC, ISO 8601
    bundle: str
    machine: str
    threshold: float  # of a window's decision
    promise: str  # what the threshold of the alarm promises
    window_s: float
    hop_s: float
    source: str
    alarm_above: float | None = None  # the score above which a window counts for an alarm, where the site sets another


class Recording(Event, frozen=True):
    """A new unbroken recording begins; no window spans two."""

    at_s: float
    source: str  # file or microphone
    microphone: str = ""  # its name in the site file


class Window(Event, frozen=True):
    """One window, judged."""

    start_s: float
    end_s: float
    score: float | None  # None: not fit to be scored
    decision: bool | None
    state: str  # "normal", "warning", "alarm", or "not_listening", after this window
    level_dbfs: float | None  # None: digital silence, which has no level
    clipped: float  # ratio of samples at full scale
    faults: list[str]
    machine: str = ""
    time: str = ""


class Alarm(Event, frozen=True):
    """An alarm of a machine has changed."""

    at_s: float
    machine: str
    kind: str  # "anomaly" or "not_listening"
    cause: str  # "raise", "return", "escalate", "acknowledge", ...
    level: str  # "normal", "warning" or "alarm": what the sound says now
    state: str  # ISA-18.2: "unacknowledged", "acknowledged", ...
    before: str  # the state that was left
    who: str  # "auscult", or a person
    why: str
    since_s: float | None = None  # when the first window that led here ended
    score: float | None = None  # of the window that led here
    reason: Reason | None = None  # which bands, and when
    time: str = ""
    clock: str | None = None

    @classmethod
    def of(cls, told: Told, since_s: float | None, clock: str, reason: Reason | None) -> "Alarm":
        """What outputs are told, as an event."""
        change = told.change
        return cls(
            at_s=told.at_s,
            machine=change.machine,
            kind=change.kind,
            cause=change.cause,
            level=change.level,
            state=change.state,
            before=change.before,
            who=change.who,
            why=change.why or told.reason,
            since_s=since_s,
            score=told.score,
            reason=reason,
            time=told.time,
            clock=clock or None,
        )


class Recorded(Event, frozen=True):
    """An event folder was written: at the raise of an alarm ("open"), and when it is over ("whole" or "cut")."""

    at_s: float
    id: str  # its folder in STATE/events
    machine: str
    state: str
    seconds: float  # of sound
    bytes: int


class Microphone(Event, frozen=True):
    """A microphone is heard, or is not."""

    at_s: float
    microphone: str
    listening: bool
    reason: str


class Notice(Event, frozen=True):
    """What does not stop the listening: an output that fails, a clock that jumps, a bundle that is replaced."""

    at_s: float
    about: str
    words: str


class Backend(Event, frozen=True):
    """Who runs the network, from the next window told on."""

    at_s: float
    name: str  # "onnxruntime" or "tensorrt"; "network": it fails, or computes again
    reason: str


class Lost(Event, frozen=True):
    """Sound went missing here; a new recording begins after it."""

    at_s: float
    samples: int
    microphone: str = ""


class End(Event, frozen=True):
    """Listening to a machine has ended. Windows that were due: windows + lost."""

    seconds: float  # of sound, without what was lost
    windows: int  # with a score or unfit
    unfit: int  # windows without a score
    alarms: int  # how often the anomaly alarm was raised
    lost_samples: int
    error: str | None = None  # why, where it was not meant to end
    machine: str = ""
    lost: int = 0  # windows that lost sound made impossible
    drift_ppm: float | None = None  # of the sound card's clock, against this computer's


class Log:
    """Writes events as they come; neither a full disk nor a reader that stalls stops the listening."""

    def __init__(self, stream: IO[str], patient: threading.Event | None = None) -> None:
        """`patient`: wait for a reader until this is set, as files are listened to; a microphone waits for nobody."""
        self._stream, self._patient, self._broken = stream, patient, False
        self._lost = 0  # events that nobody took

    def __call__(self, event: Event) -> None:
        """One line, flushed; or counted, and the count told with the next that is taken."""
        while not writable(self._stream):
            if self._patient is None or self._patient.wait(PATIENCE_S):
                self._lost += 1
                return
        if self._lost:
            lost, self._lost = self._lost, 0
            self(Notice(0.0, "events", f"{lost} before this one are lost: nobody read them"))
        try:
            self._stream.write(msgspec.json.encode(event).decode() + "\n")
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            if not self._broken:
                say(f"warning: events cannot be written ({error.strerror}); listening goes on")
            self._broken = True

    def close(self) -> None:
        """Give the file back, full disk or not."""
        with contextlib.suppress(OSError):
            self._stream.close()


class Scored(msgspec.Struct, frozen=True):
    """A window of a file, as the score command prints it."""

    file: str
    start_s: float
    end_s: float
    score: float | None
    decision: bool | None
    level_dbfs: float | None
    clipped: float
    faults: list[str]


def scored(file: str, window: detector.Window, rate: int) -> Scored:
    """A window of a file whose sound has `rate` samples a second."""
    found = window.quality
    start, end = window.start / rate, window.end / rate
    return Scored(file, start, end, window.score, window.decision, found.level_dbfs, found.clipped, found.faults)


def in_words(window: Window) -> str:
    """A window as one line for people."""
    score = "no score" if window.score is None else f"score {window.score:.4g}"
    level = "silent" if window.level_dbfs is None else f"{window.level_dbfs:.1f} dBFS"
    mark = "above" if window.decision else "below" if window.decision is False else "-"
    return "  ".join([f"{window.end_s:9.2f} s", score, mark, window.state, level, *window.faults])
