"""The sources of a machine's sound, and voices: sources with their way to the microphone."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from train.simulator.lines import Lines, last_order, read, wavetable
from train.simulator.machine import Knocks, Response
from train.simulator.motion import STEP, Rotation, Stretch, Wander, expand
from train.simulator.responses import Filter

HIGHEST_HZ = 7900.0  # no line goes beyond: nothing folds at 8 kHz
_SPEED_MARGIN = 1.1  # lines are cut for a speed this much above the condition's
_MOST_DRIFT = 0.02  # of a free tone, relative


class Source(Protocol):
    """Something that sounds."""

    def block(self, stretch: Stretch) -> np.ndarray:
        """[stretch.samples] float32, before any filter."""


@dataclass
class Voice:
    """Sources that share one way to the microphone."""

    sources: list[Source]
    filter: Filter

    def block(self, stretch: Stretch) -> np.ndarray:
        """[samples] float32, before the filter."""
        total = self.sources[0].block(stretch)
        for source in self.sources[1:]:
            total += source.block(stretch)
        return total


class Level:
    """A voice's level through time: follows speed and load, and wanders a little by itself."""

    def __init__(self, response: Response, rng: np.random.Generator):
        self.response = response
        self.unrest = Wander(response.unrest_db, response.unrest_s, rng)
        settled_db = response.level_db + response.settle_db * rng.standard_normal()
        self.mean_db = settled_db - response.unrest_db**2 * np.log(10) / 20  # power is convex in dB

    def next(self, stretch: Stretch) -> np.ndarray:
        """[points + 1] linear gain."""
        r = self.response
        level_db = self.mean_db + r.load_db * stretch.load + self.unrest.next(stretch.points)
        return 10 ** (level_db / 20) * stretch.speed**r.speed_power


class Turning:
    """Lines of a part that turns with the main shaft."""

    def __init__(self, lines: Lines, ratio: float, hz: float, response: Response, rng: np.random.Generator):
        """ratio: turns per turn of the main shaft; hz: the part's rate under the clip's conditions."""
        self.table, self.ratio = wavetable(lines, last_order(HIGHEST_HZ / (hz * _SPEED_MARGIN))), ratio
        self.start, self.level = rng.random(), Level(response, rng)

    def block(self, stretch: Stretch) -> np.ndarray:
        """[samples] float32."""
        tone = read(self.table, stretch.turns, self.ratio, self.start)
        tone *= expand(self.level.next(stretch))
        return tone


class Free:
    """Lines at a rate of their own: mains hum, whines, machines next door."""

    def __init__(self, lines: Lines, hz: float, drift: float, response: Response, rng: np.random.Generator):
        """drift: standard deviation of the rate, relative, over seconds."""
        self.table = wavetable(lines, last_order(HIGHEST_HZ / (hz * (1 + _MOST_DRIFT))))
        self.rotation, self.drift = Rotation(hz, rng.random()), Wander(drift, 3.0, rng.spawn(1)[0])
        self.level = Level(response, rng)

    def block(self, stretch: Stretch) -> np.ndarray:
        """[samples] float32."""
        drift = np.clip(self.drift.next(stretch.points), -_MOST_DRIFT, _MOST_DRIFT)
        tone = read(self.table, self.rotation.next(1 + drift))
        tone *= expand(self.level.next(stretch))
        return tone


class Noise:
    """White noise, its amplitude modulated by the rotation; its filter has unit power for white noise."""

    def __init__(
        self, response: Response, rng: np.random.Generator, order: float = 1.0, depth: float = 0.0, width: float = 0.0
    ):
        """order: swells per turn of the main shaft; depth: 0 to 1; width: of a swell, in periods (0: a cosine)."""
        self.order, self.table = order, modulation(depth, width) if depth > 0 else None
        self.start, self.level, self.rng = rng.random(), Level(response, rng.spawn(1)[0]), rng

    def block(self, stretch: Stretch) -> np.ndarray:
        """[samples] float32: uniform white noise, which the filter makes Gaussian."""
        noise = white(self.rng, stretch.samples)
        noise *= expand(self.level.next(stretch))
        if self.table is not None:
            noise *= read(self.table, stretch.turns, self.order, self.start)
        return noise


class Impulses:
    """Impulses at angles of a part's rotation; their filter has unit power for impulses at the nominal rate."""

    def __init__(self, knocks: Knocks, rng: np.random.Generator, zone: tuple[float, float] = (0.0, 0.0)):
        """zone: (order, depth) of the strength: a defect that a load zone meets now and then."""
        self.knocks, self.zone, self.rng = knocks, zone, rng
        self.level = Level(knocks.response, rng.spawn(1)[0])
        self.walk, self.angles, self.strengths = -float(rng.random()), np.empty(0), np.empty(0)
        self.spill = 0.0  # what an impulse between two blocks leaves to the next

    def block(self, stretch: Stretch) -> np.ndarray:
        """[samples] float32."""
        starts, samples = stretch.turns.starts, stretch.samples
        angles, strengths = self._until(starts[-1])
        strengths = strengths * (angles >= starts[0])  # the first train may begin before the sound
        order, depth = self.zone
        strengths *= 1 + depth * np.cos(2 * np.pi * angles * order)
        times = np.interp(angles, starts, STEP * np.arange(len(starts)))
        first = np.minimum(times.astype(int), samples - 1)
        late = strengths * (times - first)
        out = np.bincount(first, strengths - late, samples + 1) + np.bincount(first + 1, late, samples + 1)
        out[0] += self.spill
        self.spill = out[-1]
        sound = out[:-1].astype(np.float32)
        sound *= expand(self.level.next(stretch))
        return sound

    def _until(self, end: float) -> tuple[np.ndarray, np.ndarray]:
        """Angles [revolutions of the main shaft] up to `end`, and strengths; drawn 64 trains at a time."""
        while not len(self.angles) or self.angles[-1] < end:
            self._draw()
        count = int(np.searchsorted(self.angles, end))
        angles, self.angles = self.angles[:count], self.angles[count:]
        strengths, self.strengths = self.strengths[:count], self.strengths[count:]
        return angles, strengths

    def _draw(self) -> None:
        k, draws = self.knocks, self.rng.standard_normal((2, 64))
        trains = self.walk + np.cumsum(np.maximum(1 + k.slip * draws[0], 0.1))
        self.walk = float(trains[-1])
        angles = (trains[:, None] + np.asarray(k.offsets)).ravel() / k.order
        strengths = 10 ** ((k.spread_db * draws[1] - k.spread_db**2 * np.log(10) / 20) / 20)
        self.angles = np.maximum.accumulate(np.append(self.angles, angles))
        self.strengths = np.append(self.strengths, np.repeat(strengths, len(k.offsets)))


def white(rng: np.random.Generator, samples: int) -> np.ndarray:
    """[samples] float32 white noise of power 1, uniform."""
    noise = rng.random(samples, dtype=np.float32)
    noise -= np.float32(0.5)
    noise *= np.float32(np.sqrt(12))
    return noise


@lru_cache(maxsize=64)
def modulation(depth: float, width: float) -> np.ndarray:
    """[4096] float32, one period of a gain of power 1: a cosine, or one swell of a width in periods."""
    angle = np.arange(4096) / 4096 - 0.5
    swell = 2 * np.exp(-0.5 * (angle / width) ** 2) - 1 if width else np.cos(2 * np.pi * angle)
    wave = 1 + depth * swell
    return (wave / np.sqrt(np.mean(wave**2))).astype(np.float32)
