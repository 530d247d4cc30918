"""Two clocks beside the monotonic one: the sound card's, which drifts, and the wall's, which may be wrong or jump.

A block arrives late by the way it comes (buffers, a busy machine), never early. So the lower envelope of the delays of
a period is what the two clocks disagree by, whatever bursts and load there were in between.
"""

import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timezone

import msgspec

PERIOD_S = 5.0  # seconds whose least delay counts
VANISHED_S = 0.2  # seconds that the delay of a whole period may be above that of the one before
FASTEST_PPM = 500.0  # drift that no sound card exceeds: the delay may grow by this
POINTS, ENOUGH = 720, 120  # periods that the drift is fitted to: an hour; ten minutes at least
FIRST_YEAR = 2025  # a wall clock before it was never set
JUMP_S = 2.0  # seconds


class SampleClock:
    """Counts the frames of one unbroken recording against the monotonic clock."""

    def __init__(self, rate: int) -> None:
        self.drift_ppm: float | None = None  # sound card against monotonic clock, above 0: fast; None: too early to say
        self._rate = rate
        self._points: deque[tuple[float, float]] = deque(maxlen=POINTS)  # (monotonic s, least delay s) of a period
        self._began: float | None = None
        self._frames = 0
        self._base: float | None = None  # seconds: the delay that counts as none
        self._least, self._until = float("inf"), 0.0

    @property
    def slipped_s(self) -> float:
        """Seconds by which the sound has fallen behind the monotonic clock through drift alone."""
        return self._base or 0.0

    def heard(self, frames: int, at_s: float, lost: int = 0) -> int:
        """A block whose last frame came at `at_s`, after `lost` frames -> how many more vanished without a word."""
        if lost:
            self._points.clear()
        if self._began is None:
            self._began, self._until = at_s - (frames + lost) / self._rate, at_s + PERIOD_S
        self._frames += frames + lost
        delay = at_s - self._began - self._frames / self._rate
        self._least = min(self._least, delay)
        return self._period(at_s) if at_s >= self._until else 0

    def _period(self, at_s: float) -> int:
        least, self._least = self._least, float("inf")
        self._until = at_s + PERIOD_S
        if self._base is None:
            self._base = least
        allowed = self._base + FASTEST_PPM * 1e-6 * PERIOD_S
        if least - allowed > VANISHED_S:
            vanished = round((least - self._base) * self._rate)
            self._frames += vanished
            self._points.clear()
            return vanished
        self._base = min(least, allowed)
        self._points.append((at_s, least))
        if len(self._points) >= ENOUGH:
            self.drift_ppm = -1e6 * _slope(self._points)
        return 0


def _slope(points: deque[tuple[float, float]]) -> float:
    """Of the line of least squares."""
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


class Wall(msgspec.Struct, frozen=True):
    """A moment for people and files; it changes no decision."""

    time: str  # UTC, ISO-8601, ms
    utc_s: float  # the same as seconds since 1970
    flag: str = ""  # "unset": the clock was never set; "jumped": it has been set since it was last looked at
    jump_s: float = 0.0  # seconds, forward above 0


class WallClock:
    """UTC for a monotonic instant."""

    def __init__(self, wall: Callable[[], float] = time.time, clock: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._clock = wall, clock
        self._offset = wall() - clock()  # seconds

    def at(self, monotonic_s: float) -> Wall:
        """What the wall clock of now would have shown then; a jump is told once."""
        offset = self._wall() - self._clock()
        jump, self._offset = offset - self._offset, offset
        then = datetime.fromtimestamp(monotonic_s + offset, timezone.utc)
        text = then.isoformat(timespec="milliseconds")
        if abs(jump) > JUMP_S:
            return Wall(text, monotonic_s + offset, "jumped", jump)
        return Wall(text, monotonic_s + offset, "unset" if then.year < FIRST_YEAR else "")
