"""One machine, watched: what its windows say of the machine, and what their absence says of the listening.

Time is that of the source: seconds of sound, lost ones included, so that a wall clock that jumps decides nothing.
"""

from collections.abc import Iterator

import msgspec

from edge_runtime.alarm import AlarmSettings, Condition, Kind, Level
from edge_runtime.alarm.condition import begins
from edge_runtime.bundle import Model
from edge_runtime.detector import Window
from edge_runtime.listening.grid import Grid
from edge_runtime.reason import Reason, explain
from edge_runtime.scoring import Machine


class Finding(msgspec.Struct, frozen=True):
    """Another level of one of a machine's alarms."""

    machine: str
    kind: Kind
    level: Level
    since_s: float  # when the first window that led here ended, or the last that was heard
    why: str = ""
    score: float | None = None  # of the window that led here
    reason: Reason | None = None


class Monitor:
    """Told of every window of its machine, of lost sound and of time."""

    def __init__(
        self,
        machine: Machine,
        settings: AlarmSettings,
        model: Model,
        level: Level = "normal",
        listening: bool = True,
    ) -> None:
        """`level`, `listening`: as before a restart."""
        self.machine, self.listening = machine, listening
        self.above = begins(settings.alarm, machine)  # score above which a window counts for an alarm
        self.grid = Grid(model.window, model.hop)
        self.scored = self.unfit = self.raised = 0  # windows; and how often the level left normal
        self._settings, self._rate = settings, model.sample_rate
        self._condition = Condition(settings, machine, model.sample_rate, level)
        self._valid_s = 0.0  # when the last window with a score ended
        self._why = ""  # the last window had no score

    @property
    def name(self) -> str:
        """Of the machine, in the site file."""
        return self.machine.name

    @property
    def level(self) -> Level:
        """What the scores say now."""
        return self._condition.level

    def hear(self, window: Window, begin: int) -> Iterator[Finding]:
        """A window of the recording that began at that sample of the stream -> what follows from it."""
        end = begin + window.end
        self.grid.given(begin + window.start)
        self._why = window.quality.why
        before = self.level
        self._condition.update(end, window.score)
        if window.score is None:
            self.unfit += 1
            return
        self.scored += 1
        if not self.listening:
            self.listening = True
            yield Finding(self.name, "not_listening", "normal", self._valid_s, "a window has a score again")
        self._valid_s = end / self._rate
        if self.level != before:
            self.raised += before == "normal"
            yield self._finding(window)

    def lost(self, at: int) -> int:
        """The stream has come to that sample, and no window may span what lies behind -> windows lost."""
        self._condition.update(at, None)
        lost = self.grid.passed(at)
        if lost:
            self._why = "no sound arrives"
        return lost

    def tick(self, now_s: float) -> Iterator[Finding]:
        """Time has passed: who hears nothing says so."""
        silent_s = now_s - self._valid_s
        if self.listening and silent_s >= self._settings.not_listening_s:
            self.listening = False
            self._condition.forget()
            why = f"no window with a score for {silent_s:.0f} s: {self._why or 'sound is missing in each'}"
            yield Finding(self.name, "not_listening", "alarm", self._valid_s, why)

    def _finding(self, window: Window) -> Finding:
        """The level of the scores has changed; on its way up it has a reason."""
        since_s, reason = self._condition.since / self._rate, None
        if self.level != "normal":
            reason = explain(window.heard.mel, window.heard.sound, self.machine)
        return Finding(self.name, "anomaly", self.level, since_s, "", window.score, reason)
