"""Sound of one machine -> a score every hop."""

from collections.abc import Iterator

import msgspec
import numpy as np

from edge_runtime import quality
from edge_runtime.backends import Backend
from edge_runtime.bundle import Model
from edge_runtime.features import Floats
from edge_runtime.quality import Quality
from edge_runtime.scoring import Machine, score
from edge_runtime.stages import UNMEASURED, Stages
from edge_runtime.stream import WindowStream


class Window(msgspec.Struct, frozen=True):
    """One window, judged: its place in the recording, how fit the sound was, and its score."""

    start: int  # sample, from the start of the recording
    end: int  # sample
    quality: Quality
    score: float | None  # None: the sound is not fit to be scored
    decision: bool | None  # score > threshold


class Detector:
    """Feed it blocks of any size; call `reset` where the recording breaks off."""

    def __init__(self, model: Model, machine: Machine, backend: Backend, stages: Stages = UNMEASURED) -> None:
        self.model, self.machine, self.stages = model, machine, stages
        self._backend = backend
        self._stream = WindowStream(model.computed, model.window, model.hop)

    def reset(self) -> None:
        """A new recording begins, or samples were lost: no window may span the gap."""
        self._stream.reset()

    def push(self, block: Floats) -> Iterator[Window]:
        """[samples] float32 -> each window that they complete."""
        for start, sound, inputs in self.stages.each("features", self._stream.push(block)):
            yield self._judge(start, sound, inputs)

    def _judge(self, start: int, sound: Floats, inputs: dict[str, Floats]) -> Window:
        with self.stages("quality"):
            found = quality.judge(sound)
        value = self._score(inputs) if found.fit else None
        decision = None if value is None else value > self.machine.threshold
        return Window(start, start + self.model.window, found, value, decision)

    def _score(self, inputs: dict[str, Floats]) -> float:
        with self.stages("engine"):
            outputs = self._backend.run({name: array[np.newaxis] for name, array in inputs.items()})
        self.stages.parts(getattr(self._backend, "seconds", {}))
        with self.stages("score"):
            return float(score(outputs, self.machine)[0])
