"""What a listening process tells: one JSON object a line. Times are seconds of sound since the start.

The clock is the count of samples, lost ones included; wall-clock time is in "start" alone.
"""

import contextlib
import datetime
from typing import IO

import msgspec

from edge_runtime import detector
from edge_runtime.cli import say


class Event(msgspec.Struct, frozen=True, tag_field="event", tag=str.lower):
    """Any of those below; the key "event" holds its name in small letters."""


class Start(Event, frozen=True):
    """Listening begins."""

    time: str  # UTC, ISO 8601
    bundle: str
    machine: str
    threshold: float
    promise: str  # what the threshold promises
    window_s: float
    hop_s: float
    source: str


class Recording(Event, frozen=True):
    """A new unbroken recording begins; no window spans two."""

    at_s: float
    source: str  # file or microphone


class Window(Event, frozen=True):
    """One window, judged."""

    start_s: float
    end_s: float
    score: float | None  # None: not fit to be scored
    decision: bool | None
    state: str  # "normal" or "alarm", after this window
    level_dbfs: float | None  # None: digital silence, which has no level
    clipped: float  # ratio of samples at full scale
    faults: list[str]


class Alarm(Event, frozen=True):
    """The decision has held for the on-delay."""

    at_s: float
    since_s: float  # when the first decision that led here was made
    score: float  # of the window that raised it


class Normal(Event, frozen=True):
    """The decision has held for the off-delay."""

    at_s: float
    since_s: float
    score: float


class Backend(Event, frozen=True):
    """Who runs the network, from the next window told on."""

    at_s: float
    name: str  # "onnxruntime" or "tensorrt"
    reason: str


class Lost(Event, frozen=True):
    """Sound went missing here; a new recording begins after it."""

    at_s: float
    samples: int


class End(Event, frozen=True):
    """Listening has ended."""

    seconds: float  # of sound, without what was lost
    windows: int
    unfit: int  # windows without a score
    alarms: int
    lost_samples: int
    error: str | None = None  # why, where it was not meant to end


class Log:
    """Writes events as they come; a full disk is reported once and does not stop the listening."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._broken = stream, False

    def __call__(self, event: Event) -> None:
        """One line, flushed."""
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


def utc_now() -> str:
    """Wall-clock time, ISO 8601."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
