"""Is the network worth it, and what did INT8 cost? Measured on test clips, which no choice was made on.

    python export/compare.py MODEL --data DATA
    python export/compare.py MODEL --data DATA --out accuracy.json

MODEL is a model folder or a bundle. AUC and pAUC of each machine and their means over machines, of
    network, INT8    what the bundle listens with: model.cpu.onnx and the folder's machines (fitted here if it has none)
    network, FP32    model.onnx, with references of its own
    this detector    what the bundle listens with, where it holds another detector without a network
    no network       time mean of the log-mel, whitened, nearest references
    loudness alone   how far the level of the clip is from that of normal clips
with 95 % bootstrap intervals, and differences over the same resamples: where an interval holds 0, no difference is
shown. Spearman: rank correlation of the FP32 and INT8 scores. The file of `--out` is what export/pack.py reads.
"""

import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec
import numpy as np
from scipy.stats import spearmanr

if __package__ in (None, ""):  # run by path: the repository root, not this folder, comes first
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from calib import detectors
from calib.bootstrap import Interval
from calib.clips import Clip, check, index
from calib.collect import Collected, collect
from calib.machines import fit_machines, score_clips
from edge_runtime import bundle, config
from edge_runtime.backends import Backend, Several, open_backend
from edge_runtime.bundle import Accuracy, Model
from edge_runtime.cli import new_path, parser, run_command, say
from edge_runtime.errors import DataError
from edge_runtime.features import Doubles
from edge_runtime.scoring import Machine
from export.figures import Drawn, Figures, draw, mean

INT8, FP32, NONE, LOUDNESS = "network, INT8", "network, FP32", "no network", "loudness alone"
OWN = "this detector"  # of a folder without a network that holds another detector than the default
BESIDE = {NONE: detectors.DEFAULT, LOUDNESS: detectors.LOUDNESS}


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One machine, or the mean over machines."""

    machine: str
    train: int  # normal clips that references come from
    normal: int  # test clips
    anomalous: int
    systems: dict[str, Figures]
    int8_change: Figures | None  # INT8 less FP32; None: not both are there
    gain: Figures | None  # the network as it listens less no network
    spearman: float | None  # of FP32 and INT8 scores


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was measured, and with which files."""

    machines: list[Row]
    mean: Row
    files: dict[str, str]  # network and machines -> SHA-256

    @property
    def accuracy(self) -> dict[str, Accuracy]:
        """What a manifest says of each machine."""
        return {row.machine: _accuracy(row) for row in self.machines}


def compare(folder: Path, clips: list[Clip]) -> Comparison:
    """A model folder or bundle on the clips of a data set."""
    model, known = bundle.load_model(folder), _machines(folder)
    names = comparable(clips, known)
    chosen = [clip for clip in clips if clip.machine in names and (clip.trains or labelled(clip))]
    check(chosen)
    backends = _backends(folder, model)
    heard = collect(chosen, detectors.hearing(model, BESIDE.values()), Several(backends), progress=True)
    scores = machine_scores(heard, list(backends), model, known)
    rows, drawn = [], []
    for order, name in enumerate(names):
        own = heard.machine(name)
        labels = np.array([clip.label == "anomaly" for clip in own.clips if labelled(clip)])
        drawn.append(draw(labels, scores[name], [0, order]))
        counts = (sum(clip.trains for clip in own.clips), int(np.sum(~labels)), int(np.sum(labels)))
        rows.append(_row(name, counts, drawn[-1], _spearman(scores[name])))
    return Comparison(rows, _mean(rows, drawn), hashes(folder))


def comparable(clips: list[Clip], known: dict[str, Machine]) -> list[str]:
    """Names of the machines with two training clips at least and with test clips of both labels, all of them known."""
    train = [clip.machine for clip in clips if clip.trains]
    tested = {(clip.machine, clip.label) for clip in clips if labelled(clip)}
    both = sorted({clip.machine for clip in clips if {(clip.machine, "normal"), (clip.machine, "anomaly")} <= tested})
    names = [name for name in both if train.count(name) > 1 and (not known or name in known)]
    if not names:
        wanted = f"of {', '.join(known)}" if known else "of one machine"
        raise DataError(f"nothing to compare: wanted two training clips and labelled test clips, both kinds, {wanted}")
    if left := sorted(set(known or train) - set(names)):
        say(f"left out, too few clips: {', '.join(left)}")
    return names


def machine_scores(
    heard: Collected, backends: Collection[str], model: Model, known: dict[str, Machine]
) -> dict[str, dict[str, Doubles]]:
    """What several backends made of the clips -> machine -> system -> scores [test clips].

    The folder's own machines are used for what the folder listens with; all else is fitted to the training clips.
    """
    shipped = _shipped(backends)
    train, test = heard.select([clip.trains for clip in heard.clips]), heard.select(list(map(labelled, heard.clips)))
    scores: dict[str, dict[str, Doubles]] = {name: {} for name in heard.machines}
    for system in backends:
        scoring = detectors.load(BESIDE[system]).scoring if system in BESIDE else model.scoring
        machines = known if system == shipped else {}
        machines = machines or fit_machines(train.part(system), scoring, classes=model.classes)
        for name in scores:
            scores[name][system] = score_clips(test.part(system).machine(name), machines[name])
    return scores


