"""Is the network worth it, and what did each change of its form cost? On test clips, which no choice was made on.

    python export/compare.py MODEL --data DATA
    python export/compare.py MODEL --data DATA --run RUN --engine FILE --out accuracy.json

MODEL is a model folder or a bundle. AUC and pAUC of each machine and their means over machines, of
    network, INT8    what the bundle listens with: model.cpu.onnx and the folder's machines (fitted here if it has none)
    network, FP32    model.onnx, with references of its own
    this detector    what the bundle listens with, where it holds another detector without a network
    no network       time mean of the log-mel, whitened, nearest references
    loudness alone   how far the level of the clip is from that of normal clips
with 95 % bootstrap intervals, and differences over the same resamples: where an interval holds 0, no difference is
shown. Spearman: rank correlation of the FP32 and INT8 scores.

Then every form that a device may run, with the references and thresholds of the bundle, which were fitted with its CPU
form: torch (of the run folder RUN), FP32, FP16 and both INT8 forms in onnxruntime, an engine of export/build_engine.py.
Of each: error of the embeddings against FP32, Spearman of the scores with those of FP32 (under references of its own,
and under the same), AUC and pAUC, normal windows, clips and alarms a day above the threshold, size, milliseconds a
window on one thread. The file of `--out` holds all this as JSON; export/pack.py reads it.
"""

import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from scipy.stats import spearmanr

if __package__ in (None, ""):  # run by path: the repository root, not this folder, comes first
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from calib import detectors
from calib.clips import Clip, check, index
from calib.collect import Collected, collect
from calib.machines import fit_machines
from edge_runtime import bundle, config, machine_file
from edge_runtime.backends import Backend, Several, open_backend
from edge_runtime.bundle import Accuracy, Model
from edge_runtime.cli import new_path, parser, run_command, say
from edge_runtime.errors import DataError
from edge_runtime.scoring import Machine
from export import data, networks
from export.figures import Drawn, Figures, draw, mean
from export.judged import BUNDLE, OWN, Form, Scored, false_alarms
from export.networks import Network

