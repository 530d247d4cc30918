"""One draw of a machine from the wide ranges of its kind."""

from functools import lru_cache
from zlib import crc32

import numpy as np

from train.simulator.kinds import Kind, Range, kind_named
from train.simulator.lines import mesh, passes, shaft_series
from train.simulator.machine import Bearing, Flow, Knocks, Machine, Mode, Response, Room, Shaft, Whine


@lru_cache(maxsize=32)
def draw_machine(kind: str, seed: int) -> Machine:
    """The machine of a kind that a seed (not negative) stands for; the same on every computer."""
    ranges = kind_named(kind)
    rng = np.random.default_rng([crc32(kind.encode()), seed])
    shaft_hz = _log(rng, *ranges.shaft_hz)
    per_turn = int(rng.integers(ranges.passes[0], ranges.passes[1] + 1))
    shafts, teeth = _draw_shafts(rng, ranges, per_turn)
    return Machine(
        kind=kind,
        seed=seed,
        shaft_hz=shaft_hz,
        shafts=shafts,
        teeth=teeth,
        flows=_draw_flows(rng, ranges, per_turn),
        knocks=tuple(_draw_knocks(rng, ranges, per_turn) for _ in range(_count(rng, ranges.knocks))),
        whines=tuple(_draw_whine(rng) for _ in range(_count(rng, ranges.whines))),
        hum=Whine(float(rng.choice([50.0, 60.0])), _draw_response(rng, ranges.hum_db, speed_power=0.0)),
        body=tuple(draw_mode(rng, (80, 7000), (4, 120), (3, 25)) for _ in range(int(rng.integers(4, 13)))),
        bearing=Bearing(int(rng.integers(7, 17)), float(rng.uniform(0.15, 0.3))),
        room=draw_room(rng),
        cycle_s=_log(rng, *ranges.cycle_s) if ranges.cycle_s else 0.0,
        speed_spread=_log(rng, 0.003, 0.04),
        drift=_log(rng, 0.001, 0.012),
        load_spread=float(rng.uniform(0.06, 0.17)),
        background_db=float(rng.uniform(-26, -5)),
        level_dbfs=float(rng.uniform(-41, -32)),
    )


def draw_mode(rng: np.random.Generator, hz: Range, quality: Range, gain_db: Range) -> Mode:
    """A resonance; its time constant is kept below 0.06 s, so that low ones are broader."""
    centre = _log(rng, *hz)
    return Mode(centre, min(_log(rng, *quality), 0.06 * np.pi * centre), float(rng.uniform(*gain_db)))


def draw_room(rng: np.random.Generator) -> Room:
    """A room of 30 to 500 ms with a microphone in it."""
    return Room(
        decay_s=_log(rng, 0.03, 0.5),
        wet_db=float(rng.uniform(-20, -3)),
        mic_cut_hz=_log(rng, 20, 120),
        mic_db=tuple(float(gain) for gain in rng.normal(0, 2.0, 12)),
        seed=int(rng.integers(2**31)),
    )


def _draw_shafts(rng: np.random.Generator, ranges: Kind, per_turn: int) -> tuple[tuple[Shaft, ...], int]:
    """The shafts, and the teeth of the main one; meshing shafts turn by the ratio of their teeth."""
    count, shafts, ratio = _count(rng, ranges.shafts), [], 1.0
    teeth = driver = int(rng.integers(12, 71)) if ranges.geared else 0
    level_db = rng.uniform(*ranges.tones_db) - 10 * np.log10(count)
    for index in range(count):
        lines = shaft_series(rng)
        if per_turn and index == 0:
            lines = lines + passes(rng, per_turn)
        if driver:
            lines = lines + mesh(rng, driver, carrier=index == 0)
        shafts.append(Shaft(ratio, lines, _draw_response(rng, (level_db - 4, level_db + 2), (1.0, 2.5))))
        follower = int(rng.integers(7, 71))
        ratio *= driver / follower if driver else _log(rng, 0.2, 3.0)
        driver = follower if driver else 0
    return tuple(shafts), teeth


def _draw_flows(rng: np.random.Generator, ranges: Kind, per_turn: int) -> tuple[Flow, ...]:
    """Rumble, rush and hiss: each with a hump of its own and its own way to follow speed and load."""
    spans = ((60.0, 300.0), (300.0, 1800.0), (1800.0, 6500.0))
    rush, hiss = rng.uniform(-16, 0), rng.uniform(-45, -8)
    flows = []
    for span, level_db in zip(spans, (0.0, rush, hiss), strict=True):
        resonances = tuple(draw_mode(rng, (100, 7500), (4, 60), (2, 12)) for _ in range(int(rng.integers(1, 5))))
        depth = float(rng.uniform(*ranges.pulsation))
        slopes = (float(rng.uniform(3, 14)), float(rng.uniform(3, 17)))
        response = _draw_response(rng, (level_db - 2, level_db + 2), (1.0, 3.0))
        flows.append(Flow(_log(rng, *span), slopes, resonances, depth, max(per_turn, 1), response))
    return tuple(flows)


def _draw_knocks(rng: np.random.Generator, ranges: Kind, per_turn: int) -> Knocks:
    modes = tuple(draw_mode(rng, (400, 6500), (4, 40), (0, 15)) for _ in range(2))
    offsets = (0.0, *sorted(float(o) for o in rng.uniform(0.1, 0.9, int(rng.integers(0, 2)))))
    order = 1.0 if ranges.cycle_s or rng.random() < 0.5 else float(max(per_turn, 1))
    response = _draw_response(rng, ranges.knocks_db, (0.5, 2.0))
    return Knocks(order, offsets, _log(rng, 0.001, 0.03), float(rng.uniform(0.5, 4)), modes, response)


def _draw_whine(rng: np.random.Generator) -> Whine:
    return Whine(_log(rng, 800, 7000), _draw_response(rng, (-40, -12), speed_power=0.0))


def _draw_response(
    rng: np.random.Generator, level_db: Range, powers: Range = (0.0, 0.0), speed_power: float | None = None
) -> Response:
    power = float(rng.uniform(*powers)) if speed_power is None else speed_power
    return Response(
        level_db=float(rng.uniform(*level_db)),
        load_db=float(rng.normal(3, 6)),
        speed_power=power,
        unrest_db=float(rng.gamma(1.5, 0.9)),
        unrest_s=_log(rng, 0.1, 4.0),
        settle_db=float(rng.uniform(0.3, 1.5)),
    )


def _count(rng: np.random.Generator, bounds: tuple[int, int]) -> int:
    return int(rng.integers(bounds[0], bounds[1] + 1))


def _log(rng: np.random.Generator, low: float, high: float) -> float:
    """Log-uniform between two bounds."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
