"""The INT8 forms of a model folder's network, both from one set of calibration clips.

    python export/quantize.py MODEL --data DATA
    python export/quantize.py MODEL --simulated --clips 50

Writes model.cpu.onnx (U8S8, for onnxruntime) and model.trt.onnx (S8S8 with explicit Q/DQ, for TensorRT);
`export/qdq.py` says what is quantized. Normal training clips of all machines and domains give the range of every
activation. Where all layers in INT8 blur the embeddings too much, each is quantized by itself, and those that blur most
stay in float until what is left is little against the spread of normal sound, or they take too great a share of all
operations. Prints sizes, speed on one thread, and the drift on normal clips that nothing was chosen on: cosine and
noise of the embeddings, and the rank correlation of the scores.
"""

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
from onnx import ModelProto

if __package__ in (None, ""):  # run by path: the repository root, not this folder, comes first
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from calib.clips import Clip, check, training
from calib.progress import bar
from edge_runtime import bundle
from edge_runtime.backends import open_backend
from edge_runtime.cli import parser, run_command
from edge_runtime.errors import BundleError, ConfigError, DataError
from edge_runtime.features import Doubles
from export import data, qdq
from export.drift import Drift, measure, points, worst_noise
from export.lint import faults

CLIPS = 100
PERCENTILE = 99.999  # of an activation's values: the rarest peaks take the steps from the rest
NOISE = 0.005  # variance, relative to the spread of normal sound: 0.01 costs up to a point of AUC
FLOAT_SHARE = 0.5  # of all operations
TRIED = 24  # windows that layers are tried on
GROUPS = 32  # of layers, at most: each is tried by itself
LEAST_COST = 0.01  # of all operations: what a node costs in float beyond its own
FILES: dict[qdq.Form, str] = {"cpu": bundle.CPU, "trt": bundle.TRT}


class InFloat(msgspec.Struct, frozen=True):
    """What a form leaves in float."""

    nodes: list[str]  # of those that could be quantized
    share: float  # of all operations, with those that could not


class Quantized(msgspec.Struct, frozen=True):
    """What was made."""

    calibration_clips: int
    held_back_clips: int
    in_float: dict[str, InFloat]  # by form
    forms: dict[str, Drift]  # "fp32", "cpu", "trt"


def quantize(
    folder: Path,
    clips: list[Clip],
    count: int = CLIPS,
    percentile: float | None = PERCENTILE,
    limit: float = NOISE,
    share: float = FLOAT_SHARE,
) -> Quantized:
    """Write both forms into a model folder, or none."""
    model = bundle.load_model(folder)
    chosen, held = split(clips, count)
    check(chosen + held)
    ranges = qdq.calibrate(folder / bundle.FP32, data.first_windows(chosen, model, model.inputs), percentile)
    with TemporaryDirectory(prefix=".quantize-", dir=folder) as temporary:
        trial = Trial(folder, chosen[:TRIED], Path(temporary) / "tried.onnx")
        files: dict[str, Path] = {}
        left: dict[str, InFloat] = {}
        for form, name in FILES.items():
            plan = qdq.plan(trial.network, trial.in_float(ranges, form, limit, share))
            file = files[form] = Path(temporary) / name
            qdq.write(trial.network, plan, ranges, form, file)
            if wrong := faults(file, form):
                raise RuntimeError(f"{name}: {'; '.join(wrong[:3])}")
            left[form] = _in_float(trial.network, plan, form)
        forms = measure(folder / bundle.FP32, files, model, chosen, held)
        for file in files.values():
            file.replace(folder / file.name)
    return Quantized(len(chosen), len(held), left, forms)


def _in_float(network: ModelProto, plan: qdq.Plan, form: qdq.Form) -> InFloat:
    whole, operations = qdq.plan(network), qdq.multiply_accumulates(network)
    names = [name for name in whole.nodes(form) if name not in plan.nodes(form)]
    return InFloat(names, 1.0 - sum(operations[name] for name in plan.weighted) / sum(operations.values()))


