"""Score the test clips of a data set with trained runs, beside what needs no network.

    python train/evaluate.py RUN [RUN ...] --data DATA
    python train/evaluate.py RUN --data DATA --out DIR --json

References and thresholds are fitted on the normal training clips with the network in torch, as calib/fit.py does for
a bundle. Writes the official CSV files (calib/metrics.py reads them) into RUN/scores, or DIR/<name of the run>, and
prints for every machine AUC per domain, pAUC and the year's official score in percent: of each run, of the detector
without a network (the time mean of the log-mel) and of loudness alone. A network that does not beat these two has
learned nothing.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

if __package__ in (None, ""):  # run by path: the repository root, not this folder, comes first
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import msgspec
import numpy as np

from calib import detectors, metrics, official
from calib.clips import Clip, check, index, select
from calib.collect import collect
from calib.fit import of_known_types, training_clips
from calib.machines import fit_machines, score_clips
from calib.truth import Section
from edge_runtime.backends import Several, open_backend
from edge_runtime.cli import new_path, parser, run_command, say
from edge_runtime.errors import DataError
from train.backend import open_torch
from train.run_folder import Run, load_run

NETWORK = "network"
BESIDE = {"without a network": detectors.DEFAULT, "loudness alone": detectors.LOUDNESS}


class Row(msgspec.Struct, frozen=True):
    """One line of the table: ratios between 0 and 1."""

    machine: str
    system: str
    auc: dict[str, float]  # by domain, "" for both
    pauc: float
    official: float
    low: float  # 95 % interval of the official score
    high: float


def evaluate(run: Run, name: str, data: Path, out: Path) -> list[Row]:
    """Fit every machine that the run may judge, write the official files, and compare."""
    train, test = clips_of(run, name, data)
    say(f"{name}: {len(train)} training and {len(test)} test clips")
    hears = {system: open_backend(None, detectors.model(detector)) for system, detector in BESIDE.items()}
    backend = Several({NETWORK: open_torch(run.network, run.model), **hears})
    model = detectors.hearing(run.model, BESIDE.values())
    normal, found = (collect(clips, model, backend, progress=True) for clips in (train, test))
    scorings = {system: detectors.load(detector).scoring for system, detector in BESIDE.items()}
    machines = {
        system: fit_machines(normal.part(system), scoring, classes=run.model.classes)
        for system, scoring in {NETWORK: run.model.scoring, **scorings}.items()
    }
    rows: list[Row] = []
    for machine in found.machines:
        own = found.machine(machine)
        scores = {system: score_clips(own.part(system), known[machine]) for system, known in machines.items()}
        write(out, own.clips, scores[NETWORK], machines[NETWORK][machine].threshold)
        rows += compare(own.clips, {name if system == NETWORK else system: of for system, of in scores.items()})
    return rows


def clips_of(run: Run, name: str, data: Path) -> tuple[list[Clip], list[Clip]]:
    """Training and test clips of the machines that a run may judge, checked."""
    test = select(index(data), split="test")
    if not test:
        raise DataError(f"{data}: no test clips, which {name} could be judged by")
    test = of_known_types(test, run.model, data)
    check(test)
    return training_clips(data, sorted({clip.machine for clip in test})), test


def write(out: Path, clips: Sequence[Clip], scores: np.ndarray, threshold: float) -> None:
    """The official score and decision files of one machine."""
    out.mkdir(parents=True, exist_ok=True)
    names = [_official_name(clip) for clip in clips]
    for kind, values in ((official.SCORES, scores), (official.DECISIONS, scores > threshold)):
        file = out / official.file_name(kind, clips[0].machine_type, clips[0].section)
        official.write_scores(file, zip(names, values, strict=True))


def compare(clips: Sequence[Clip], scores: dict[str, np.ndarray]) -> Iterable[Row]:
    """Clips of one machine and their scores by system -> a row each; none where a label or a domain is lacking."""
    year = 2023 if all(clip.domain for clip in clips) else 2020
    for system, values in scores.items():
        section = section_of(clips, values)
        try:
            report = metrics.evaluate([section], year)
        except DataError as error:
            say(f"no figures: {error}")
            return
        assert report.interval is not None
        figures = {(one.name, one.domain): one.value for one in report.figures if one.value is not None}
        yield Row(
            machine=clips[0].machine,
            system=system,
            auc={domain: value for (figure, domain), value in figures.items() if figure == "AUC"},
            pauc=figures["pAUC", ""],
            official=report.official_score,
            low=report.interval.low,
            high=report.interval.high,
        )


def section_of(clips: Sequence[Clip], scores: np.ndarray) -> Section:
    """Test clips of one machine and their scores, as calib/metrics.py judges them."""
    return Section(
        machine_type=clips[0].machine_type,
        section=clips[0].section,
        names=[clip.name for clip in clips],
        labels=np.array([clip.label == "anomaly" for clip in clips], np.int64),
        domains=np.array([clip.domain or "" for clip in clips]),
        scores=scores,
        decisions=None,
    )


def table(rows: Sequence[Row]) -> str:
    """The rows in percent, and each system's mean over machines."""
    lines = [f"{'machine':24}{'system':24}{'AUC source':>11}{'target':>8}{'pAUC':>8}{'official [95 %]':>24}"]
    for row in rows:
        source = row.auc.get("source", row.auc.get("", np.nan))
        target = f"{100 * row.auc['target']:.2f}" if "target" in row.auc else "-"
        interval = f"{100 * row.official:.2f} [{100 * row.low:.1f}, {100 * row.high:.1f}]"
        lines.append(
            f"{row.machine:24}{row.system:24}{100 * source:11.2f}{target:>8}{100 * row.pauc:8.2f}{interval:>24}"
        )
    return "\n".join(lines)


def _official_name(clip: Clip) -> str:
    """A clip of a plain folder says its label by its folder's name."""
    return clip.name if clip.section else f"{clip.path.parent.name}/{clip.name}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    arguments = parser(__doc__)
    arguments.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder of train/run.py")
    arguments.add_argument("--data", type=Path, required=True, help="data set with test clips")
    arguments.add_argument("--out", type=Path, help="folder for the official files (default: RUN/scores)")
    arguments.add_argument("--json", action="store_true", help="the table as JSON, ratios between 0 and 1")
    options = arguments.parse_args(argv)
    out = options.out and new_path(options.out)
    rows: list[Row] = []
    for folder in options.runs:
        name = folder.resolve().name
        rows += evaluate(load_run(folder), name, options.data, out / name if out else folder / "scores")
    print(msgspec.json.format(msgspec.json.encode(rows)).decode() if options.json else table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
