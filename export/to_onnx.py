"""A trained run -> a model folder with its network as ONNX, proven equal to torch.

    python export/to_onnx.py RUN --data DATA --out MODEL
    python export/to_onnx.py RUN --simulated --out MODEL

MODEL gets model.onnx and model.json. onnxruntime must give what torch gives, on training and test clips alike:
embeddings of unit length within 1e-4, scores and logits within 1e-4 of their size, and the same decision in every
window, under references and thresholds that are fitted for the comparison with torch's embeddings. A window whose score
lies within a thousandth of the normal scores' deviation of its threshold is on the threshold: it is counted and decides
nothing.
Prints parameters and operations. Exit code 1, and no MODEL: they are not equal.
"""

import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import onnx
import torch
from torch import nn

if __package__ in (None, ""):  # run by path: the repository root, not this folder, comes first
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from calib.clips import Clip, check, training
from calib.collect import Collected, collect
from calib.machines import fit_machines
from edge_runtime import bundle, config
from edge_runtime.backends import Several, open_backend
from edge_runtime.bundle import Model
from edge_runtime.cli import new_path, parser, run_command, say
from edge_runtime.errors import DataError
from edge_runtime.features import Doubles
from edge_runtime.scoring import score
from export import data
from train.backend import measured, open_torch, zeros

OPSET = 20  # the highest that TensorRT 10.3 and 11 both read
TOLERANCE = 1e-4  # of an element of a unit-length embedding, or relative to the greatest score; float32 gives 1e-6
TIE = 1e-3  # standard deviations of a machine's normal scores: nearer to the threshold is on it
CLIPS = 100  # of the training clips, and as many of the others
Writer = Callable[[nn.Module, Model, Path], None]


class Equality(msgspec.Struct, frozen=True):
    """How far onnxruntime is from torch."""

    windows: int
    differences: dict[str, float]  # greatest, by output
    decisions: int  # windows of machines that could be fitted
    changed: list[str]  # clips with a window that is decided otherwise
    ties: int  # windows on the threshold

    @property
    def equal(self) -> bool:
        """Whether the export may be used."""
        return not self.changed and all(value <= TOLERANCE for value in self.differences.values())

    def __str__(self) -> str:
        worst = ", ".join(f"{name} {value:.1e}" for name, value in self.differences.items())
        text = f"{self.windows} windows, greatest difference: {worst} (allowed {TOLERANCE:.0e}); "
        text += f"{self.decisions} decisions, {len(self.changed)} clips decided otherwise, {self.ties} on the threshold"
        return text + (f": {', '.join(self.changed[:3])}" if self.changed else "")


