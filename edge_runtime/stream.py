"""Sound in blocks of any size -> the inputs of one window every hop.

Samples and frames are kept in rings that are stored twice, so that the last window is always one contiguous slice
and each frame is computed once, when its last sample arrives.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from edge_runtime import features
from edge_runtime.features import Floats, Framed, Spec


class Ring:
    """The last `size` rows of a stream, always contiguous: each row is written at i and at i + size."""

    def __init__(self, size: int, *row: int) -> None:
        self._size = size
        self._rows: Floats = np.zeros((2 * size, *row), np.float32)
        self._next = 0

    def push(self, rows: NDArray[np.float32]) -> None:
        """Append rows; only the last `size` of them can matter."""
        rows = rows[-self._size :]
        head = min(len(rows), self._size - self._next)
        for part, at in ((rows[:head], self._next), (rows[head:], 0)):
            self._rows[at : at + len(part)] = part
            self._rows[at + self._size : at + self._size + len(part)] = part
        self._next = (self._next + len(rows)) % self._size

    def last(self) -> Floats:
        """The last `size` rows, oldest first: a view, true until the next push."""
        return self._rows[self._next : self._next + self._size]


class FrameRing:
    """The frames of one framed spec, computed as their samples arrive."""

    def __init__(self, spec: Framed, window: int) -> None:
        self._spec = spec
        self._ring = Ring(*features.shape(spec, window))
        self._pending: Floats = np.zeros(0, np.float32)

    def push(self, block: Floats) -> None:
        """Compute every frame that the block completes."""
        samples = np.concatenate([self._pending, block])
        frames = features.frames_in(len(samples), self._spec)
        if frames:
            self._ring.push(features.compute(samples, self._spec))
        self._pending = samples[frames * self._spec.step :]

    def last(self) -> Floats:
        """[frames, bins] of the window that ends here."""
        return self._ring.last()


class WindowStream:
    """Windows of one unbroken recording: the first ends at `window` samples, then one every `hop` samples."""

    def __init__(self, specs: Mapping[str, Spec], window: int, hop: int) -> None:
        self.window, self.hop = window, hop
        self._specs = dict(specs)
        self.reset()

    def reset(self, skip: int = 0) -> None:
        """Forget everything: a new recording, which begins `skip` samples from here."""
        self._skip = skip
        self.samples = 0  # samples since the start of the recording
        self._sound = Ring(self.window)
        self._frames = {
            name: FrameRing(spec, self.window)
            for name, spec in self._specs.items()
            if not isinstance(spec, features.Whole)
        }

    def push(self, block: Floats) -> Iterator[tuple[int, Floats, dict[str, Floats]]]:
        """Samples of any number -> (first sample, sound [window], inputs by name) of each window they complete.

        The arrays are views into the rings: use or copy them before asking for the next window.
        """
        skipped, block = np.split(block, [self._skip])
        self._skip -= len(skipped)
        while len(block):
            part, block = np.split(block, [self._until_next()])
            self._sound.push(part)
            for frames in self._frames.values():
                frames.push(part)
            self.samples += len(part)
            if self.samples >= self.window and (self.samples - self.window) % self.hop == 0:
                yield self.samples - self.window, self._sound.last(), self._inputs()

    def _until_next(self) -> int:
        past = self.samples - self.window
        return -past if past < 0 else self.hop - past % self.hop

    def _inputs(self) -> dict[str, Floats]:
        return {
            name: features.compute(self._sound.last(), spec)
            if isinstance(spec, features.Whole)
            else self._frames[name].last()
            for name, spec in self._specs.items()
        }


def windows(audio: Floats, specs: Mapping[str, Spec], window: int, hop: int) -> Iterator[tuple[int, dict[str, Floats]]]:
    """The same windows from a whole recording at once, for training and calibration: (first sample, inputs)."""
    for start in range(0, len(audio) - window + 1, hop):
        part = audio[start : start + window]
        yield start, {name: features.compute(part, spec) for name, spec in specs.items()}