INT8, FP32, NONE, LOUDNESS = "network, INT8", "network, FP32", "no network", "loudness alone"
DETECTOR = "this detector"  # of a folder without a network that holds another detector than the default
BESIDE = {NONE: detectors.DEFAULT, LOUDNESS: detectors.LOUDNESS}
FP32_OWN = f"{networks.FP32}, own references"
Scores = dict[str, Scored]  # system or form -> what it makes of one machine's test clips


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
    forms: dict[str, Form] = {}  # what a device may run


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was measured, and with which files."""

    machines: list[Row]
    mean: Row
    files: dict[str, str]  # network and machines -> SHA-256
    networks: dict[str, Network] = {}  # form -> its cost and its error

    @property
    def accuracy(self) -> dict[str, Accuracy]:
        """What a manifest says of each machine."""
        return {row.machine: _accuracy(row) for row in self.machines}


def compare(folder: Path, clips: list[Clip], run: Path | None = None, engine: Path | None = None) -> Comparison:
    """A model folder or bundle on the clips of a data set, with the run it came from and an engine where given."""
    model, known = bundle.load_model(folder), _machines(folder)
    clips = unseen(clips, folder)
    names = comparable(clips, known)
    chosen = [clip for clip in clips if clip.machine in names and (clip.trains or labelled(clip))]
    check(chosen)
    opened, beside = networks.opened(folder, model, run, engine), _beside(model, folder)
    backends = {form: one.backend for form, one in opened.items()} | beside
    hearing = detectors.hearing(model, BESIDE.values())
    several = Several(backends)
    heard = collect(chosen, hearing, several, progress=True)
    test = heard.select(list(map(labelled, heard.clips)))
    scores = machine_scores(heard, list(backends), model, known)
    rows, drawn = [], []
    for order, name in enumerate(names):
        own = heard.machine(name)
        labels = np.array([clip.label == "anomaly" for clip in own.clips if labelled(clip)])
        drawn.append(draw(labels, {system: one.clips for system, one in scores[name].items()}, [0, order]))
        counts = (sum(clip.trains for clip in own.clips), int(np.sum(~labels)), int(np.sum(labels)))
        rows.append(_row(name, counts, drawn[-1], [scores[name]], model))
    window = next(data.first_windows(test.clips, hearing))
    cost = networks.measured(opened, test, window, model) if opened else {}
    several.close()
    return Comparison(rows, _mean(rows, drawn, scores, model), hashes(folder), cost)


def unseen(clips: list[Clip], folder: Path) -> list[Clip]:
    """Without the test clips that the forms were chosen by: nothing is reported on those."""
    file = folder / bundle.QUANTIZATION
    told = (config.load_json(file, dict) if file.exists() else {}).get("labelled_clips") or {}
    used = set(told.get("files", []))
    seen = {clip for clip in clips if used and not clip.trains and bundle.sha256(clip.path) in used}
    if seen:
        say(f"left out, for the network's forms were chosen by them: {len(seen)} test clips")
    return [clip for clip in clips if clip not in seen]


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
) -> dict[str, Scores]:
    """What several backends made of the clips -> machine -> system or form -> its test clips, scored.

    Every form is scored by the folder's own machines, fitted with what it listens with; those of all else are fitted
    here to the training clips.
    """
    train, test = heard.select([clip.trains for clip in heard.clips]), heard.select(list(map(labelled, heard.clips)))
    listens = next(name for name in (networks.CPU, networks.FP32, DETECTOR, NONE) if name in backends)
    shipped = known or _fitted(train, listens, model)
    scores: dict[str, Scores] = {name: {} for name in heard.machines}
    for backend in backends:
        fitted = {} if backend in BESIDE and backend != listens else {backend: shipped}
        if backend == networks.CPU:
            fitted[INT8] = shipped
        if backend == networks.FP32:
            own = shipped if listens == backend and not known else _fitted(train, backend, model)
            fitted |= {FP32_OWN: own, FP32: own if networks.CPU in backends else shipped}
        for system, machines in (fitted or {backend: _fitted(train, backend, model)}).items():
            for name in scores:
                scores[name][system] = Scored.by(test.part(backend).machine(name), machines[name])
    return scores


def _fitted(train: Collected, backend: str, model: Model) -> dict[str, Machine]:
    scoring = detectors.load(BESIDE[backend]).scoring if backend in BESIDE else model.scoring
    return fit_machines(train.part(backend), scoring, classes=model.classes)


def _row(
    name: str, counts: tuple[int, int, int], drawn: dict[str, Drawn], scores: Sequence[Scores], model: Model
) -> Row:
    """Of one machine, or of several taken together."""
    shipped = _shipped(drawn)
    return Row(
        name,
        *counts,
        systems={system: drawn[system].figures for system in (INT8, FP32, DETECTOR, *BESIDE) if system in drawn},
        int8_change=(drawn[INT8] - drawn[FP32]).figures if {INT8, FP32} <= set(drawn) else None,
        gain=(drawn[shipped] - drawn[NONE]).figures if shipped != NONE else None,
        spearman=_spearman(scores, INT8),
        forms={form: _form(form, drawn[form].figures, scores, model) for form in _forms(drawn)},
    )


def _forms(systems: Collection[str]) -> list[str]:
    """What a device may run, and FP32 with references of its own, in the order of the table."""
    order = (networks.TORCH, FP32_OWN, networks.FP32, networks.FP16, networks.CPU, networks.TRT, networks.ENGINE)
    return [form for form in order if form in systems] or [_shipped(systems)]


def _form(form: str, figures: Figures, scores: Sequence[Scores], model: Model) -> Form:
    return Form(
        OWN if form == FP32_OWN else BUNDLE,
        figures.auc,
        figures.pauc,
        _spearman(scores, form),
        _spearman(scores, form, FP32_OWN if form == FP32_OWN else networks.FP32),
        *false_alarms([one[form] for one in scores], model),
    )


def _mean(rows: list[Row], drawn: list[dict[str, Drawn]], scores: Mapping[str, Scores], model: Model) -> Row:
    """Means over machines, resample by resample; clips are added up."""
    means = {system: mean([machine[system] for machine in drawn]) for system in drawn[0]}
    counts = (sum(row.train for row in rows), sum(row.normal for row in rows), sum(row.anomalous for row in rows))
    return _row("mean", counts, means, list(scores.values()), model)


def _shipped(systems: Collection[str]) -> str:
    """What the folder listens with."""
    return next(system for system in (INT8, FP32, DETECTOR, NONE) if system in systems)


def _spearman(scores: Sequence[Scores], form: str, exact: str = FP32_OWN) -> float | None:
    """Rank correlation of clips with FP32, under references of its own if nothing else is said; mean over machines."""
    if form not in scores[0] or exact not in scores[0]:
        return None
    return float(np.mean([spearmanr(one[form].clips, one[exact].clips).statistic for one in scores]))


def _accuracy(row: Row) -> Accuracy:
    listens, fp32 = row.systems[_shipped(row.systems)], row.systems.get(FP32)
    return Accuracy(
        auc=listens.auc.value,
        pauc=listens.pauc.value,
        auc_fp32=fp32.auc.value if fp32 else None,
        pauc_fp32=fp32.pauc.value if fp32 else None,
        spearman=row.spearman,
    )


def _beside(model: Model, folder: Path) -> dict[str, Backend]:
    """System -> what hears for it: the folder's own detector, and those that need no training."""
    own = bundle.network_file(folder) is None and model.system != detectors.DEFAULT
    found = {DETECTOR: open_backend(None, model)} if own else {}
    return found | {system: open_backend(None, detectors.model(name)) for system, name in BESIDE.items()}


def _machines(folder: Path) -> dict[str, Machine]:
    files = sorted((folder / bundle.MACHINES).glob("*.npz"))
    return {file.stem: machine_file.load_machine(file) for file in files}


def hashes(folder: Path) -> dict[str, str]:
    """Every file that a score comes from -> its SHA-256."""
    return {name: bundle.sha256(folder / name) for name in bundle.payload(folder) if name != bundle.GOLDEN}


def labelled(clip: Clip) -> bool:
    """Whether it is a test clip that judges."""
    return clip.split == "test" and clip.label in ("normal", "anomaly")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    from export.compare_table import table  # late: it knows these structs

    arguments = parser(__doc__)
    arguments.add_argument("model", metavar="MODEL", type=Path, help="model folder or bundle")
    arguments.add_argument("--data", metavar="DATA", type=Path, required=True, help="data set with labelled test clips")
    arguments.add_argument(
        "--run", metavar="RUN", type=Path, help="run folder of train/run.py that it was exported from"
    )
    arguments.add_argument("--engine", metavar="FILE", type=Path, help="TensorRT engine of export/build_engine.py")
    arguments.add_argument("--out", metavar="FILE", type=Path, help="JSON file to write, must not exist")
    arguments.add_argument("--json", action="store_true", help="print the same JSON instead of the table")
    options = arguments.parse_args(argv)
    out = new_path(options.out) if options.out else None
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
    if (options.model / bundle.MANIFEST).exists():
        bundle.open_bundle(options.model)
    bundle.load_model(options.model)
    found = compare(options.model, index(options.data), options.run, options.engine)
    if out:
        config.save_json(out, found)
    print(msgspec.json.encode(found).decode() if options.json else table(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