class Ordered(nn.Module):
    """The network with positions for names, as a graph's inputs and outputs have them."""

    def __init__(self, network: nn.Module, model: Model) -> None:
        super().__init__()
        self.network, self.inputs, self.outputs = network, list(model.inputs), list(model.outputs)

    def forward(self, *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Inputs in the model's order -> outputs in the model's order."""
        outputs = self.network(**dict(zip(self.inputs, arrays, strict=True)))
        return tuple(outputs[name] for name in self.outputs)


def write_graph(network: nn.Module, model: Model, file: Path) -> None:
    """Write the network with the model's names and any number of windows in a batch."""
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about its own parts
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            Ordered(network, model).eval(),
            tuple(zeros(model, 2).values()),
            file,
            input_names=list(model.inputs),
            output_names=list(model.outputs),
            dynamic_shapes={"arrays": tuple({0: batch} for _ in model.inputs)},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    onnx.checker.check_model(str(file), full_check=True)


def export(network: nn.Module, model: Model, clips: list[Clip], out: Path, write: Writer = write_graph) -> Equality:
    """Write a model folder, unless onnxruntime and torch differ on the clips: then there is none."""
    network.eval()
    model = measured(network, model)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
        folder = Path(temporary) / out.name
        folder.mkdir()
        write(network, model, folder / bundle.FP32)
        config.save_json(folder / bundle.MODEL, model)
        found = compare(network, folder, clips)
        if found.equal:
            folder.replace(out)
    return found


def compare(network: nn.Module, folder: Path, clips: list[Clip]) -> Equality:
    """Hear training and other clips with torch and with a model folder's graph."""
    model = bundle.load_model(folder)
    normal = training(clips)
    chosen = data.spread(normal, CLIPS) + data.spread(set(clips) - set(normal), CLIPS)
    check(chosen)
    backend = Several({"torch": open_torch(network, model), "onnx": open_backend(folder / bundle.FP32, model)})
    found = collect(chosen, model, backend)
    backend.close()
    ours, theirs = found.part("torch"), found.part("onnx")
    if set(ours.outputs) != set(theirs.outputs):
        raise ValueError(f"the graph gives {sorted(theirs.outputs)}, the network {sorted(ours.outputs)}")
    differences = {name: difference(name, ours.outputs[name], theirs.outputs[name]) for name in ours.outputs}
    return Equality(len(found.clip), differences, *decisions(ours, theirs, model))


def difference(name: str, ours: np.ndarray, theirs: np.ndarray) -> float:
    """[windows, ..., dimensions] -> greatest difference of unit vectors; [windows] -> relative to the greatest.

    Logits, too, are compared with the greatest: those of a sub-window that could be either machine's are all near 0,
    and their direction says nothing.
    """
    if ours.ndim > 1 and name != "logits":
        ours, theirs = _unit(ours), _unit(theirs)
        return float(np.abs(ours - theirs).max())
    return float(np.abs(ours - theirs).max() / max(float(np.abs(ours).max()), 1e-12))


def decisions(ours: Collected, theirs: Collected, model: Model) -> tuple[int, list[str], int]:
    """Fit each machine to torch's outputs: (windows decided, clips decided otherwise, windows on the threshold)."""
    decided, changed, ties = 0, set(), 0
    machines = fit_machines(_fittable(ours), model.scoring, classes=model.classes)
    for name, machine in machines.items():
        heard, again = ours.machine(name), theirs.machine(name)
        scores, others = score(heard.outputs, machine), score(again.outputs, machine)
        tied = np.abs(scores - machine.threshold) <= TIE * float(np.std(machine.scores))
        otherwise = ((scores > machine.threshold) != (others > machine.threshold)) & ~tied
        decided += len(scores)
        ties += int(tied.sum())
        changed |= {heard.clips[i].name for i in heard.clip[otherwise]}
    return decided, sorted(changed), ties


def _fittable(collected: Collected) -> Collected:
    """The training clips of machines that have two at least: one to fit and one to hold out."""
    normal = set(training(collected.clips))
    count = {name: sum(clip.machine == name for clip in normal) for name in collected.machines}
    mask = [clip in normal and count[clip.machine] > 1 for clip in collected.clips]
    if not any(mask):
        raise DataError("no machine has two normal training clips: decisions cannot be compared; give more --data")
    return collected.select(mask)


def _unit(vectors: np.ndarray) -> Doubles:
    doubles = vectors.astype(np.float64)
    return doubles / np.maximum(np.linalg.norm(doubles, axis=-1, keepdims=True), 1e-12)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    from train.run_folder import load_run  # late: its libraries take seconds

    arguments = parser(__doc__)
    arguments.add_argument("run", metavar="RUN", type=Path, help="run folder of train/run.py")
    arguments.add_argument("--out", metavar="MODEL", type=Path, required=True, help="model folder to write")
    data.add_options(arguments)
    options = arguments.parse_args(argv)
    out = new_path(options.out)
    run = load_run(options.run)
    with data.opened(options, run.model) as clips:
        found = export(run.network, run.model, clips, out)
    say(f"onnxruntime against torch: {found}")
    if not found.equal:
        say(f"{out}: not written; the exported network is another one")
        return 1
    model = bundle.load_model(out)
    print(f"{out}: {model.system}, {', '.join(f'{name} {shape}' for name, shape in model.outputs.items())}")
    print(f"parameters {model.parameters:,}; a window of {model.window / model.sample_rate:.3f} s takes ", end="")
    print(f"{model.macs / 1e9:.3f} G multiply-accumulates, {2 * model.macs / 1e9:.3f} GFLOPs")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
