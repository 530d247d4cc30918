"""The last minutes of sound of one microphone, in memory: 16 bits a sample, every sample at its place in the stream."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from edge_runtime.features import Floats

Samples = NDArray[np.int16]
FULL = 32_768.0  # what 1.0 is in 16 bits
BREAKS = 4096  # that are remembered


def in_16_bits(sound: Floats) -> Samples:
    """float32 in [-1, 1] -> 16 bits; exact where it came from 16 bits. What is no number becomes silence."""
    sound = np.nan_to_num(sound, nan=0.0, posinf=1.0, neginf=-1.0)
    samples: Samples = np.clip(np.rint(sound * np.float32(FULL)), -FULL, FULL - 1).astype(np.int16)
    return samples


def in_float(sound: Samples) -> Floats:
    """16 bits -> float32 in [-1, 1)."""
    return sound.astype(np.float32) / np.float32(FULL)


class Memory:
    """A ring of `size` samples of each channel. Lost sound is silence here, and its place is known."""

    def __init__(self, size: int, channels: int) -> None:
        self.at = 0  # the next sample of the stream
        self.oldest = 0  # the first that is still here
        self._ring: Samples = np.zeros((size, channels), np.int16)
        self._breaks: deque[tuple[int, int]] = deque(maxlen=BREAKS)  # (first sample, the one after the last)

    def push(self, at: int, samples: Floats, new: bool = False) -> None:
        """[n, channels] float32, whose first sample is at that place of the stream; `new`: a recording begins."""
        if at > self.at or (new and at):
            self._broken(self.at, max(self.at, at))
            self._write(np.zeros((min(at - self.at, len(self._ring)), self._ring.shape[1]), np.int16), at)
        self._write(in_16_bits(samples), self.at + len(samples))
        while self._breaks and self._breaks[0][1] < self.oldest:
            self._breaks.popleft()

    def read(self, start: int, end: int, channel: int) -> Samples:
        """[end - start] of one channel, a copy; both within `oldest` and `at`."""
        size = len(self._ring)
        first, last = start % size, start % size + end - start
        if last <= size:
            return self._ring[first:last, channel].copy()
        return np.concatenate([self._ring[first:, channel], self._ring[: last - size, channel]])

    def breaks(self, start: int, end: int) -> list[tuple[int, int]]:
        """Where sound is missing between two samples, and, as (x, x), where another recording begins."""
        return [(max(a, start), min(b, end)) for a, b in self._breaks if b >= start and a < end]

    def _broken(self, start: int, end: int) -> None:
        """Lost blocks come one by one: what follows a gap at once belongs to it."""
        if self._breaks and self._breaks[-1][1] == start:
            start = self._breaks.pop()[0]
        self._breaks.append((start, end))

    def _write(self, rows: Samples, end: int) -> None:
        """The last of them end at `end`."""
        size = len(self._ring)
        rows = rows[-size:]
        first = (end - len(rows)) % size
        head = min(len(rows), size - first)
        self._ring[first : first + head] = rows[:head]
        self._ring[: len(rows) - head] = rows[head:]
        self.at = end
        self.oldest = max(self.oldest, end - size)
