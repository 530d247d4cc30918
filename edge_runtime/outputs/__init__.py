"""Where an alarm goes. An output never delays the scoring and never raises: what fails it says once, in one line."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from edge_runtime.alarm import Change, Status


class Told(msgspec.Struct, frozen=True):
    """A change of an alarm, with what is known of it."""

    change: Change
    at_s: float  # seconds since the start, of the source's own clock
    time: str  # UTC, ISO 8601
    score: float | None = None  # of the window that led here; None: none did
    reason: str = ""  # what was heard, or why nothing is


class Output(Protocol):
    """Told of every change, and of where its alarms stand after it."""

    name: str

    def update(self, changes: Sequence[Told], now: Sequence[Status]) -> None:
        """What has changed since last time, and every alarm as it is now; returns at once, never raises."""
        ...

    def feed(self, judged: bool) -> None:
        """The listening loop lives; a relay drops when this stops.

        `judged`: every machine that it is for had a window since the start, or is known not to be listened to.
        """
        ...

    def failures(self) -> Iterable[str]:
        """What went wrong or works again since this was last asked, each once, in one line without its name."""
        ...

    def close(self, within_s: float) -> None:
        """Finish what was told within that time; whatever hangs is killed."""
        ...
