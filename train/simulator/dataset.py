"""A simulated data set in the layout of DCASE 2023 Task 2.

    OUT/dev_data/<machine>/{train,test}/section_00_source_train_normal_0000_<attributes>.wav   16-bit, 16 kHz, mono
    OUT/dev_data/<machine>/attributes_00.csv   file_name,d1p,d1v,...
    OUT/truth.csv                              what a name does not say: fault, severity, conditions
    OUT/simulation.json                        what it takes to make a machine again

The folder takes its name when everything is in it.
"""

import csv
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import fields, replace
from multiprocessing import get_context
from pathlib import Path

import msgspec

from edge_runtime.cli import new_path, say
from edge_runtime.config import load_json, save_json
from edge_runtime.errors import ConfigError
from train.simulator.clip import Job, Simulated, Truth, folder_of, make_clip
from train.simulator.kinds import kind_named

DOMAINS = ("source", "target")
DEMO = ("fan", "pump", "gearbox", "bearing")


class Simulation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a data set was made."""

    seed: int
    source: int  # training clips per machine
    target: int
    test: int  # test clips per machine, domain and label
    seconds: float
    machines: list[Simulated]


def write_dataset(
    out: str | Path,
    machines: Sequence[str] = DEMO,
    sections: int = 1,
    source: int = 100,
    target: int = 10,
    test: int = 50,
    seconds: float = 10.0,
    seed: int = 0,
    workers: int = 2,
) -> Path:
    """Simulate a data set; the files depend on everything but `workers`, bit for bit.

    source, target: training clips per machine; test: test clips per machine, domain and label.
    """
    out = new_path(out, "OUT")
    plan = _plan(machines, sections, source, target, test, seconds, seed, workers)
    with whole_or_not_at_all(out) as partial:
        jobs = [job for machine in plan.machines for job in _jobs(plan, machine)]
        for folder in {folder_of(partial, job) for job in jobs}:
            folder.mkdir(parents=True, exist_ok=True)
        truths = list(_told(_make_all(jobs, partial, workers), len(jobs)))
        for machine in plan.machines:
            _write_attributes(partial, machine, truths)
        _write_csv(
            partial / "truth.csv", [field.name for field in fields(Truth)], (vars(truth).values() for truth in truths)
        )
        save_json(partial / "simulation.json", plan)
    return out


def anomalies(root: Path) -> Iterator[tuple[Job, dict[str, str]]]:
    """Every anomaly of a data set that was written here: how to make it again, and its row of truth.csv."""
    plan = load_json(root / "simulation.json", Simulation)
    made = {(machine.machine, machine.section): machine for machine in plan.machines}
    with (root / "truth.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["label"] == "anomaly":
                number = int(row["file_name"].split("_anomaly_")[1].split("_")[0])
                words = (row["split"], row["domain"], row["label"], number, plan.seconds, plan.seed, row["fault"])
                yield Job(made[row["machine"], row["section"]], *words, float(row["severity_db"])), row


def _plan(
    machines: Sequence[str],
    sections: int,
    source: int,
    target: int,
    test: int,
    seconds: float,
    seed: int,
    workers: int,
) -> Simulation:
    """The settings, checked."""
    for name in machines:
        kind_named(name)
    if len(set(machines)) != len(machines) or not machines:
        raise ConfigError(
            f"--machines {' '.join(machines)}: wanted at least one, each once; more of a kind: --sections"
        )
    least = {"--sections": (sections, 1), "--source": (source, 1), "--target": (target, 0), "--test": (test, 0)}
    for option, (value, minimum) in (least | {"--seed": (seed, 0), "--workers": (workers, 1)}).items():
        if value < minimum:
            raise ConfigError(f"{option} {value}: wanted {minimum} or more")
    if not 0.1 <= seconds <= 3600:
        raise ConfigError(f"--seconds {seconds:g}: wanted 0.1 to 3600 seconds a clip")
    if sections > 100:
        raise ConfigError(f"--sections {sections}: a name has two digits for it; wanted at most 100")
    drawn = [Simulated(name, f"{s:02d}", 100 * seed + s) for name in machines for s in range(sections)]
    return Simulation(seed, source, target, test, seconds, drawn)


def _jobs(plan: Simulation, machine: Simulated) -> Iterator[Job]:
    """Every clip of a machine; the anomalies of each domain go through all faults and severities in shuffled order."""
    for domain, train in zip(DOMAINS, (plan.source, plan.target), strict=True):
        clip = Job(machine, "train", domain, "normal", 0, plan.seconds, plan.seed)
        yield from (replace(clip, index=i) for i in range(train))
        yield from (replace(clip, split="test", index=i) for i in range(plan.test))
        kind = kind_named(machine.machine)
        wrong = [(fault, severity_db) for fault in kind.faults for severity_db in kind.severities_db]
        order = replace(clip, label="order").rng().permutation(len(wrong))
        for i in range(plan.test):
            fault, severity_db = wrong[order[i % len(wrong)]]
            yield replace(clip, split="test", label="anomaly", index=i, fault=fault, severity_db=severity_db)


def _make_all(jobs: list[Job], root: Path, workers: int) -> Iterator[Truth]:
    """The clips in order, made by several processes."""
    roots = [root] * len(jobs)
    if workers == 1:
        yield from map(make_clip, jobs, roots)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(make_clip, jobs, roots, chunksize=16)


def _told(truths: Iterable[Truth], total: int) -> Iterator[Truth]:
    """The same, with progress on stderr."""
    for count, truth in enumerate(truths, 1):
        if count % 100 == 0 or count == total:
            say(f"simulate: {count} of {total} clips")
        yield truth


def _write_attributes(root: Path, machine: Simulated, truths: list[Truth]) -> None:
    own = [t for t in truths if (t.machine, t.section) == (machine.machine, machine.section)]
    keys = own[0].attributes.split("_")[::2]
    header = ["file_name", *(f"d{i}{part}" for i in range(1, len(keys) + 1) for part in "pv")]
    rows = ([t.file_name, *t.attributes.split("_")] for t in own)
    _write_csv(root / "dev_data" / machine.machine / f"attributes_{machine.section}.csv", header, rows)


def _write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


@contextmanager
def whole_or_not_at_all(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its name at the end, or is gone."""
    partial = out.parent / f".{out.name}.{os.getpid()}.partial"
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(f"OUT {out}: {error.strerror}; give a folder that can be written") from None
    try:
        yield partial
        partial.rename(new_path(out, "OUT"))
    except BaseException:  # an interrupt too: half a data set is none
        shutil.rmtree(partial, ignore_errors=True)
        raise
