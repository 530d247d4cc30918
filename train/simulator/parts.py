"""A machine's own voices, its filters and lines made once and used for every clip."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from train.simulator.lines import Lines, lines_of
from train.simulator.machine import Machine, Whine
from train.simulator.responses import Filter, hump, paths, ringing, unit_lines, unit_power
from train.simulator.voices import Free, Impulses, Noise, Source, Turning, Voice

_HUM = (0.4, 1.0, 0.2, 0.5, 0.1, 0.3, 0.05, 0.15)  # the second harmonic of the mains is the loudest
_PEAK = 0.2  # full scale, of a usual knock: the recordist leaves room for the strongest


@dataclass(frozen=True)
class Parts:
    """A machine made ready to sound."""

    tones: Filter
    shafts: tuple[Lines, ...]
    flows: tuple[Filter, ...]
    knocks: tuple[Filter, ...]
    free: tuple[tuple[Whine, Lines], ...]  # hum and whines
    gain: float  # from power 1 to full scale; the recordist leaves room for the knocks


@lru_cache(maxsize=16)
def parts(machine: Machine) -> Parts:
    """Filters and lines of a machine, each with unit power at nominal speed."""
    m, out, rng = machine, paths(machine), np.random.default_rng([machine.seed, 3])
    rates = [m.shaft_hz * k.order * len(k.offsets) for k in m.knocks]
    rings = [ringing(k.modes, direct=0.0) * out.outside for k in m.knocks]
    free = [(m.hum, lines_of(_HUM, rng)), *((whine, lines_of([1.0], rng)) for whine in m.whines)]
    knocks = tuple(Filter(unit_power(ring, rate)) for ring, rate in zip(rings, rates, strict=True))
    peaks = [np.abs(way.taps).max() * 10 ** (k.response.level_db / 20) for way, k in zip(knocks, m.knocks, strict=True)]
    return Parts(
        tones=Filter(out.inside),
        shafts=tuple(unit_lines(s.lines, m.shaft_hz * s.ratio, out.inside) for s in m.shafts),
        flows=tuple(Filter(unit_power(hump(flow) * out.outside)) for flow in m.flows),
        knocks=knocks,
        free=tuple((tone, unit_lines(lines, tone.hz, out.inside)) for tone, lines in free),
        gain=min(10 ** (m.level_dbfs / 20), _PEAK / max([*peaks, 1e-9])),
    )


def machine_voices(machine: Machine, shaft_hz: float, rng: np.random.Generator) -> list[Voice]:
    """The machine's own sound, power about 1 at nominal speed and half load."""
    m, ready = machine, parts(machine)
    shafts, flows, knocks, free = (r.spawn(max(1, n)) for r, n in zip(rng.spawn(4), _sizes(m), strict=True))
    tones: list[Source] = [
        Turning(lines, s.ratio, shaft_hz * s.ratio, s.response, child)
        for s, lines, child in zip(m.shafts, ready.shafts, shafts, strict=True)
    ]
    tones += [Free(lines, w.hz, 0.0005, w.response, child) for (w, lines), child in zip(ready.free, free, strict=True)]
    voices = [Voice(tones, ready.tones)]
    for flow, way, child in zip(m.flows, ready.flows, flows, strict=True):
        voices.append(Voice([Noise(flow.response, child, flow.order, flow.depth)], way))
    for train, way, child in zip(m.knocks, ready.knocks, knocks, strict=False):
        voices.append(Voice([Impulses(train, child)], way))
    return voices


def _sizes(machine: Machine) -> tuple[int, int, int, int]:
    return len(machine.shafts), len(machine.flows), len(machine.knocks), 1 + len(machine.whines)
