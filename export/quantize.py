"""The other forms of a model folder's network, as fast as its accuracy allows.

    python export/quantize.py MODEL --data DATA
    python export/quantize.py MODEL --data DATA --choose-on DATA2
    python export/quantize.py MODEL --simulated --clips 50

Writes model.cpu.onnx (U8S8, for onnxruntime), model.trt.onnx (S8S8 with explicit Q/DQ, for TensorRT), model.fp16.onnx
(half precision, strongly typed, for GPUs) and quantization.json: what stays in float and why, and every figure.

Normal training clips of all machines and domains give the range of every activation, by three methods; the one that
blurs the embeddings of held-back normal clips least is taken. Then the gate: on the held-back clips the scores of each
machine must rank as those of FP32 do, and as many normal windows be above the threshold; with --choose-on, whose
labelled test clips are then for choosing only and may not be reported on, the area under the curve must stay too. The
CPU's form is judged under references of its own, all others under the CPU's, as they listen. Where a form fails, layers
go back to float in the order of their measured sensitivity until it passes (`export/fallback.py`); too few clips are
said and not judged. Test clips of DATA are never heard: export/compare.py reports on them.

Exit code 1, and nothing is written: a form fails even so. There is no way to force it: looser limits are written down
in quantization.json, a forced file would not be.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

if __package__ in (None, ""):  # run by path: the repository root, not this folder, comes first
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from calib.clips import Clip, check, index, select, training
from calib.fit import of_known_types
from edge_runtime import bundle, config
from edge_runtime.cli import parser, run_command, say
from edge_runtime.errors import BundleError, ConfigError, DataError
from export import data
from export.fallback import FLOAT_SHARE, NOISE
from export.forms import FILES, Forms, Wanted
from export.gate import Limits
from export.quantization import ClipSet, Quantization, table, versions
from export.ranges import METHODS, PERCENTILE, Method

WANTED = Wanted()
CLIPS = 100  # of each kind
EACH = 15  # of a machine, held back: its ranks want some


def quantize(
    folder: Path, clips: list[Clip], wanted: Wanted = WANTED, count: int = CLIPS, labelled: Sequence[Clip] = ()
) -> Quantization:
    """Write all forms into a model folder, or none: where something is wrong, or the gate fails."""
    chosen, held = split(clips, count)
    also = data.spread(training(labelled), CLIPS)
    judged = data.spread(
        chain(*(select(labelled, split="test", label=label) for label in ("normal", "anomaly"))), CLIPS
    )
    check([*chosen, *also, *held, *judged])
    with TemporaryDirectory(prefix=".quantize-", dir=folder) as temporary:
        forms = Forms(folder, chosen, also, [*held, *judged], wanted)
        made = forms.make(Path(temporary))
        found = Quantization(
            network=bundle.sha256(folder / bundle.FP32),
            versions=versions(),
            calibration_clips=ClipSet.of(chosen),
            held_back_clips=ClipSet.of(held),
            labelled_clips=ClipSet.of(judged, named=True) if judged else None,
            percentile=wanted.percentile,
            limits=wanted.limits,
            max_noise=wanted.noise,
            max_float_share=wanted.share,
            fp32=forms.fp32_found(),
            forms=made,
        )
        if not found.failures:
            config.save_json(folder / bundle.QUANTIZATION, found)
            for name in reversed(FILES.values()):  # that of the CPU last: whoever finds it finds all
                (Path(temporary) / name).replace(folder / name)
    return found


def split(clips: list[Clip], count: int) -> tuple[list[Clip], list[Clip]]:
    """Normal training clips -> (for calibration, held back), each from all machines and domains there are."""
    normal = training(clips)
    if len(normal) < 2:
        raise DataError(f"{len(normal)} normal training clips; wanted one to calibrate and one to check, at least")
    chosen = data.spread(normal, min(count, len(normal) - max(1, len(normal) // 5)))
    taken = set(chosen)
    held = max(CLIPS, EACH * len({clip.machine for clip in normal}))
    return chosen, data.spread((clip for clip in normal if clip not in taken), held)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = _options(argv)
    limits = Limits(options.max_auc_drop, options.min_spearman, options.max_false_alarm_change)
    methods: Sequence[Method] = METHODS if options.calibration == "auto" else (options.calibration,)
    wanted = Wanted(methods, options.percentile, options.noise, options.float_share, limits)
    refuse(options.model)
    model = bundle.load_model(options.model)
    labelled = of_known_types(index(options.choose_on), model, options.choose_on) if options.choose_on else []
    if options.choose_on and len({clip.label for clip in labelled if clip.split == "test"} - {None}) < 2:
        raise DataError(f"--choose-on {options.choose_on}: wanted labelled test clips, normal and anomalous")
    with data.opened(options, model) as clips:
        found = quantize(options.model, clips, wanted, options.clips, labelled)
    print(msgspec.json.encode(found).decode() if options.json else table(found))
    if found.failures:
        say(f"{options.model}: nothing is written; a form fails the gate even in float")
    return 1 if found.failures else 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    arguments = parser(__doc__)
    add, limits = arguments.add_argument, Limits()
    add("model", metavar="MODEL", type=Path, help="model folder of export/to_onnx.py")
    data.add_options(arguments)
    add("--choose-on", metavar="DATA2", type=Path, help="another data set, whose labelled test clips are for choosing")
    add("--clips", type=int, default=CLIPS, help=f"to calibrate with (default {CLIPS})")
    add("--calibration", choices=("auto", *METHODS), default="auto", help="auto: what blurs held-back clips least")
    add("--percentile", type=float, default=PERCENTILE, help=f"of activations, for percentile (default {PERCENTILE})")
    add("--max-auc-drop", type=float, default=limits.max_auc_drop, help="of each machine (default %(default)s)")
    add("--min-spearman", type=float, default=limits.min_spearman, help="of each machine (default %(default)s)")
    change = "of the share of normal windows above the threshold (default %(default)s; one window is always allowed)"
    add("--max-false-alarm-change", type=float, default=limits.max_false_alarm_change, help=change)
    noise = "variance allowed, of that of normal sound, before the gate is asked (default %(default)s)"
    add("--noise", type=float, default=NOISE, help=noise)
    add("--float-share", type=float, default=FLOAT_SHARE, help="of operations, before the gate is asked, 0 to 1")
    add("--json", action="store_true", help="print quantization.json instead of the table")
    options = arguments.parse_args(argv)
    if options.clips < 1 or not 50.0 < options.percentile <= 100.0 or not 0.0 <= options.float_share <= 1.0:
        raise ConfigError("--clips is 1 or more, --percentile above 50 and up to 100, --float-share from 0 to 1")
    bounds = (options.max_auc_drop, options.min_spearman, options.max_false_alarm_change, options.noise)
    if not all(map(math.isfinite, bounds)):
        raise ConfigError("--max-auc-drop, --min-spearman, --max-false-alarm-change and --noise are finite numbers")
    if options.choose_on and options.data and options.choose_on.resolve() == options.data.resolve():
        raise ConfigError("--choose-on: the test clips of --data are what is reported on; give another data set")
    return options


def refuse(folder: Path) -> None:
    """A folder without a network, one that is quantized already, one whose machines know another network, a bundle."""
    bundle.load_model(folder)
    if (folder / bundle.MANIFEST).exists():
        raise BundleError(f"{folder}: a bundle never changes once packed; quantize the model folder it came from")
    if not (folder / bundle.FP32).exists():
        raise BundleError(f"{folder}: no {bundle.FP32}; there is no network to quantize")
    for name in (*FILES.values(), bundle.QUANTIZATION):
        if (folder / name).exists():
            raise BundleError(f"{folder / name}: already exists; remove it first, and {bundle.MACHINES}/ with it")
    if any((folder / bundle.MACHINES).glob("*.npz")):
        raise BundleError(f"{folder / bundle.MACHINES}: fitted with the FP32 network; remove it, quantize, fit again")


if __name__ == "__main__":
    raise SystemExit(run_command(main))
