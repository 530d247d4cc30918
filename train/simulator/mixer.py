"""Voices to sound: every voice through its filter by overlap-add, in blocks of any size with the same result."""

from collections.abc import Sequence

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from train.simulator.motion import STEP, Stretch
from train.simulator.responses import TAPS
from train.simulator.voices import Voice

BLOCK = 448 * STEP  # samples (3.6 s) made at a time: with a filter's tail, one FFT of 65,536


class Mixer:
    """Adds the voices, each through its filter."""

    def __init__(self, voices: Sequence[Voice], block: int):
        """block: samples, a multiple of STEP."""
        self.voices, self.block = voices, block
        self.size = next_fast_len(block + TAPS, real=True)
        self.filters = np.stack([voice.filter.spectrum(self.size) for voice in voices])
        self.tail = np.zeros(TAPS, np.float32)

    def next(self, stretch: Stretch) -> np.ndarray:
        """[block] float32."""
        sounds = np.stack([voice.block(stretch) for voice in self.voices])
        spectra = rfft(sounds, self.size)  # [voices, bins]: together they take half the time
        spectra *= self.filters
        sound = irfft(spectra.sum(axis=0), self.size)[: self.block + TAPS]
        sound[:TAPS] += self.tail
        self.tail = sound[self.block :].copy()
        return sound[: self.block]
