"""How a machine moves through time: smooth wander at a control rate, phase by integration, block after block.

Every process draws its random numbers in the order of time and keeps its state, so the sound does not depend on the
size of the blocks in which it is made.
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from train.simulator.setting import Conditions

RATE = 16_000  # samples per second
STEP = 128  # samples between control points (8 ms)
_REST = 0.3  # speed between two movements: the drive hums on
_RAMP = np.arange(STEP, dtype=np.float32) / STEP


class Wander:
    """A smooth random process of mean 0: two equal one-pole filters on white noise, stationary from the start."""

    def __init__(self, deviation: float, time_s: float, rng: np.random.Generator, limit: float = np.inf):
        """deviation: standard deviation; time_s: time constant; limit: most deviations from 0."""
        a = float(np.exp(-STEP / RATE / time_s))
        variance = (1 + a * a) / (1 - a * a) ** 3  # of the filters' output for white noise of variance 1
        near = 2 * a / (1 + a * a)  # correlation of neighbours
        self.rng, self.poles = rng, [1.0, -2 * a, a * a]
        self.gain, self.most = deviation / np.sqrt(variance), limit * deviation if deviation else 0.0
        before, self.last = (
            np.sqrt(variance) * np.array([[near, np.sqrt(1 - near**2)], [1, 0]]) @ rng.standard_normal(2)
        )
        self.state = np.array([2 * a * self.last - a * a * before, -a * a * self.last])

    def next(self, points: int) -> np.ndarray:
        """[points + 1] values: the last of the previous block, then `points` new ones."""
        new, self.state = lfilter([1.0], self.poles, self.rng.standard_normal(points), zi=self.state)
        values = np.concatenate([[self.last], new])
        self.last = values[-1]
        return np.clip(self.gain * values, -self.most, self.most)


@dataclass(frozen=True)
class Turns:
    """The phase of something that turns, over one block: exact at control points, a parabola between them."""

    starts: np.ndarray  # [points + 1] float64 revolutions since the beginning
    inside: np.ndarray  # [points, STEP] float32 revolutions since the last control point


class Rotation:
    """Something that turns at a rate that may wander."""

    def __init__(self, hz: float, start: float):
        self.hz, self.phase = hz, start

    def next(self, speed: np.ndarray) -> Turns:
        """[points + 1] speed relative to `hz` -> the turns of the block."""
        rate = self.hz * speed * (STEP / RATE)  # revolutions per control step
        starts = self.phase + np.concatenate([[0.0], np.cumsum((rate[:-1] + rate[1:]) / 2)])
        self.phase = float(starts[-1])
        inside = ((rate[1:] - rate[:-1]) / 2).astype(np.float32)[:, None] * _RAMP
        inside += rate[:-1].astype(np.float32)[:, None]
        inside *= _RAMP
        return Turns(starts, inside)


@dataclass(frozen=True)
class Stretch:
    """What every voice needs to know about one block."""

    turns: Turns  # of the main shaft
    speed: np.ndarray  # [points + 1] relative to the machine's nominal speed
    load: np.ndarray  # [points + 1] relative to half load
    start: int  # first sample's index since the beginning

    @property
    def points(self) -> int:
        """Control steps in the block."""
        return len(self.speed) - 1

    @property
    def samples(self) -> int:
        """Samples in the block."""
        return self.points * STEP


class Motion:
    """Speed and load of one machine under one set of conditions."""

    def __init__(self, nominal_hz: float, cycle_s: float, conditions: Conditions, rng: np.random.Generator):
        c, children = conditions, rng.spawn(4)
        self.speed = [Wander(c.drift, 1.5, children[0]), Wander(c.speed_wander, c.wander_s, children[1], limit=2)]
        self.load = [Wander(0.06, 2.0, children[2]), Wander(c.load_wander, c.wander_s, children[3], limit=2)]
        self.ratio, self.level = c.shaft_hz / nominal_hz, c.load
        self.main = Rotation(nominal_hz, rng.random())
        self.cycle_s, self.cycle_start = cycle_s, rng.random()
        self.samples = 0

    def next(self, samples: int) -> Stretch:
        """The next block; `samples` is a multiple of STEP."""
        points = samples // STEP
        drift, swell = _sum(self.speed, points), _sum(self.load, points)
        speed = self.ratio * np.exp(drift) * self._cycle(points)
        load = self.level - 0.5 + swell
        stretch = Stretch(self.main.next(speed), speed, load, self.samples)
        self.samples += samples
        return stretch

    def _cycle(self, points: int) -> np.ndarray:
        """To and fro: a trapezoid of speed with a rest at either end."""
        if not self.cycle_s:
            return np.ones(points + 1)
        seconds = (self.samples + STEP * np.arange(points + 1)) / RATE
        half = (2 * (seconds / self.cycle_s + self.cycle_start)) % 1.0  # one way
        return np.clip(7 * np.minimum(half, 0.85 - half), _REST, 1.0)


def _sum(wanders: list[Wander], points: int) -> np.ndarray:
    return np.sum([wander.next(points) for wander in wanders], axis=0)


def expand(control: np.ndarray) -> np.ndarray:
    """[points + 1] values at control points -> [points * STEP] float32, linear between them."""
    control = control.astype(np.float32)
    audio = (control[1:] - control[:-1])[:, None] * _RAMP
    audio += control[:-1, None]
    return audio.ravel()