def split(clips: list[Clip], count: int) -> tuple[list[Clip], list[Clip]]:
    """Normal training clips -> (for calibration, held back), each from all machines and domains there are."""
    normal = training(clips)
    if len(normal) < 2:
        raise DataError(f"{len(normal)} normal training clips; wanted one to calibrate and one to check, at least")
    chosen = data.spread(normal, min(count, len(normal) - max(1, len(normal) // 5)))
    taken = set(chosen)
    return chosen, data.spread((clip for clip in normal if clip not in taken), CLIPS)


class Trial:
    """Windows that a network is tried on, one layer quantized at a time."""

    def __init__(self, folder: Path, clips: list[Clip], scratch: Path) -> None:
        self.model, self.network = bundle.load_model(folder), qdq.load(folder / bundle.FP32)
        self.machines = [clip.machine for clip in clips]
        self._windows, self._file = list(data.first_windows(clips, self.model)), scratch
        self._reference = self._points(folder / bundle.FP32)

    def in_float(self, ranges: qdq.TensorsData, form: qdq.Form, limit: float, share: float) -> list[str]:
        """Names of the nodes to keep in float, so that the noise of the rest adds up to less than the limit.

        Those that give most noise for what they cost in float come first, as long as they fit into the share. Where
        there are many nodes, neighbours are tried together.
        """
        every, operations = qdq.plan(self.network).nodes(form), qdq.multiply_accumulates(self.network)
        if self._noise(ranges, form, set()) <= limit:
            return []
        order = [node.name for node in self.network.graph.node if node.name in set(every)]
        groups = [tuple(map(str, part)) for part in np.array_split(order, min(GROUPS, len(order)))]
        total = sum(operations.values())
        costs = {group: sum(operations.get(name, 0) for name in group) / total for group in groups}
        noises = {group: self._noise(ranges, form, set(every) - set(group)) for group in bar(groups, f"{form} layers")}
        kept: list[str] = []
        rest = sum(noises.values())
        for group in sorted(groups, key=lambda group: -noises[group] / (costs[group] + LEAST_COST)):
            if rest > limit and costs[group] <= share:
                kept += group
                rest, share = rest - noises[group], share - costs[group]
        return kept

    def _noise(self, ranges: qdq.TensorsData, form: qdq.Form, others: set[str]) -> float:
        qdq.write(self.network, qdq.plan(self.network, others), ranges, form, self._file)
        found = worst_noise(self._reference, self._points(self._file), self.machines)
        self._file.unlink()
        return found

    def _points(self, file: Path) -> list[Doubles]:
        backend = open_backend(file, self.model)
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # a backend runs on the thread that calls it
            outputs = list(pool.map(backend.run, self._windows))
        heard = [points(output, self.model) for output in outputs]
        return [np.concatenate(part) for part in zip(*heard, strict=True)]


def _report(made: Quantized) -> str:
    fp32 = made.forms["fp32"]
    lines = [f"{made.calibration_clips} clips to calibrate, {made.held_back_clips} held back"]
    for form, left in made.in_float.items():
        lines.append(
            f"{form}: {left.share:.1%} of all operations in float: gates, {', '.join(left.nodes)}".rstrip(", ")
        )
    lines.append(f"{'form':5}{'KiB':>8}{'ms':>8}{'speed':>8}{'cosine':>9}{'noise':>9}{'rank':>9}")
    for form, drift in made.forms.items():
        rank = "-" if drift.spearman is None else f"{drift.spearman:.4f}"
        lines.append(
            f"{form:5}{drift.kilobytes:8}{drift.milliseconds:8.2f}{fp32.milliseconds / drift.milliseconds:8.2f}"
            f"{drift.cosine:9.5f}{drift.noise:9.5f}{rank:>9}"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    arguments = parser(__doc__)
    arguments.add_argument("model", metavar="MODEL", type=Path, help="model folder of export/to_onnx.py")
    data.add_options(arguments)
    arguments.add_argument("--clips", type=int, default=CLIPS, help=f"to calibrate with (default {CLIPS})")
    arguments.add_argument(
        "--percentile", type=float, default=PERCENTILE, help=f"of activations (default {PERCENTILE}; 100: all of them)"
    )
    arguments.add_argument(
        "--noise", type=float, default=NOISE, help=f"variance allowed, of that of normal sound (default {NOISE})"
    )
    arguments.add_argument(
        "--float-share", type=float, default=FLOAT_SHARE, help=f"of operations, 0 to 1 (default {FLOAT_SHARE})"
    )
    arguments.add_argument("--json", action="store_true", help="the same as JSON")
    options = arguments.parse_args(argv)
    if options.clips < 1 or not 50.0 < options.percentile <= 100.0 or not 0.0 <= options.float_share <= 1.0:
        raise ConfigError("--clips is 1 or more, --percentile above 50 and up to 100, --float-share from 0 to 1")
    refuse(options.model)
    percentile = None if options.percentile == 100.0 else options.percentile
    with data.opened(options, bundle.load_model(options.model)) as clips:
        made = quantize(options.model, clips, options.clips, percentile, options.noise, options.float_share)
    print(msgspec.json.encode(made).decode() if options.json else _report(made))
    return 0


def refuse(folder: Path) -> None:
    """A folder without a network, one that is quantized already, one whose machines know another network, a bundle."""
    bundle.load_model(folder)
    if (folder / bundle.MANIFEST).exists():
        raise BundleError(f"{folder}: a bundle never changes once packed; quantize the model folder it came from")
    if not (folder / bundle.FP32).exists():
        raise BundleError(f"{folder}: no {bundle.FP32}; there is no network to quantize")
    for name in FILES.values():
        if (folder / name).exists():
            raise BundleError(f"{folder / name}: already exists; remove it first, and {bundle.MACHINES}/ with it")
    if any((folder / bundle.MACHINES).glob("*.npz")):
        raise BundleError(f"{folder / bundle.MACHINES}: fitted with the FP32 network; remove it, quantize, fit again")


if __name__ == "__main__":
    raise SystemExit(run_command(main))
