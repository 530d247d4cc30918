"""Fit what a device stores of each machine: references, radii, threshold, normal scores.

    python calib/fit.py MODEL --data DATA                        machines into a model folder, with its INT8 network
    python calib/fit.py MODEL --data DATA --scoring FILE.yaml    the same, scored otherwise
    python calib/fit.py --no-network --data DATA --out BUNDLE    a bundle without a network, ready to listen
    python calib/fit.py --detector twfr_gmm --data DATA --out BUNDLE    with another detector of calib/configs

The references are fitted with the network that will listen (model.cpu.onnx where there is one). Thresholds come from
held-out folds grouped by recording: 1 % of normal windows by default, and below 100 clips the highest held-out score.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run by path: the repository root, not this folder, comes first
    sys.path[0] = str(Path(__file__).resolve().parents[1])


from calib import detectors, scorings, thresholds
from calib.clips import Clip, check, index, training
from calib.collect import collect
from calib.golden import write_golden
from calib.machines import fit_machines
from edge_runtime import bundle, config, features, machine_file
from edge_runtime.backends import open_backend
from edge_runtime.cli import new_path, parser, run_command, say
from edge_runtime.errors import ConfigError, DataError
from edge_runtime.features import LogMel
from edge_runtime.scoring import Classes, Components, Machine, References


def training_clips(data: str | Path, machines: Sequence[str] = ()) -> list[Clip]:
    """The normal training clips of a data set, of all machines or of those named, checked."""
    clips = training(index(data))
    known = sorted({clip.machine for clip in clips})
    for name in machines:
        if name not in known:
            raise DataError(f"{data}: unknown machine {name}; it has {', '.join(known) or 'no training clips'}")
    clips = [clip for clip in clips if not machines or clip.machine in machines]
    if not clips:
        raise DataError(f"{data}: no normal training clips; `python calib/clips.py {data}` prints what there is")
    check(clips)
    return clips


def of_known_types(clips: list[Clip], model: bundle.Model, data: str | Path) -> list[Clip]:
    """The clips whose machine type a network knows, where it is for one alone; else all."""
    known = [clip for clip in clips if not model.machine_types or clip.machine_type in model.machine_types]
    if not known:
        types = ", ".join(sorted({clip.machine_type for clip in clips})) or "none"
        raise DataError(
            f"{data}: the network is for {', '.join(model.machine_types)} alone, and the clips are of {types}"
        )
    return known


def few_targets(clips: list[Clip], count: int) -> list[Clip]:
    """The same clips with the first `count` of each machine's target domain, by name: what is imprinted of it."""
    seen: dict[str, int] = {}
    kept = []
    for clip in clips:
        if clip.domain == "target":
            seen[clip.machine] = seen.get(clip.machine, 0) + 1
            if seen[clip.machine] > count:
                continue
        kept.append(clip)
    if gone := sorted(set(seen) - {clip.machine for clip in kept}):
        raise DataError(f"--target-clips {count}: {gone[0]} has clips of the target domain alone; give 1 or more")
    return kept


