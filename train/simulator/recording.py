"""A long recording of a simulated machine, with a fault that begins at a known second."""

import math
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import msgspec
import numpy as np
import soundfile

from edge_runtime.cli import new_path, say
from edge_runtime.config import load_json, save_json
from edge_runtime.errors import ConfigError, DataError
from train.simulator.clip import Simulated
from train.simulator.conditions import operating_points, stream_conditions
from train.simulator.dataset import Simulation
from train.simulator.draw import draw_machine
from train.simulator.faults import draw_fault
from train.simulator.kinds import kind_named
from train.simulator.motion import RATE
from train.simulator.synth import stream


class Recording(msgspec.Struct, frozen=True):
    """What is known of a simulated recording; written beside it as JSON."""

    file: str
    machine: str  # kind
    section: str
    machine_seed: int
    seed: int
    domain: str
    attributes: str  # the setting under which the machine runs
    seconds: float
    fault: str | None
    severity: float | None  # dB, power of the fault relative to the machine where it acts
    fault_at: float | None  # seconds from the beginning
    clipped: int  # samples beyond full scale


def machine_like(folder: str | Path, section: str = "00") -> Simulated:
    """The machine of a simulated data set: `folder` is OUT/dev_data/<machine>."""
    folder = Path(folder).resolve()
    made = folder.parent.parent / "simulation.json"
    if not made.is_file():
        raise DataError(f"--like {folder}: no {made}; give OUT/dev_data/<machine> of a set that simulate.py wrote")
    machines = load_json(made, Simulation).machines
    for machine in machines:
        if (machine.machine, machine.section) == (folder.name, section):
            return machine
    known = ", ".join(f"{machine.machine} {machine.section}" for machine in machines)
    raise DataError(f"--like {folder} --section {section}: {made} has {known}")


def write_stream(
    file: str | Path,
    machine: Simulated,
    seconds: float = 600.0,
    fault_at: float | None = None,
    fault: str | None = None,
    severity_db: float = 3.0,
    seed: int = 0,
    domain: str = "source",
) -> Recording:
    """Write a recording (16-bit WAV) and what is known of it (JSON beside it).

    fault_at: second at which the fault begins, None for a machine that stays sound; fault: the kind's first if None.
    """
    file = new_path(file, "--stream")
    note = new_path(file.with_suffix(".json"), "--stream")
    _check(file, seconds, fault_at, seed)
    drawn, kind = draw_machine(machine.machine, machine.seed), kind_named(machine.machine)
    name = None if fault_at is None else fault or kind.faults[0]
    wrong = draw_fault(drawn, name, severity_db) if name else None
    point = operating_points(drawn)[domain][0]
    key = (crc32(b"stream"), crc32(machine.machine.encode()), machine.seed)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
    sound = stream(drawn, stream_conditions(drawn, point, rng), rng, wrong, fault_at or 0.0)
    clipped = _write(file, sound, round(seconds * RATE))
    recording = Recording(
        file=file.name,
        machine=machine.machine,
        section=machine.section,
        machine_seed=machine.seed,
        seed=seed,
        domain=domain,
        attributes="_".join(f"{key}_{value}" for key, value in point.attributes().items()),
        seconds=seconds,
        fault=name,
        severity=severity_db if name else None,
        fault_at=fault_at,
        clipped=clipped,
    )
    save_json(note, recording)
    return recording


def _check(file: Path, seconds: float, fault_at: float | None, seed: int) -> None:
    if file.suffix.lower() != ".wav":
        raise ConfigError(f"--stream {file}: wanted a name that ends in .wav")
    if not (math.isfinite(seconds) and 0.1 <= seconds <= 86_400):
        raise ConfigError(f"--seconds {seconds:g}: wanted 0.1 to 86400 seconds")
    if fault_at is not None and not 0 <= fault_at < seconds:
        raise ConfigError(f"--fault-at {fault_at:g}: wanted a second of the recording, 0 to {seconds:g}")
    if seed < 0:
        raise ConfigError(f"--seed {seed}: wanted 0 or more")


def _write(file: Path, blocks: Iterator[np.ndarray], samples: int) -> int:
    """Write the first samples under a temporary name, then rename; returns how many were beyond full scale."""
    partial, left, clipped = file.with_name(f".{file.name}.partial"), samples, 0
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with soundfile.SoundFile(partial, "w", RATE, 1, "PCM_16", format="WAV") as out:
            while left:
                block = next(blocks)[:left]
                clipped += int(np.count_nonzero(np.abs(block) >= 1))
                out.write(block)
                left -= len(block)
        partial.rename(file)
    except (OSError, soundfile.SoundFileError) as error:
        raise ConfigError(f"--stream {file}: {error}; give a path that can be written") from None
    finally:
        partial.unlink(missing_ok=True)
    if clipped:
        say(f"simulate: {clipped} samples beyond full scale were cut")
    return clipped
