"""An event that goes on, at its place in the stream of samples, and what of it is to be written."""

import re
from collections.abc import Iterable

import msgspec
import numpy as np

from edge_runtime.alarm.words import Level
from edge_runtime.features import SAMPLE_RATE, Floats
from edge_runtime.reason import Reason, nearest_number
from edge_runtime.recorder import event
from edge_runtime.recorder.draft import Draft
from edge_runtime.recorder.event import Event, EventWindow, State
from edge_runtime.recorder.memory import Memory
from edge_runtime.recorder.settings import RecorderSettings
from edge_runtime.scoring import Machine

NAMES = 60  # characters of a machine's name in a folder's


class Watched(msgspec.Struct, frozen=True):
    """One machine of the site, as it is heard."""

    machine: Machine  # under the site's name
    known_as: str  # its name in the bundle
    threshold: float  # above which a window counts for an alarm
    microphone: str
    column: int  # of the microphone's blocks
    window: int  # samples
    hop: int
    bundle: str  # folder
    model_hash: str


class Heard(msgspec.Struct, frozen=True):
    """A window, at its place in the stream."""

    start: int
    end: int
    score: float | None
    decision: bool | None
    level_dbfs: float | None
    faults: list[str]


class Going(msgspec.Struct):
    """An event that goes on, or waits to be written. Times are samples of the stream."""

    id: str
    watched: Watched
    time: str
    clock: str
    start: int
    since: int
    alarm: int
    longest: int
    level: Level
    score: float | None
    reason: Reason
    mel: Floats  # [n_mels] dB: mean of the window that alarmed
    returned: int | None = None
    ends: int | None = None
    state: State = "open"
    due: bool = True  # to be written

    @property
    def machine(self) -> str:
        """Its name in the site file."""
        return self.watched.machine.name

    def draft(self, memory: Memory, heard: Iterable[Heard], site: str, settings: RecorderSettings) -> Draft | None:
        """All of it, as far as it was heard; None where nothing of it is left in memory."""
        start, end = max(self.start, memory.oldest), memory.at if self.ends is None else self.ends
        if end <= start:
            return None
        spectra = self.watched.machine.normal_spectra
        return Draft(
            self._manifest(start, end, memory.breaks(start, end), site, settings),
            memory.read(start, end, self.watched.column),
            [_window(one, start) for one in heard if start < one.end <= end],
            spectra[nearest_number(self.mel, spectra)],
            self.mel,
        )

    def _manifest(
        self, start: int, end: int, breaks: list[tuple[int, int]], site: str, settings: RecorderSettings
    ) -> Event:
        of, unit = self.watched, distance(self.watched.machine)
        returned = self.returned if self.returned is not None and self.returned <= end else None
        above = 0.0 if self.score is None else self.score - of.threshold
        return Event(
            format=event.FORMAT,
            id=self.id,
            site=site,
            machine=of.machine.name,
            kind="anomaly",
            level=self.level,
            state=self.state,
            time=self.time,
            clock=self.clock,
            seconds=_s(end - start),
            since_s=_s(self.since - start),
            alarm_s=_s(self.alarm - start),
            returned_s=None if returned is None else _s(returned - start),
            score=self.score,
            threshold=of.threshold,
            reason=self.reason,
            bundle=of.bundle,
            model_hash=of.model_hash,
            sample_rate=SAMPLE_RATE,
            privacy=settings.privacy,
            known_as=of.known_as,
            excess=round(max(0.0, above / unit), 4) if unit else 0.0,
            gaps=[(_s(first - start), _s(last - start)) for first, last in breaks],
        )


def folder_name(machine: str) -> str:
    """A machine's name -> one that a folder may have."""
    name = re.sub(r"[^\w.-]", "_", machine)[:NAMES]
    return name if re.match(r"\w", name) else f"_{name}"


def distance(machine: Machine) -> float | None:
    """From the median of normal scores to the threshold; None where that is no distance."""
    middle = float(np.median(machine.scores)) if len(machine.scores) else float("nan")
    unit = machine.threshold - middle
    return unit if 0.0 < unit < float("inf") else None


def _window(heard: Heard, start: int) -> EventWindow:
    place = _s(heard.start - start), _s(heard.end - start)
    return EventWindow(*place, heard.score, heard.decision, heard.level_dbfs, heard.faults)


def _s(samples: int) -> float:
    return samples / SAMPLE_RATE
