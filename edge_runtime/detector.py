"""Sound of the machines that one source hears -> a score of each every hop, all in one batch."""

import math
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from edge_runtime import quality
from edge_runtime.backends import Backend
from edge_runtime.bundle import Model
from edge_runtime.errors import UnscoredError
from edge_runtime.features import Floats, LogMel
from edge_runtime.quality import Fault, Quality, QualitySettings
from edge_runtime.scoring import Machine, Outputs, score
from edge_runtime.stages import UNMEASURED, Stages
from edge_runtime.stream import WindowStream

MEL = LogMel()  # what normal sound is known by, whatever the network takes
OWN = "quality"  # the name of that input where the network has none like it


class Ear(msgspec.Struct, frozen=True):
    """A machine, and where it is heard."""

    machine: Machine
    channel: int = 0  # column of the blocks
    limits: QualitySettings = QualitySettings()


class Heard(msgspec.Struct, frozen=True):
    """What a window was judged by; views that are true until the next window is asked for."""

    sound: Floats  # [window]
    mel: Floats  # [frames, n_mels] dB


class Window(msgspec.Struct, frozen=True):
    """One window of one machine, judged: its place in the recording, how fit the sound was, and its score."""

    start: int  # sample, from the start of the recording
    end: int  # sample
    quality: Quality
    score: float | None  # None: the sound is not fit to be scored, or the network failed
    decision: bool | None  # score > threshold
    heard: Heard


class Detector:
    """Feed it blocks of any size; call `reset` where the recording breaks off."""

    def __init__(self, model: Model, backend: Backend, ears: Sequence[Ear], stages: Stages = UNMEASURED) -> None:
        self.model, self.ears, self.stages = model, ears, stages
        self._backend = backend
        self._mel = next((name for name, spec in model.computed.items() if spec == MEL), OWN)
        specs = model.computed if self._mel in model.computed else {**model.computed, OWN: MEL}
        self._streams = {ear.channel: WindowStream(specs, model.window, model.hop) for ear in ears}
        self._rows = {channel: row for row, channel in enumerate(self._streams)}

    def reset(self, skip: int = 0) -> None:
        """Another recording begins `skip` samples from here: no window may span the gap."""
        for stream in self._streams.values():
            stream.reset(skip)

    def push(self, block: Floats) -> Iterator[list[Window]]:
        """[samples, channels] float32 -> each window that they complete, of every ear."""
        pushed = [stream.push(block[:, channel]) for channel, stream in self._streams.items()]
        windows = zip(*pushed, strict=True)  # strict: each is asked to its end, so that all take the whole block
        for ready in self.stages.each("features", windows):
            start, inputs = ready[0][0], [inputs for _, _, inputs in ready]
            heard = [Heard(sound, given[self._mel]) for _, sound, given in ready]
            yield self._judge(start, heard, inputs)

    def _judge(self, start: int, heard: list[Heard], inputs: list[dict[str, Floats]]) -> list[Window]:
        """Of each channel what was heard and the network's inputs -> the window of every ear."""
        with self.stages("quality"):
            means = [one.mel.mean(axis=0) for one in heard]
            found = [self._quality(ear, heard, means) for ear in self.ears]
        fit = sorted({self._rows[ear.channel] for ear, one in zip(self.ears, found, strict=True) if one.fit})
        outputs, failure = self._outputs([inputs[row] for row in fit]) if fit else ({}, "")
        windows = []
        with self.stages("score"):
            for ear, judged in zip(self.ears, found, strict=True):
                row = self._rows[ear.channel]
                if judged.fit and failure:
                    judged = _failed(judged, failure)
                value = self._score(outputs, fit.index(row), ear.machine) if judged.fit else None
                if value is not None and not math.isfinite(value):  # above no threshold, and would look like health
                    judged, value = _failed(judged, "a score that is no number"), None
                decision = None if value is None else value > ear.machine.threshold
                windows.append(Window(start, start + self.model.window, judged, value, decision, heard[row]))
        return windows

    def _quality(self, ear: Ear, heard: list[Heard], means: list[Floats]) -> Quality:
        row = self._rows[ear.channel]
        return quality.judge(heard[row].sound, means[row], ear.machine, ear.limits)

    def _outputs(self, inputs: list[dict[str, Floats]]) -> tuple[Outputs, str]:
        """Of each fit channel the inputs -> the network's outputs, or why there are none."""
        batch = {name: np.stack([one[name] for one in inputs]) for name in self.model.computed}
        with self.stages("engine"):
            try:
                outputs = self._backend.run(batch)
            except UnscoredError as error:
                return {}, str(error)
        self.stages.parts(getattr(self._backend, "seconds", {}))
        return outputs, ""

    def _score(self, outputs: Outputs, row: int, machine: Machine) -> float:
        return float(score({name: array[row : row + 1] for name, array in outputs.items()}, machine)[0])


def _failed(found: Quality, words: str) -> Quality:
    """The sound may be fit; there is no score of it."""
    return msgspec.structs.replace(found, found=[*found.found, Fault("network", True, words)])
