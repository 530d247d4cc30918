"""The lines of a rotating part: amplitudes and phases at whole orders of its rate, read from a wavetable by phase."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.fft import irfft

from train.simulator.motion import Turns

MAX_ORDER = 1024


@dataclass(frozen=True, eq=False)
class Lines:
    """Orders of a shaft: [MAX_ORDER + 1] complex amplitudes, order 0 unused."""

    amplitudes: np.ndarray

    def __add__(self, other: "Lines") -> "Lines":
        return Lines(self.amplitudes + other.amplitudes)


def no_lines() -> np.ndarray:
    """[MAX_ORDER + 1] complex zeros to put lines into."""
    return np.zeros(MAX_ORDER + 1, np.complex128)


def lines_of(strengths: Sequence[float] | np.ndarray, rng: np.random.Generator) -> Lines:
    """The first orders with given strengths and random phases."""
    amplitudes = no_lines()
    amplitudes[1 : len(strengths) + 1] = np.asarray(strengths) * _phases(rng, len(strengths))
    return Lines(amplitudes)


def shaft_series(rng: np.random.Generator) -> Lines:
    """Harmonics that fall as k^-0.3 to k^-2.5, each off by 5 dB (standard deviation)."""
    orders = np.arange(1, MAX_ORDER + 1)
    fall, last = rng.uniform(0.3, 2.5), int(rng.integers(6, 120))
    strength = orders**-fall * 10 ** (rng.normal(0, 5, MAX_ORDER) / 20) * (orders <= last)
    amplitudes = no_lines()
    amplitudes[1:] = strength * _phases(rng, MAX_ORDER)
    return Lines(amplitudes)


def passes(rng: np.random.Generator, per_turn: int) -> Lines:
    """Blades, vanes or pistons: harmonics of the passing rate with weak sidebands at the shaft's rate."""
    amplitudes = no_lines()
    boost, fall = 10 ** (rng.uniform(0, 20) / 20), rng.uniform(0.5, 2.0)
    for harmonic in range(1, min(12, MAX_ORDER // per_turn) + 1):
        strength = boost * harmonic**-fall * 10 ** (rng.normal(0, 3) / 20)
        _with_sidebands(rng, amplitudes, harmonic * per_turn, strength, pairs=1, down_db=(15, 30))
    return Lines(amplitudes)


def mesh(rng: np.random.Generator, teeth: int, carrier: bool) -> Lines:
    """A gear mesh: harmonics of teeth times the shaft's rate with sidebands at the shaft's rate.

    Two meshing shafts share the carrier's frequency: only one of them carries it, both have sidebands.
    """
    amplitudes = no_lines()
    boost, fall = 10 ** (rng.uniform(0, 15) / 20), rng.uniform(0.4, 1.6)
    for harmonic in range(1, min(5, MAX_ORDER // teeth) + 1):
        strength = boost * harmonic**-fall * 10 ** (rng.normal(0, 3) / 20)
        pairs = int(rng.integers(1, 5))
        _with_sidebands(rng, amplitudes, harmonic * teeth, strength, pairs, (8, 25), carrier)
    return Lines(amplitudes)


def once_per_turn(rng: np.random.Generator, carrier_order: int, width: float, harmonics: int = 3) -> Lines:
    """A carrier and its harmonics that sound at one angle of the revolution only (a broken tooth, a bent blade).

    width: standard deviation of the angle, in revolutions; carrier_order 0 gives a bare pulse.
    """
    size = 4 * MAX_ORDER
    angle = np.arange(size) / size - 0.5
    pulse = np.exp(-0.5 * (angle / width) ** 2)
    carriers = [c * carrier_order for c in range(1, harmonics + 1)] if carrier_order else [0]
    wave = sum(np.cos(2 * np.pi * (c * angle + rng.random())) / (1 + n) for n, c in enumerate(carriers))
    amplitudes = 2 * np.fft.rfft(pulse * wave)[: MAX_ORDER + 1] / size
    amplitudes[0] = 0.0
    return Lines(amplitudes)


@lru_cache(maxsize=64)
def wavetable(lines: Lines, last: int) -> np.ndarray:
    """[size] float32, one revolution of the orders up to `last`; the size a power of two for `read`.

    Reading without interpolation errs by at most half an entry: -43 dB re the highest order, far less for lower ones.
    """
    size = 1 << min(17, max(12, int(np.ceil(np.log2(256 * last)))))
    spectrum = np.zeros(size // 2 + 1, np.complex64)
    spectrum[1 : last + 1] = lines.amplitudes[1 : last + 1]
    return irfft(spectrum, size) * np.float32(size / 2)


def last_order(highest: float) -> int:
    """The highest order to keep, rounded down in steps of 5 % so that similar speeds share a table."""
    steps = np.floor(np.log(max(highest, 1.0)) / np.log(1.05))
    return max(1, min(MAX_ORDER, int(1.05**steps)))


def read(table: np.ndarray, turns: Turns, ratio: float = 1.0, start: float = 0.0) -> np.ndarray:
    """[size] one period -> [samples] float32, `ratio` periods per revolution from the phase `start`."""
    size = len(table)
    starts = (turns.starts[:-1] * ratio + start) % 1.0 * size
    place = turns.inside * np.float32(ratio * size)
    place += starts.astype(np.float32)[:, None]
    index = place.astype(np.int32)
    index &= size - 1
    return table.take(index).ravel()


def _with_sidebands(
    rng: np.random.Generator,
    amplitudes: np.ndarray,
    order: int,
    strength: float,
    pairs: int,
    down_db: tuple[float, float],
    carrier: bool = True,
) -> None:
    if carrier:
        amplitudes[order] += strength * _phases(rng, 1)[0]
    down = rng.uniform(*down_db)
    for offset in range(1, pairs + 1):
        for side in (order - offset, order + offset):
            if 0 < side <= MAX_ORDER:
                drop = 10 ** (-(down + 4 * (offset - 1) + rng.normal(0, 3)) / 20)
                amplitudes[side] += strength * drop * _phases(rng, 1)[0]


def _phases(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.exp(2j * np.pi * rng.random(count))