def _row(name: str, counts: tuple[int, int, int], drawn: dict[str, Drawn], spearman: float | None) -> Row:
    shipped = _shipped(drawn)
    return Row(
        name,
        *counts,
        systems={system: drawn[system].figures for system in drawn},
        int8_change=(drawn[INT8] - drawn[FP32]).figures if {INT8, FP32} <= set(drawn) else None,
        gain=(drawn[shipped] - drawn[NONE]).figures if shipped != NONE else None,
        spearman=spearman,
    )


def _mean(rows: list[Row], drawn: list[dict[str, Drawn]]) -> Row:
    """Means over machines, resample by resample; clips are added up."""
    means = {system: mean([machine[system] for machine in drawn]) for system in drawn[0]}
    counts = (sum(row.train for row in rows), sum(row.normal for row in rows), sum(row.anomalous for row in rows))
    ranks = [row.spearman for row in rows if row.spearman is not None]
    return _row("mean", counts, means, float(np.mean(ranks)) if ranks else None)


def _shipped(systems: Collection[str]) -> str:
    """What the folder listens with."""
    return next(system for system in (INT8, FP32, OWN, NONE) if system in systems)


def _spearman(scores: dict[str, Doubles]) -> float | None:
    if INT8 not in scores or FP32 not in scores:
        return None
    return float(spearmanr(scores[INT8], scores[FP32]).statistic)


def _accuracy(row: Row) -> Accuracy:
    listens, fp32 = row.systems[_shipped(row.systems)], row.systems.get(FP32)
    return Accuracy(
        auc=listens.auc.value,
        pauc=listens.pauc.value,
        auc_fp32=fp32.auc.value if fp32 else None,
        pauc_fp32=fp32.pauc.value if fp32 else None,
        spearman=row.spearman,
    )


def _backends(folder: Path, model: Model) -> dict[str, Backend]:
    """System -> what hears for it: the folder's own, and the detectors that need no training."""
    files = {INT8: folder / bundle.CPU, FP32: folder / bundle.FP32}
    found = {system: open_backend(file, model) for system, file in files.items() if file.exists()}
    if not found and model.system != detectors.DEFAULT:
        found[OWN] = open_backend(None, model)
    return found | {system: open_backend(None, detectors.model(name)) for system, name in BESIDE.items()}


def _machines(folder: Path) -> dict[str, Machine]:
    files = sorted((folder / bundle.MACHINES).glob("*.npz"))
    return {file.stem: bundle.load_machine(file) for file in files}


def hashes(folder: Path) -> dict[str, str]:
    """Every file that a score comes from -> its SHA-256."""
    return {name: bundle.sha256(folder / name) for name in bundle.payload(folder) if name != bundle.GOLDEN}


def labelled(clip: Clip) -> bool:
    """Whether it is a test clip that judges."""
    return clip.split == "test" and clip.label in ("normal", "anomaly")


def _table(found: Comparison) -> str:
    """A block of lines for each machine, percent with intervals, and one for the means."""
    lines = []
    for row in [*found.machines, *([found.mean] if len(found.machines) > 1 else [])]:
        lines.append(
            f"{row.machine}: {row.train} clips to fit, {row.normal} normal and {row.anomalous} anomalous to test"
        )
        lines += [_line(name, figures, ".1f") for name, figures in row.systems.items()]
        if row.int8_change:
            lines.append(_line("  INT8 - FP32", row.int8_change, "+.1f"))
        if row.gain:
            lines.append(_line("  network - no network", row.gain, "+.1f"))
        if row.spearman is not None:
            lines.append(f"  {'Spearman, INT8 and FP32':24} {row.spearman:.4f}")
    return "\n".join(lines)


def _line(name: str, figures: Figures, form: str) -> str:
    def cell(what: str, found: Interval) -> str:
        value, low, high = (format(100 * figure, form) for figure in (found.value, found.low, found.high))
        return f"{what} {value:>5} [{low}, {high}]"

    return f"  {name:24} {cell('AUC', figures.auc):26} {cell('pAUC', figures.pauc)}".rstrip()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    arguments = parser(__doc__)
    arguments.add_argument("model", metavar="MODEL", type=Path, help="model folder or bundle")
    arguments.add_argument("--data", metavar="DATA", type=Path, required=True, help="data set with labelled test clips")
    arguments.add_argument("--out", metavar="FILE", type=Path, help="JSON file to write, must not exist")
    arguments.add_argument("--json", action="store_true", help="print the same JSON instead of the table")
    options = arguments.parse_args(argv)
    out = new_path(options.out) if options.out else None
    if (options.model / bundle.MANIFEST).exists():
        bundle.open_bundle(options.model)
    bundle.load_model(options.model)
    found = compare(options.model, index(options.data))
    if out:
        config.save_json(out, found)
    print(msgspec.json.encode(found).decode() if options.json else _table(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
