"""Draws of settings and of the conditions of a clip."""

from zlib import crc32

import numpy as np

from train.simulator.machine import Machine
from train.simulator.setting import Conditions, OperatingPoint


def operating_points(machine: Machine) -> dict[str, tuple[OperatingPoint, ...]]:
    """Domain -> settings: three in the source, two in the target, apart in speed, load and background."""
    rng = np.random.default_rng([crc32(b"operating points"), crc32(machine.kind.encode()), machine.seed])
    step = rng.uniform(0.04, 0.1)
    source = zip((1 - step, 1.0, 1 + step), rng.permutation([0.4, 0.5, 0.6]), strict=True)
    away = float(rng.choice([-1, 1])) * rng.uniform(0.06, 0.15)
    target = zip((1 + away * 1.5, 1 + away * 2.2), rng.permutation([0.35, 0.8]), strict=True)
    louder = rng.uniform(2, 6)
    return {
        "source": tuple(_point(machine, speed, load, "A", 0.0) for speed, load in source),
        "target": tuple(_point(machine, speed, load, "B", louder) for speed, load in target),
    }


def draw_conditions(machine: Machine, point: OperatingPoint, rng: np.random.Generator) -> Conditions:
    """The conditions of one clip recorded under a setting."""
    return Conditions(
        shaft_hz=point.shaft_hz * float(np.exp(machine.speed_spread * _normal(rng))),
        load=point.load + machine.load_spread * _normal(rng),
        gain_db=0.7 * _normal(rng),
        place=point.place,
        background_db=point.background_db + 1.5 * _normal(rng),
        drift=machine.drift * float(rng.uniform(0.3, 1.0)),
    )


def stream_conditions(machine: Machine, point: OperatingPoint, rng: np.random.Generator) -> Conditions:
    """The conditions of a long stream: centred on a setting, wandering as widely as clips differ."""
    return Conditions(
        shaft_hz=point.shaft_hz,
        load=point.load,
        gain_db=0.0,
        place=point.place,
        background_db=point.background_db,
        drift=machine.drift * float(rng.uniform(0.3, 1.0)),
        speed_wander=machine.speed_spread,
        load_wander=machine.load_spread,
    )


def _point(machine: Machine, speed: float, load: float, place: str, louder_db: float) -> OperatingPoint:
    return OperatingPoint(machine.shaft_hz * float(speed), float(load), place, machine.background_db + louder_db)


def _normal(rng: np.random.Generator) -> float:
    """Standard normal within two deviations: no clip lies far outside its setting."""
    return float(np.clip(rng.standard_normal(), -2, 2))