def fit_folder(
    folder: Path, clips: list[Clip], rate: float, seed: int, scoring: Path | None = None
) -> dict[str, Machine]:
    """Fit every machine of the clips with the folder's own network, and write them and the golden clip into it.

    With the scoring of another YAML file the model changes too, and machines of the old scoring go.
    """
    model = bundle.load_model(folder)
    if scoring:
        model = scorings.rescored(model, scoring)
    backend = open_backend(bundle.network_file(folder), model)
    say(f"embedding {len(clips)} normal clips")
    collected = collect(clips, model, backend, progress=True)
    machines = fit_machines(collected, model.scoring, seed, rate, model.classes)
    if scoring:
        for old in (folder / bundle.MACHINES).glob("*.npz"):
            old.unlink()
        config.save_json(folder / bundle.MODEL, model)
    for name, machine in machines.items():
        machine_file.save_machine(folder / bundle.MACHINES / f"{name}.npz", machine)
    write_golden(folder)
    return machines


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = _options(argv)
    _check(options)
    clips = training_clips(options.data, options.machine)
    if options.model is not None:
        clips = of_known_types(clips, bundle.load_model(options.model), options.data)
    if options.target_clips is not None:
        clips = few_targets(clips, options.target_clips)
    if options.detector:
        machines = _fit_bundle(options, clips)
    else:
        machines = fit_folder(options.model, clips, options.rate, options.seed, options.scoring)
    for name, machine in machines.items():
        print(f"{name}: {_kept(machine)}, threshold {machine.threshold:.4g} ({machine.promise})")
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("model", nargs="?", type=Path, help="model folder of export/to_onnx.py")
    arguments.add_argument("--scoring", type=Path, metavar="FILE", help="YAML file with another scoring")
    arguments.add_argument("--detector", metavar="NAME", help=f"of {', '.join(detectors.names())}, or a YAML file")
    arguments.add_argument(
        "--no-network", dest="detector", action="store_const", const=detectors.DEFAULT, help="the default detector"
    )
    arguments.add_argument("--data", type=Path, required=True, help="data set, or a folder of `edge_runtime record`")
    arguments.add_argument("--out", type=Path, help="bundle to write (only of a detector)")
    arguments.add_argument("--machine", action="append", default=[], help="only this machine; may be repeated")
    arguments.add_argument("--window-frames", type=int, help="of a detector (default 311: 9.984 s)")
    arguments.add_argument("--hop-frames", type=int, help="of a detector (default 31: 0.992 s)")
    arguments.add_argument("--target-clips", type=int, metavar="N", help="at most N of the target domain, per machine")
    arguments.add_argument(
        "--rate", type=float, default=thresholds.FALSE_ALARM_RATE, help="false alarms per normal window"
    )
    arguments.add_argument("--seed", type=int, default=0, help="of folds and k-means")
    return arguments.parse_args(argv)


def _check(options: argparse.Namespace) -> None:
    if bool(options.detector) == (options.model is not None) or bool(options.detector) != (options.out is not None):
        raise ConfigError("give either MODEL, or --detector NAME (or --no-network) with --out BUNDLE")
    if not options.detector and (options.window_frames or options.hop_frames):
        raise ConfigError("--window-frames and --hop-frames are for a detector; a network brings its own")
    if options.detector and options.scoring:
        raise ConfigError("--scoring is for MODEL; a detector's YAML file says its own")
    if not 0.0 < options.rate < 1.0:
        raise ConfigError(f"--rate {options.rate}: give a ratio between 0 and 1, such as 0.01")
    for name, value in (("--seed", options.seed), ("--target-clips", options.target_clips or 0)):
        if value < 0:
            raise ConfigError(f"{name} {value}: give a whole number of 0 or more")
    if options.detector:
        _detector(options)
    elif (options.model / bundle.MANIFEST).exists():
        raise ConfigError(f"{options.model}: a bundle, which never changes once packed; give its model folder")
    else:
        bundle.load_model(options.model)


def _detector(options: argparse.Namespace) -> bundle.Model:
    """With the window and hop that were asked for."""
    window = features.WINDOW_FRAMES if options.window_frames is None else options.window_frames
    hop = min(features.HOP_FRAMES, window) if options.hop_frames is None else options.hop_frames
    if not 1 <= hop <= window:
        raise ConfigError(
            f"--window-frames {window} --hop-frames {hop}: give whole numbers, at least 1, and a hop within the window"
        )
    return detectors.model(options.detector, features.samples_of(window, LogMel()), hop * features.STEP)


def _fit_bundle(options: argparse.Namespace, clips: list[Clip]) -> dict[str, Machine]:
    out = new_path(options.out)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        config.save_json(folder / bundle.MODEL, _detector(options))
        machines = fit_folder(folder, clips, options.rate, options.seed)
        bundle.write_bundle(folder, out)
    return machines


def _kept(machine: Machine) -> str:
    """What is stored of it, in words."""
    kinds = []
    for fitted in machine.fitted:
        if isinstance(fitted, References):
            kinds.append(f"{len(fitted.points)} references")
        elif isinstance(fitted, Components):
            kinds.append(f"{len(fitted.means)} components")
        elif isinstance(fitted, Classes):
            kinds.append(f"classes {', '.join(map(str, fitted.numbers))} of the network")
    return ", ".join(kinds) or "no references"


if __name__ == "__main__":
    raise SystemExit(run_command(main))
