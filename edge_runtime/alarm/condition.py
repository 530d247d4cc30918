"""Scores of single windows -> the level of a machine, in stream time; pure, no clock and no I/O."""

from collections import deque
from typing import TYPE_CHECKING

from edge_runtime.alarm.settings import AlarmSettings, LevelSettings
from edge_runtime.alarm.words import RANK, Level
from edge_runtime.errors import ConfigError

if TYPE_CHECKING:  # who asks for states alone needs no NumPy
    from edge_runtime.scoring import Machine


class Condition:
    """normal, warning or alarm: the highest level that is active.

    A level begins after on_delay_s with at least k of the last n scored windows above its threshold, and ends after
    off_delay_s with fewer than k of the last n above threshold - deadband. Each window decides, once; a decision
    against what the level is starts a count, a decision for it ends the count. Of n windows that are not there yet
    none is taken for above or below: until n - k + 1 are known to be below, an active level goes on.

    Time counts where it was heard: the stretch up to a window with a score counts, the stretch up to one without (None:
    silence, a gap, the start of another recording) does not. So a window without a score neither confirms nor clears
    anything, it only pauses.
    """

    def __init__(self, settings: AlarmSettings, machine: "Machine", sample_rate: int, level: Level = "normal") -> None:
        """`level`: where it was before a restart; what no setting gives any more ends at the first score."""
        wanted: dict[Level, LevelSettings | None] = {"alarm": settings.alarm, "warning": settings.warning}
        self._levels = {
            name: _Level(one, begins(one, machine), _width(one, machine), sample_rate, RANK[level] >= RANK[name])
            for name, one in wanted.items()
            if one is not None
        }
        if "warning" in self._levels and self._levels["warning"].above > self._levels["alarm"].above:
            raise ConfigError(
                f"{machine.name}: warning at {self._levels['warning'].above:g}, above alarm at "
                f"{self._levels['alarm'].above:g}; give a lower threshold or margin to the warning"
            )
        self.level: Level = level
        self.since = 0  # sample at which what led to this level began
        self._last = 0  # sample of the last update

    def update(self, at: int, score: float | None) -> Level:
        """The score at that sample of the stream; samples never go back. NaN is no score."""
        heard, self._last = at - self._last, at
        if score is None or score != score:
            return self.level
        for one in self._levels.values():
            one.update(at, heard, score)
        now: Level = next((name for name, one in self._levels.items() if one.active), "normal")
        if now != self.level:
            self.since = self._began(now, at)
            self.level = now
        return now

    def forget(self) -> None:
        """Begin counting anew, as after a long gap; an active level stays."""
        for one in self._levels.values():
            one.forget()

    def _began(self, now: Level, at: int) -> int:
        """Going up, what raised the new level; going down, what ended the one before."""
        told = self._levels.get(now if RANK[now] > RANK[self.level] else self.level)
        return at if told is None else told.since


def begins(settings: LevelSettings, machine: "Machine") -> float:
    """The score above which a window counts for a level."""
    if settings.threshold is not None:
        return settings.threshold
    return machine.threshold + _width_of(settings.margin - 1.0, "margin", machine)


def _width(settings: LevelSettings, machine: "Machine") -> float:
    return _width_of(settings.deadband, "deadband", machine)


def _width_of(margin: float, name: str, machine: "Machine") -> float:
    """A distance in margins -> in the unit of the score; nothing is asked of the machine where there is none."""
    if margin == 0.0:
        return 0.0
    import numpy as np

    middle = float(np.median(machine.scores)) if len(machine.scores) else float("nan")
    unit = machine.threshold - middle
    if not 0.0 < unit < float("inf"):
        raise ConfigError(
            f"{machine.name}: {name}: its threshold {machine.threshold:g} is not above the median of its normal scores "
            f"({middle:g}), so a margin has no unit; give the level a threshold and no deadband"
        )
    return margin * unit


class _Level:
    """One level: a decision per window, and a count of what was heard since decisions went against its state."""

    def __init__(self, settings: LevelSettings, above: float, width: float, rate: int, active: bool) -> None:
        self.above, self.active = above, active
        self.since = 0  # sample of the first decision behind the last change
        self._ends = above - width
        self._k, self._of = settings.k, settings.of
        self._delays = {False: round(settings.on_delay_s * rate), True: round(settings.off_delay_s * rate)}
        self._scores: deque[float] = deque(maxlen=settings.of)
        self._began: int | None = None  # sample at which the count began
        self._held = 0  # samples counted

    def update(self, at: int, heard: int, score: float) -> None:
        self._scores.append(score)
        if self._wanted() == self.active:
            self._began = None
            return
        if self._began is None:
            self._began, self._held = at, 0
        else:
            self._held += heard
        if self._held >= self._delays[self.active]:
            self.since, self._began, self.active = self._began, None, not self.active

    def forget(self) -> None:
        self._scores.clear()
        self._began = None

    def _wanted(self) -> bool:
        """What this window decides: should the level be active?"""
        if self.active:
            return sum(score <= self._ends for score in self._scores) <= self._of - self._k
        return sum(score > self.above for score in self._scores) >= self._k
