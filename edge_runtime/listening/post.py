"""A listening post: one source of sound, and the machines that are heard through it.

Keeps the post's place in time: samples since the start, lost ones included. After a gap the sound begins again on the
grid of windows, so that every window that was due is either given or counted as lost.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from edge_runtime.capture import Block, Source
from edge_runtime.detector import Detector, Window
from edge_runtime.features import Floats
from edge_runtime.listening.monitor import Monitor
from edge_runtime.saving import Saver


class Group(NamedTuple):
    """Machines of one bundle, scored in one batch: a monitor for each ear of the detector."""

    detector: Detector
    monitors: Sequence[Monitor]


class Judged(NamedTuple):
    """A window of one machine."""

    monitor: Monitor
    window: Window
    begin: int  # sample of the stream at which its recording began


class Missing(NamedTuple):
    """Sound is missing, and the gap may go on."""

    windows: int  # of all machines, that have become due in it


class Gap(NamedTuple):
    """Sound was missing."""

    began: int  # sample
    samples: int


class Began(NamedTuple):
    """Sound begins, for the first time or again."""

    at: int  # sample
    name: str


Found = Judged | Missing | Gap | Began


class Post:
    """Feed it the blocks of its source."""

    def __init__(self, name: str, source: Source, groups: Sequence[Group], saver: Saver | None = None) -> None:
        """`name`: of the microphone; `saver`: keeps the sound of the first ear of the first group."""
        self.name, self.source, self.groups = name, source, groups
        self.sample_rate = groups[0].detector.model.sample_rate  # Hz
        self.at = 0  # the next sample
        self.lost = 0  # samples
        self._begins = [0] * len(groups)  # sample at which each group's recording began
        self._recording = source.name
        self._gap: int | None = None  # sample at which the sound ended, until it begins again
        self._saver, self._recorded_from = saver, 0

    @property
    def monitors(self) -> list[Monitor]:
        """Of all groups."""
        return [monitor for group in self.groups for monitor in group.monitors]

    @property
    def now_s(self) -> float:
        """Seconds since the start."""
        return self.at / self.sample_rate

    def take(self, block: Block) -> Iterator[Found]:
        """The next block -> what it brings, in order."""
        if block.lost:
            yield self._missing(block.lost)
        self._recording = block.new or self._recording
        if not len(block.samples):
            return
        if self._gap is not None:
            yield Gap(self._gap, self.at - self._gap)
        if block.new is not None or self._gap is not None:
            self._begin(after_gap=self._gap is not None)
            yield Began(self.at, self._recording)
        self._record(block.samples)
        self.at += len(block.samples)
        for number, group in enumerate(self.groups):
            for windows in group.detector.push(block.samples):
                for monitor, window in zip(group.monitors, windows, strict=True):
                    yield Judged(monitor, window, self._begins[number])

    def end(self) -> Iterator[Gap]:
        """No more sound comes: what is due and was not given is lost."""
        for monitor in self.monitors:
            monitor.lost(self.at)
        if self._saver is not None:
            self._saver.close()
        if self._gap is not None:
            yield Gap(self._gap, self.at - self._gap)

    def _missing(self, samples: int) -> Missing:
        self._gap = self.at if self._gap is None else self._gap
        self.at += samples
        self.lost += samples
        return Missing(sum(monitor.lost(self.at) for monitor in self.monitors))

    def _begin(self, after_gap: bool) -> None:
        """No window spans two recordings. Files follow each other without a gap, and are counted from their start."""
        self._gap = None
        for number, group in enumerate(self.groups):
            for monitor in group.monitors:
                monitor.lost(self.at)
                if not after_gap:
                    monitor.grid.anchor(self.at)
            skip = group.monitors[0].grid.ahead(self.at)
            group.detector.reset(skip)
            self._begins[number] = self.at + skip
        if self._saver is not None:
            self._saver.begin()
            self._recorded_from = self._begins[0]

    def _record(self, samples: Floats) -> None:
        """Only what windows are made of, so that the files give the same scores."""
        if self._saver is not None:
            skip = max(0, self._recorded_from - self.at)
            self._saver.write(samples[skip:, self.groups[0].detector.ears[0].channel])
