"""A machine under conditions, perhaps with a fault, as sound: a clip or an endless stream."""

from collections.abc import Iterator
from itertools import chain, islice
from typing import NamedTuple

import numpy as np

from train.simulator.faults import Fault, fault_voices
from train.simulator.machine import Machine
from train.simulator.mixer import BLOCK, Mixer
from train.simulator.motion import RATE, STEP, Motion
from train.simulator.parts import machine_voices, parts
from train.simulator.place import place_voices
from train.simulator.responses import LEAD
from train.simulator.setting import Conditions
from train.simulator.severity import severity

ONSET_S = 0.25  # a fault fades in over this time
_SKIP = 64 * STEP + LEAD  # samples thrown away at the beginning: the room fills for half a second
_LOUDEST = 0.95  # a clip that would be louder is recorded at a lower gain


class Layers(NamedTuple):
    """One block of what sounds together."""

    start: int  # first sample, counted from the first one that is kept
    machine: np.ndarray  # [block] float32
    place: np.ndarray
    fault: np.ndarray | None  # as if it had always been there, at no particular level


def stream(
    machine: Machine,
    conditions: Conditions,
    rng: np.random.Generator,
    fault: Fault | None = None,
    fault_at: float = 0.0,
    block: int = BLOCK,
    probe_s: float = 10.0,
) -> Iterator[np.ndarray]:
    """An endless sound of a machine, block after block of at most [block] float32 re full scale, continuous.

    fault_at: seconds until the fault begins; block: samples, a multiple of STEP; probe_s: seconds at the beginning on
    which the fault's severity is measured, as if it were there.
    """
    raw = _layers(machine, conditions, rng, fault, block)
    first = list(islice(raw, -(-(_SKIP + round(probe_s * RATE)) // block))) if fault else []
    gain = _fault_gain(first, fault.severity_db, round(probe_s * RATE)) if fault else 0.0
    scale = np.float32(parts(machine).gain * 10 ** (conditions.gain_db / 20))
    for layers in chain(first, raw):
        sound = layers.machine + layers.place
        if layers.fault is not None:
            sound += layers.fault * (gain * _fade(layers.start, block, fault_at))
        yield (sound * scale)[max(0, -layers.start) :]


def render(
    machine: Machine,
    conditions: Conditions,
    seconds: float,
    rng: np.random.Generator,
    fault: Fault | None = None,
) -> np.ndarray:
    """One clip: [seconds * 16000] float32 re full scale, the fault (if any) present throughout."""
    sound = take(stream(machine, conditions, rng, fault, probe_s=min(seconds, 10.0)), round(seconds * RATE))
    return sound * np.float32(min(1.0, _LOUDEST / max(np.abs(sound).max(), 1e-9)))


def apart(
    machine: Machine, conditions: Conditions, seconds: float, rng: np.random.Generator, fault: Fault
) -> tuple[np.ndarray, np.ndarray]:
    """What `render` adds up with the same generator, before any gain: sound without the fault, and the fault alone."""
    samples = round(seconds * RATE)
    blocks = -(-(_SKIP + max(samples, round(min(seconds, 10.0) * RATE))) // BLOCK)
    layers = list(islice(_layers(machine, conditions, rng, fault, BLOCK), blocks))
    gain = _fault_gain(layers, fault.severity_db, round(min(seconds, 10.0) * RATE))
    own = np.concatenate([part.machine + part.place for part in layers])[_SKIP:][:samples]
    alone = np.concatenate([part.fault for part in layers if part.fault is not None])[_SKIP:][:samples]
    return own, alone * np.float32(gain)


def take(blocks: Iterator[np.ndarray], samples: int) -> np.ndarray:
    """The first samples of a stream."""
    out, filled = np.empty(samples, np.float32), 0
    while filled < samples:
        part = next(blocks)[: samples - filled]
        out[filled : filled + len(part)] = part
        filled += len(part)
    return out


def _layers(
    machine: Machine, conditions: Conditions, rng: np.random.Generator, fault: Fault | None, block: int
) -> Iterator[Layers]:
    """The sound before it is added up. Every part has random numbers of its own: a fault changes nothing else."""
    moves, own, around, broken = rng.spawn(4)
    motion = Motion(machine.shaft_hz, machine.cycle_s, conditions, moves)
    machine_mixer = Mixer(machine_voices(machine, conditions.shaft_hz, own), block)
    place_mixer = Mixer(place_voices(machine, conditions.place, conditions.background_db, around), block)
    fault_mixer = Mixer(fault_voices(machine, fault, conditions.shaft_hz, broken), block) if fault else None
    while True:
        stretch = motion.next(block)
        yield Layers(
            stretch.start - _SKIP,
            machine_mixer.next(stretch),
            place_mixer.next(stretch),
            fault_mixer.next(stretch) if fault_mixer else None,
        )


def _fault_gain(first: list[Layers], severity_db: float, samples: int) -> float:
    """The factor that gives a fault its severity over the first samples that are kept."""
    machine = np.concatenate([layers.machine for layers in first])[_SKIP:][:samples]
    fault = np.concatenate([layers.fault for layers in first if layers.fault is not None])[_SKIP:][:samples]
    return 10 ** ((severity_db - severity(machine, fault)) / 20)


def _fade(start: int, block: int, fault_at: float) -> np.ndarray:
    """[block] or [1] float32: 0 before the fault, then a rise to 1; a fault at 0 is there from the first sample."""
    age = (start - fault_at * RATE) / (ONSET_S * RATE)
    if fault_at <= 0 or age >= 1:
        return np.ones(1, np.float32)
    ages = age + np.arange(block) / (ONSET_S * RATE)
    return (np.sin(np.pi / 2 * np.clip(ages, 0, 1)) ** 2).astype(np.float32)
