"""Seconds, scores and frequencies -> places in a figure, and the marks on its axes."""

import math
from collections.abc import Iterable, Iterator

import msgspec

from edge_runtime.listening.events import Window
from export.page import words
from export.page.content import Spectrogram
from export.page.runs import merged
from export.page.spectrogram import height_of

TIME_STEPS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400]  # seconds
HZ = [250, 500, 1000, 2000, 4000, 8000, 16000]


class Span(msgspec.Struct, frozen=True):
    """A stretch of time: per cent of the duration, and what it means."""

    x: float
    width: float
    words: str


class Tick(msgspec.Struct, frozen=True):
    """A mark on an axis: per cent across, or pixels down."""

    at: float
    label: str
    fine: bool = False  # left out where there is little room


class Across:
    """Seconds -> per cent of the duration."""

    def __init__(self, seconds: float) -> None:
        self.seconds = max(seconds, 1e-9)

    def __call__(self, second: float) -> float:
        """A moment."""
        return round(100.0 * min(max(second / self.seconds, 0.0), 1.0), 3)

    def span(self, start: float, end: float, said: str) -> Span:
        """A stretch, with its name."""
        return Span(self(start), round(self(end) - self(start), 3), said)

    def runs(self, found: Iterable[tuple[float, float, Window]], said: str, causes: bool = True) -> Iterator[Span]:
        """Neighbouring cells as one span, named with the faults of their windows."""
        found = list(found)
        for start, end in merged((a, b) for a, b, _ in found):
            kinds = sorted({fault for a, _, window in found if start <= a <= end for fault in window.faults})
            reason = f": {', '.join(kinds)}" if causes and kinds else ""
            yield self.span(start, end, f"{said}{reason}, {words.clock(start, 1)} to {words.clock(end, 1)}")


class Down:
    """A score -> pixels from the top of the plot."""

    def __init__(self, low: float, high: float, height: int, logarithmic: bool) -> None:
        self._height = height
        self._map = math.log10 if logarithmic else float
        self._logarithmic = logarithmic
        low, high = self._map(low), self._map(high)
        margin = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
        self._low, self._high = low - margin, high + margin

    def __call__(self, score: float) -> float:
        """A score."""
        return round(self._height * (self._high - self._map(score)) / (self._high - self._low), 2)

    def ticks(self) -> list[Tick]:
        """Round scores, few enough to be read."""
        if self._logarithmic:
            powers = range(math.floor(self._low), math.ceil(self._high) + 1)
            between = (1, 2, 5) if self._high - self._low < 3 else (1,)
            marks = [m * 10.0**power for power in powers for m in between]
        else:
            step = round_step((self._high - self._low) / 5)
            marks = [i * step for i in range(math.ceil(self._low / step), math.floor(self._high / step) + 1)]
        return [Tick(self(m), f"{m:.6g}") for m in marks if self._low <= self._map(m) <= self._high]


def round_step(least: float) -> float:
    """1, 2, 2.5 or 5 times a power of ten, of the least at least."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * power >= least)


def time_ticks(seconds: float) -> list[Tick]:
    """At most six labelled marks on a narrow screen, and the finer ones of a wide one."""
    days = TIME_STEPS[-1] * math.ceil(seconds / TIME_STEPS[-1] / 6)
    coarse = next((step for step in TIME_STEPS if seconds / step <= 6), days)
    fine = min((step for step in TIME_STEPS if coarse % step == 0 and seconds / step <= 13), default=coarse)
    across = Across(seconds)
    long = coarse >= 60 or seconds > 180
    marks = [i * fine for i in range(math.floor(seconds / fine) + 1)] if seconds > 0 else [0]
    return [Tick(across(mark), _mark(mark, long), mark % coarse != 0) for mark in marks]


def _mark(seconds: int, long: bool) -> str:
    if not long:
        return f"{seconds}"
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"


def hz_ticks(sound: Spectrogram, height: int) -> list[Tick]:
    """Octaves on the mel axis of a picture of that height."""
    top = float(sound.hz[-1]) * 1.03
    labels = {hz: f"{hz}" if hz < 1000 else f"{hz // 1000}k" for hz in HZ if hz <= top}
    return [Tick(round(height * (1 - height_of(hz, sound.hz)), 1), label) for hz, label in labels.items()]
