"""One clip of a simulated data set: what to make, how, and what is known of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import msgspec
import numpy as np
import soundfile

from train.simulator.conditions import draw_conditions, operating_points
from train.simulator.draw import draw_machine
from train.simulator.faults import Fault, draw_fault
from train.simulator.machine import Machine
from train.simulator.motion import RATE
from train.simulator.setting import Conditions, OperatingPoint
from train.simulator.synth import apart, render

_FAULT_VARIANTS = 4  # a fault of one name differs from clip to clip in this many ways


class Simulated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One machine of the data set: `draw_machine(machine, seed)` makes it again."""

    machine: str  # its kind
    section: str  # "00"
    seed: int


@dataclass(frozen=True)
class Job:
    """One clip to make; everything random in it comes from `key`."""

    machine: Simulated
    split: str
    domain: str
    label: str
    index: int
    seconds: float
    key: int  # the data set's seed
    fault: str = ""
    severity_db: float = 0.0

    def rng(self) -> np.random.Generator:
        """A generator of this clip's own, whatever is made before or beside it."""
        words = (self.machine.machine, self.machine.section, self.split, self.domain, self.label)
        return np.random.default_rng(np.random.SeedSequence(self.key, spawn_key=(*_numbers(words), self.index)))


@dataclass(frozen=True)
class Truth:
    """One row of truth.csv."""

    file_name: str  # relative to dev_data
    machine: str
    section: str
    split: str
    domain: str
    label: str
    fault: str  # "" for a normal clip
    severity_db: str  # power of the fault relative to the machine where it acts (`faults.py`); "" for a normal clip
    shaft_hz: float
    load: float
    background_db: float  # relative to the machine
    gain_db: float
    attributes: str  # "rpm_1480_load_50_noise_A"


def make_clip(job: Job, root: Path) -> Truth:
    """Render one clip and write it."""
    machine, point, conditions, fault, rng = _drawn(job)
    sound = render(machine, conditions, job.seconds, rng, fault)
    attributes = "_".join(f"{key}_{value}" for key, value in point.attributes().items())
    name = f"section_{job.machine.section}_{job.domain}_{job.split}_{job.label}_{job.index:04d}_{attributes}.wav"
    soundfile.write(folder_of(root, job) / name, sound, RATE, subtype="PCM_16")
    return Truth(
        file_name=f"{job.machine.machine}/{job.split}/{name}",
        machine=job.machine.machine,
        section=job.machine.section,
        split=job.split,
        domain=job.domain,
        label=job.label,
        fault=job.fault,
        severity_db=f"{job.severity_db:g}" if job.fault else "",
        shaft_hz=round(conditions.shaft_hz, 4),
        load=round(conditions.load, 4),
        background_db=round(conditions.background_db, 2),
        gain_db=round(conditions.gain_db, 2),
        attributes=attributes,
    )


def layers(job: Job) -> tuple[np.ndarray, np.ndarray]:
    """An anomalous clip again, before any gain: [samples] without its fault, [samples] of the fault alone."""
    machine, _, conditions, fault, rng = _drawn(job)
    assert fault is not None, f"{job}: no fault"
    return apart(machine, conditions, job.seconds, rng, fault)


def _drawn(job: Job) -> tuple[Machine, OperatingPoint, Conditions, Fault | None, np.random.Generator]:
    """What a clip is rendered from; the generator is then the sound's own."""
    machine, rng = draw_machine(job.machine.machine, job.machine.seed), job.rng()
    points = operating_points(machine)[job.domain]
    point = points[job.index % len(points)]
    conditions = draw_conditions(machine, point, rng)
    variant = int(rng.integers(_FAULT_VARIANTS))
    fault = draw_fault(machine, job.fault, job.severity_db, variant) if job.fault else None
    return machine, point, conditions, fault, rng


def folder_of(root: Path, job: Job) -> Path:
    """Where a clip goes."""
    return root / "dev_data" / job.machine.machine / job.split


def _numbers(words: Iterable[str]) -> tuple[int, ...]:
    return tuple(crc32(word.encode()) for word in words)
