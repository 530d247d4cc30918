"""The INT8 forms of a model folder's network, both from one set of calibration clips.

    python export/quantize.py MODEL --data DATA
    python export/quantize.py MODEL --simulated --clips 50

Writes model.cpu.onnx (U8S8, for onnxruntime) and model.trt.onnx (S8S8 with explicit Q/DQ, for TensorRT);
`export/qdq.py` says what is quantized. Normal training clips of all machines and domains give the range of every
activation. Then each layer is quantized by itself: those that turn the embedding most stay in float, up to a share of
all operations. Prints sizes, speed on one thread, and the drift on normal clips that nothing was chosen on: cosines of
the embeddings and the rank correlation of the scores.
"""

import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

if __package__ in (None, ""):  # run by path: the repository root, not this folder, comes first
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from calib.clips import Clip, check
from edge_runtime import bundle
from edge_runtime.backends import Arrays, open_backend
from edge_runtime.cli import parser, run_command
from edge_runtime.errors import BundleError, ConfigError, DataError
from export import data, qdq
from export.drift import Drift, measure, moved
from export.lint import faults

CLIPS = 100
PERCENTILE = 99.99  # of an activation's values; with all of them, rare peaks take the steps from the rest
FLOAT_SHARE = 0.3  # of all operations
TRIED = 16  # windows that each layer is tried on
HARMLESS = 1e-4  # 1 - cosine; a layer that turns the embedding less is quantized in any case
FILES: dict[qdq.Form, str] = {"cpu": bundle.CPU, "trt": bundle.TRT}


class Quantized(msgspec.Struct, frozen=True):
    """What was made."""

    calibration_clips: int
    held_back_clips: int
    in_float: list[str]  # layers, the most sensitive first
    float_share: float  # of all operations, gates included
    forms: dict[str, Drift]  # "fp32", "cpu", "trt"


def quantize(
    folder: Path,
    clips: list[Clip],
    count: int = CLIPS,
    percentile: float | None = PERCENTILE,
    share: float = FLOAT_SHARE,
) -> Quantized:
    """Write both forms into a model folder, or none."""
    model, network = bundle.load_model(folder), qdq.load(folder / bundle.FP32)
    chosen, held = split(clips, count)
    check(chosen + held)
    ranges = qdq.calibrate(folder / bundle.FP32, data.first_windows(chosen, model), percentile)
    with TemporaryDirectory(prefix=".quantize-", dir=folder) as temporary:
        tried = list(islice(data.first_windows(chosen, model), TRIED))
        in_float = sensitive(folder / bundle.FP32, ranges, tried, share, Path(temporary) / "tried.onnx")
        plan = qdq.plan(network, in_float)
        files: dict[str, Path] = {}
        for form, name in FILES.items():
            file = files[form] = Path(temporary) / name
            qdq.write(network, plan, ranges, form, file)
            if wrong := faults(file, form):
                raise RuntimeError(f"{name}: {'; '.join(wrong[:3])}")
        forms = measure(folder / bundle.FP32, files, model, chosen, held)
        for file in files.values():
            file.replace(folder / file.name)
    return Quantized(len(chosen), len(held), in_float, qdq.float_share(network, plan), forms)


def split(clips: list[Clip], count: int) -> tuple[list[Clip], list[Clip]]:
    """Normal training clips -> (for calibration, held back), each from all machines and domains there are."""
    normal = data.training(clips)
    if len(normal) < 2:
        raise DataError(f"{len(normal)} normal training clips; wanted one to calibrate and one to check, at least")
    chosen = data.spread(normal, min(count, len(normal) - max(1, len(normal) // 5)))
    taken = set(chosen)
    return chosen, data.spread((clip for clip in normal if clip not in taken), CLIPS)


def sensitive(fp32: Path, ranges: qdq.TensorsData, tried: list[Arrays], share: float, file: Path) -> list[str]:
    """Names of the layers to keep in float: the most harmful first, as long as they fit into the share.

    Each is quantized by itself in the trt form, whose activations behind a ReLU have a bit less than the other's.
    """
    network = qdq.load(fp32)
    operations = qdq.multiply_accumulates(network)
    room = share * sum(operations.values())
    reference = _outputs(fp32, tried)
    harm, kept = {}, []
    for layer in qdq.plan(network).weighted:
        qdq.write(network, qdq.Plan([layer], [], []), ranges, "trt", file)
        harm[layer] = moved(reference, _outputs(file, tried))
        file.unlink()
    for layer in sorted(harm, key=lambda layer: -harm[layer]):
        if harm[layer] > HARMLESS and operations[layer] <= room:
            kept.append(layer)
            room -= operations[layer]
    return kept


def _outputs(network: Path, tried: list[Arrays]) -> list[Arrays]:
    backend = open_backend(network)
    return [backend.run(inputs) for inputs in tried]


def _report(made: Quantized) -> str:
    fp32 = made.forms["fp32"]
    lines = [
        f"{made.calibration_clips} clips to calibrate, {made.held_back_clips} held back; "
        f"{made.float_share:.1%} of all operations in float: gates, {', '.join(made.in_float)}".rstrip(", "),
        f"{'form':5}{'KiB':>8}{'ms':>8}{'speed':>8}{'cosine':>9}{'least':>9}{'rank':>9}",
    ]
    for form, drift in made.forms.items():
        rank = "-" if drift.spearman is None else f"{drift.spearman:.4f}"
        lines.append(
            f"{form:5}{drift.kilobytes:8}{drift.milliseconds:8.2f}{fp32.milliseconds / drift.milliseconds:8.2f}"
            f"{drift.cosine_median:9.5f}{drift.cosine_least:9.5f}{rank:>9}"
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
        "--float-share", type=float, default=FLOAT_SHARE, help=f"of operations, 0 to 1 (default {FLOAT_SHARE})"
    )
    arguments.add_argument("--json", action="store_true", help="the same as JSON")
    options = arguments.parse_args(argv)
    if options.clips < 1 or not 50.0 < options.percentile <= 100.0 or not 0.0 <= options.float_share <= 1.0:
        raise ConfigError("--clips is 1 or more, --percentile above 50 and up to 100, --float-share from 0 to 1")
    refuse(options.model)
    percentile = None if options.percentile == 100.0 else options.percentile
    with data.opened(options, bundle.load_model(options.model)) as clips:
        made = quantize(options.model, clips, options.clips, percentile, options.float_share)
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
