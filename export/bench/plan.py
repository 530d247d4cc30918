"""A request -> the clips that judge, the jobs to do, and what cannot be done with a word why."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from calib import detectors
from calib.clips import Clip
from calib.fit import training_clips
from edge_runtime import features
from edge_runtime.bundle import sha256
from edge_runtime.errors import AuscultError, ConfigError, DataError
from edge_runtime.features import LogMel
from edge_runtime.scoring import Probability, parts
from export.bench import ablations, registry
from export.bench.trial import Trial, digest, identity, trial
from export.demo import window_frames
from train import checks
from train.models.base import Config
from train.settings import system_of

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("edge_runtime", "calib", "train", "export")
UNTOLD = ("scoring", "poolings", "hop_frames")  # settings that no training depends on


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a benchmark is asked."""

    data: Path
    out: Path
    systems: list[str]
    train_data: Path | None = None  # None: data
    runs: Path | None = None  # None: OUT/runs
    seeds: int = 1
    changes: list[str] = []  # KEY=VALUE, or NAME:KEY=VALUE
    ablations: list[str] = []  # NAME:KEY=VALUE, each one more row
    window_frames: int | None = None  # None: the smaller of 311 and the shortest clip
    target_clips: int | None = None  # per machine, of its references; None: all there are
    int8: str = "first"  # seeds that are quantized: first, all, none
    jobs: int = 1  # processes


@dataclass(frozen=True)
class Part:
    """One network of a system: of all machine types, or of one."""

    machine_type: str | None
    folder: Path  # of its run


@dataclass(frozen=True)
class Job:
    """A system with a seed, or all detectors; done where its file has the same key."""

    name: str
    seed: int
    keys: dict[str, str]  # what is scored -> key of everything that the scores depend on
    frames: int  # of a window
    int8: bool = False
    map: bool = False
    config: Config | None = None  # of a system
    parts: list[Part] = field(default_factory=list)
    train_data: Path = Path()


@dataclass(frozen=True)
class Plan:
    """Everything that is known before the first job."""

    request: Request
    trial: Trial
    frames: int
    jobs: list[Job]
    configs: dict[str, Config]  # of systems and of their ablations
    ablations: dict[str, str]  # row -> the system whose part is off
    missing: dict[str, str]  # system -> what the clips lack, in words


def plan(request: Request) -> Plan:
    """Look at the clips and lay out the work; nothing is trained yet."""
    found = trial(request.data, request.target_clips)
    train = training_clips(request.train_data or request.data)  # all of them, whatever is fitted and judged
    frames = _frames(request.window_frames, [*train, *found.train, *found.test])
    _check_changes(request)
    jobs, configs, missing = [_detectors(found, frames)], {}, {}
    hop = min(features.HOP_FRAMES, frames)
    changes = [f"training.workers={_workers(request.jobs)}", f"window_frames={frames}", f"hop_frames={hop}"]
    changes += request.changes
    ablated = ablations.read(request.ablations, request.systems)
    wholes = [ablations.Ablation(name, name, []) for name in request.systems]
    for name, system, own in [*wholes, *ablated]:
        configs[name] = _load(system, [*changes, *(f"{system}:{change}" for change in own)])
        if own and _scored(configs[name]) == _scored(configs[system]):
            raise ConfigError(f"--ablate {name}: changes nothing that {system} is not already; leave it out")
        if own and (same := [n for n, c in configs.items() if n != name and _scored(c) == _scored(configs[name])]):
            raise ConfigError(f"--ablate {name}: the same as {same[0]}; leave one of them out")
        if reason := _missing(name, configs[name], train, request.train_data or request.data, found):
            missing[name] = reason
            continue
        jobs += [_system(name, configs[name], seed, request, train, found) for seed in range(request.seeds)]
    return Plan(request, found, frames, jobs, configs, {one.name: one.system for one in ablated}, missing)


def _frames(asked: int | None, clips: list[Clip]) -> int:
    longest = window_frames(clips)
    if asked is None:
        return longest
    if not 5 <= asked <= longest:
        seconds = features.samples_of(asked, LogMel()) / features.SAMPLE_RATE
        raise ConfigError(f"--window-frames {asked}: {seconds:.2f} s; give 5 to {longest}, which the clips hold")
    return asked


