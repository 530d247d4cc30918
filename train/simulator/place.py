"""The place behind a machine: its noise, the machines next door, and now and then something that falls."""

from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

import numpy as np

from train.simulator.draw import draw_mode
from train.simulator.lines import Lines, passes, shaft_series
from train.simulator.machine import Machine, Mode, Response
from train.simulator.motion import RATE, Stretch
from train.simulator.responses import Filter, microphone, reverberation, ringing, tilt, unit_lines, unit_power
from train.simulator.voices import Free, Noise, Source, Voice


@dataclass(frozen=True)
class Place:
    """What makes one place's background sound like itself."""

    tilt_db: float  # of the noise, per octave
    noise_modes: tuple[Mode, ...]
    floor_db: float  # the microphone's own noise at 1 kHz, relative to the background
    unrest_db: float  # of the noise's level
    neighbours_hz: tuple[float, ...]  # shaft rates of the machines next door
    neighbours_db: tuple[float, ...]  # relative to the noise
    bangs_per_s: float
    bang_db: float  # energy of one, relative to a second of the noise
    seed: int


def draw_place(machine: Machine, name: str) -> Place:
    """The place of a machine that a name stands for."""
    seed = [machine.seed, crc32(machine.kind.encode()), crc32(name.encode())]
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 3))
    return Place(
        tilt_db=float(rng.uniform(-9, -2)),
        noise_modes=tuple(draw_mode(rng, (100, 5000), (1, 6), (2, 10)) for _ in range(4)),
        floor_db=float(rng.uniform(-45, -25)),
        unrest_db=float(rng.uniform(0.3, 1.5)),
        neighbours_hz=tuple(float(hz) for hz in rng.uniform(10, 60, count)),
        neighbours_db=tuple(float(db) for db in rng.uniform(-12, 0, count)),
        bangs_per_s=float(rng.uniform(0.002, 0.08)),
        bang_db=float(rng.uniform(-12, 0)),
        seed=int(rng.integers(2**31)),
    )


class Bangs:
    """Something falls or is struck, at random times (Poisson); one has the energy of a second at power 1."""

    def __init__(self, per_s: float, level_db: float, rng: np.random.Generator):
        """level_db: energy of one, relative to that."""
        self.per_s, self.level_db, self.rng = per_s, level_db, rng
        self.due_s = self._wait()

    def block(self, stretch: Stretch) -> np.ndarray:
        """[samples] float32."""
        out = np.zeros(stretch.samples, np.float32)
        while self.due_s * RATE < stretch.start + stretch.samples:
            out[int(self.due_s * RATE) - stretch.start] += 10 ** ((self.level_db + 4 * self.rng.standard_normal()) / 20)
            self.due_s += self._wait()
        return out

    def _wait(self) -> float:
        return float(self.rng.exponential(1 / self.per_s))


@dataclass(frozen=True)
class Surroundings:
    """A place made ready to sound."""

    place: Place
    hall: Filter  # for the noise
    distant: Filter  # for what comes from further away
    neighbours: tuple[Lines, ...]


@lru_cache(maxsize=32)
def surroundings(machine: Machine, name: str) -> Surroundings:
    """The place of a machine that a name stands for, ready to sound."""
    place, mic = draw_place(machine, name), microphone(machine.room)
    rng = np.random.default_rng(place.seed)
    noise = tilt(place.tilt_db) * ringing(place.noise_modes) * reverberation(machine.room, 1, wet_db=0.0)
    hall = (np.abs(noise) + 10 ** (place.floor_db / 20)) * mic
    modes = tuple(draw_mode(rng, (100, 3000), (3, 30), (3, 15)) for _ in range(4))
    distant = unit_power(ringing(modes) * tilt(-3.0) * reverberation(machine.room, 2, wet_db=6.0) * mic, rate=1.0)
    neighbours = tuple(
        unit_lines(shaft_series(rng) + passes(rng, int(rng.integers(3, 12))), hz, distant) for hz in place.neighbours_hz
    )
    return Surroundings(place, Filter(unit_power(hall)), Filter(distant), neighbours)


def place_voices(machine: Machine, name: str, level_db: float, rng: np.random.Generator) -> list[Voice]:
    """The background of one clip: noise always, each machine next door in two clips of three, bangs when they fall."""
    around = surroundings(machine, name)
    place, children = around.place, rng.spawn(4)
    distant: list[Source] = [Bangs(place.bangs_per_s, level_db + place.bang_db, children[0])]
    for lines, hz, down_db, child in zip(
        around.neighbours, place.neighbours_hz, place.neighbours_db, children[1:3], strict=False
    ):
        if child.random() < 2 / 3:
            distant.append(Free(lines, hz, 0.004, _steady(level_db + down_db, 1.0), child))
    hall = Noise(_steady(level_db, place.unrest_db), children[3])
    return [Voice([hall], around.hall), Voice(distant, around.distant)]


def _steady(level_db: float, unrest_db: float) -> Response:
    """A level that speed and load of the machine do not move."""
    return Response(level_db, 0.0, 0.0, unrest_db, 1.0)
