"""One unbroken stretch of capture: what a child tells -> blocks at the model's rate, and where they lie in time."""

from collections.abc import Iterator, Sequence

import numpy as np

from edge_runtime.capture import Block, wire
from edge_runtime.capture.clock import SampleClock
from edge_runtime.features import Floats
from edge_runtime.sound import Resampler


class Hearing:
    """From `Opened` to the failure."""

    def __init__(self, opened: wire.Opened, sample_rate: int, channels: Sequence[int]) -> None:
        self.opened, self.clock = opened, SampleClock(opened.rate)
        self._channels = list(channels)
        self._resampler = Resampler(opened.rate, sample_rate, len(channels))

    def fits(self, sound: wire.Sound) -> bool:
        """Whether it holds as many samples as it says."""
        return len(sound.samples) == 4 * sound.frames * self.opened.channels

    def blocks(self, sound: wire.Sound) -> Iterator[Block]:
        """The sound of a message; where some was lost before it, first what was still inside."""
        vanished = self.clock.heard(sound.frames, sound.at_s, sound.lost)
        lost = self._resampler.scaled(sound.lost + vanished)
        if lost:
            yield Block(self.rest(), sound.at_s)
        frames = np.frombuffer(sound.samples, np.float32).reshape(sound.frames, self.opened.channels)
        yield Block(self._resampler.push(np.ascontiguousarray(frames[:, self._channels])), sound.at_s, lost)

    def rest(self) -> Floats:
        """[n, channels] that were still inside."""
        return self._resampler.flush()


class Timeline:
    """What was given, sound and losses, against the monotonic clock: together they are the time that has passed.

    The sound card's clock drifts; that much the sum may differ, and a loss is never made longer or shorter by it.
    """

    def __init__(self, sample_rate: int, began_s: float) -> None:
        self.slipped_s = 0.0  # by which the sound has fallen behind through drift
        self._rate, self._began, self._given = sample_rate, began_s, 0

    def begin(self, at_s: float) -> None:
        """The first sample sounded then."""
        self._began = at_s

    def missing(self, at_s: float, samples: int = 0) -> int:
        """Samples that were neither given nor lost before `at_s`, when the last of `samples` more sounded."""
        return max(0, round((at_s - self._began - self.slipped_s) * self._rate) - self._given - samples)

    def give(self, block: Block) -> Block:
        """Count a block."""
        self._given += len(block.samples) + block.lost
        return block