def _workers(jobs: int) -> int:
    """Processes that compute features, for each job: the cores that the jobs leave."""
    return max(0, len(os.sched_getaffinity(0)) // jobs - 1)


def _check_changes(request: Request) -> None:
    for change in request.changes:
        name, key = registry.split(change)
        if key.startswith("training.seed"):
            raise ConfigError(f"--set {change}: --seeds N trains seeds 0 to N-1")
        if name and name not in request.systems:
            raise ConfigError(f"--set {change}: {name} is not benchmarked; there is {', '.join(request.systems)}")


def _load(name: str, changes: Sequence[str]) -> Config:
    try:
        return registry.load(name, changes)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}; --set NAME:KEY=VALUE changes one system alone") from None


def _missing(name: str, config: Config, train: list[Clip], root: Path, found: Trial) -> str:
    """What stands in the way of training and judging a system; empty where nothing."""
    types = sorted({clip.machine_type for clip in found.test})
    try:
        for machine_type in types if config.one_machine_type else (None,):
            if not _of_type(train, machine_type):
                raise DataError(f"no training clips of {machine_type}, and one {name} knows one machine type alone")
            own, clips = _for_type(config, machine_type), _heard(train, machine_type, config)
            if lack := checks.lacking(own, clips):
                return f"needs {lack}"
            if lack := own.unavailable():
                return lack
            checks.trainable(name, own, clips, str(root))
        registry.model(name, config, classes=2)
    except AuscultError as error:
        return str(error)
    unheard = sorted({clip.machine for clip in found.test} - {clip.machine for clip in train})
    if unheard and any(isinstance(part, Probability) for part in parts(config.scoring)):
        return f"classes of {', '.join(unheard[:3])}, which the network was not trained on; choose another scoring"
    return ""


def _of_type(clips: list[Clip], machine_type: str | None) -> list[Clip]:
    return [clip for clip in clips if machine_type in (None, clip.machine_type)]


def _for_type(config: Config, machine_type: str | None) -> Config:
    return config if machine_type is None else config.for_type(machine_type)


def _heard(clips: list[Clip], machine_type: str | None, config: Config) -> list[Clip]:
    """What a network is trained on: clips of its type, and of the others where they are its outliers."""
    return clips if config.outliers else _of_type(clips, machine_type)


def _system(name: str, base: Config, seed: int, request: Request, train: list[Clip], found: Trial) -> Job:
    config = msgspec.structs.replace(base, training=msgspec.structs.replace(base.training, seed=seed))
    runs = request.runs or request.out / "runs"
    types = sorted({clip.machine_type for clip in found.test}) if config.one_machine_type else [None]
    networks = []
    for machine_type in types:
        key = digest(_told(_for_type(config, machine_type)), identity(_heard(train, machine_type, config)))
        own = "-".join([system_of(config), *([machine_type] if machine_type else []), f"seed{seed}", key])
        networks.append(Part(machine_type, runs / own))
    int8 = request.int8 == "all" or (request.int8 == "first" and seed == 0)
    scored = digest([part.folder.name for part in networks], config.scoring, config.poolings, config.hop, int8)
    return Job(
        name=name,
        seed=seed,
        keys={name: digest(scored, _judged(found))},
        frames=config.window_frames,
        int8=int8,
        map=seed == 0,
        config=config,
        parts=networks,
        train_data=request.train_data or request.data,
    )


def _told(config: Config) -> dict[str, object]:
    """The settings that a training depends on; one left as it is by default is not told.

    So a network stays the same when a setting is added that was not there when it was trained.
    """
    told = {name: value for name, value in _changed(config).items() if name not in UNTOLD}
    told["training"] = {name: v for name, v in _changed(config.training).items() if name not in checks.FREE}
    outside = {"outside": digest_} if (digest_ := config.outside()) else {}
    return {"system": system_of(config), **outside, **told}


def _scored(config: Config) -> tuple[object, ...]:
    """The settings that scores depend on."""
    return _told(config), config.scoring, config.poolings, config.hop


def _changed(settings: msgspec.Struct) -> dict[str, object]:
    own, default = (msgspec.structs.asdict(one) for one in (settings, type(settings)()))
    return {name: msgspec.to_builtins(value) for name, value in own.items() if value != default[name]}


def _detectors(found: Trial, frames: int) -> Job:
    judged = _judged(found)
    keys = {name: digest(detectors.load(name), frames, judged) for name in detectors.names()}
    return Job(name="detectors without a network", seed=0, keys=keys, frames=frames, map=True)


def _judged(found: Trial) -> str:
    """What all scores depend on: the clips and the code."""
    return digest(identity(found.train), identity(found.test), _code())


def _code() -> str:
    """Every source and setting of the rooms, whatever was committed of it."""
    files = sorted(file for room in ROOMS for kind in ("*.py", "*.yaml") for file in (ROOT / room).rglob(kind))
    return digest([(str(file.relative_to(ROOT)), sha256(file)) for file in files])
