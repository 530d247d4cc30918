"""Fit what a device stores of each machine: references, radii, threshold, normal scores.

    python calib/fit.py MODEL --data DATA                        machines into a model folder, with its INT8 network
    python calib/fit.py --no-network --data DATA --out BUNDLE    a bundle without a network, ready to listen

The references are fitted with the network that will listen (model.cpu.onnx where there is one). Thresholds come from
held-out folds grouped by recording: 1 % of normal windows by default, and below 100 clips the highest held-out score.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

if __package__ in (None, ""):  # run by path: the repository root, not this folder, comes first
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from calib import references, thresholds
from calib.clips import Clip, check, index, training
from calib.collect import Collected, collect, mean_per_clip
from calib.golden import write_golden
from edge_runtime import bundle, config, features
from edge_runtime.backends import open_backend
from edge_runtime.cli import new_path, parser, run_command, say
from edge_runtime.errors import ConfigError, DataError
from edge_runtime.features import Doubles, LogMel
from edge_runtime.scoring import Machine, Scoring, score

WITHOUT_NETWORK = Scoring(metric="euclidean", whiten=True, centroids=0, neighbours=4)


def fit_machine(
    name: str, collected: Collected, scoring: Scoring, seed: int = 0, rate: float = thresholds.FALSE_ALARM_RATE
) -> Machine:
    """Normal training clips of one machine -> what a device stores of it."""

    def fitted(windows: NDArray[np.bool_]) -> references.References:
        if scoring.metric == "network":
            return references.NONE
        return references.fit_references(
            collected.outputs["embedding"][windows], collected.target[windows], scoring, seed
        )

    def machine(windows: NDArray[np.bool_], limit: float, promise: str, scores: Doubles) -> Machine:
        found, mel = fitted(windows), collected.mel
        return Machine(
            name=name,
            scoring=scoring,
            threshold=limit,
            promise=promise,
            scores=scores.astype(np.float32),
            references=found.points.astype(np.float32),
            radii=found.radii.astype(np.float32),
            mean=found.mean.astype(np.float32),
            whitening=found.whitening.astype(np.float32),
            normal_level=mel.mean(axis=0),
            normal_spread=mel.std(axis=0),
        )

    def fit_and_score(fit: NDArray[np.bool_], held: NDArray[np.bool_]) -> Doubles:
        outputs = {output: array[held] for output, array in collected.outputs.items()}
        return score(outputs, machine(fit, 0.0, "", np.zeros(0)))

    _refuse_silence(collected)
    scores = thresholds.held_out_scores(collected.clip, fit_and_score, seed)
    limit, promise = thresholds.threshold(scores, len(collected.clips), rate)
    return machine(np.ones(len(collected.clip), bool), limit, promise, scores)


def fit_machines(
    collected: Collected, scoring: Scoring, seed: int = 0, rate: float = thresholds.FALSE_ALARM_RATE
) -> dict[str, Machine]:
    """Normal training clips of several machines -> each machine by name."""
    return {name: fit_machine(name, collected.machine(name), scoring, seed, rate) for name in collected.machines}


def _refuse_silence(collected: Collected) -> None:
    """Silence among the normal clips would make every sound an anomaly, and silence healthy."""
    silent = np.flatnonzero(~collected.fit)
    if silent.size:
        path = collected.clips[collected.clip[silent[0]]].path
        raise DataError(f"{path}: holds a window of silence, which is no machine's sound; remove the clip")


def score_clips(collected: Collected, machine: Machine) -> Doubles:
    """Clips of one machine -> their scores [clips], the mean over each clip's windows."""
    return mean_per_clip(score(collected.outputs, machine), collected.clip, len(collected.clips))


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


def without_network(window_frames: int, hop_frames: int) -> bundle.Model:
    """The detector that every network has to beat: time mean of the log-mel, whitened, nearest references."""
    spec = LogMel()
    return bundle.Model(
        name="mel_mean",
        system="mel_mean",
        inputs={"log_mel": spec},
        outputs={"embedding": [spec.n_mels]},
        window=features.samples_of(window_frames, spec),
        hop=hop_frames * spec.step,
        scoring=WITHOUT_NETWORK,
    )


def fit_folder(folder: Path, clips: list[Clip], rate: float, seed: int) -> dict[str, Machine]:
    """Fit every machine of the clips with the folder's own network, and write them and the golden clip into it."""
    model = bundle.load_model(folder)
    backend = open_backend(bundle.network_file(folder))
    say(f"embedding {len(clips)} normal clips")
    machines = fit_machines(collect(clips, model, backend, progress=True), model.scoring, seed, rate)
    for name, machine in machines.items():
        bundle.save_machine(folder / bundle.MACHINES / f"{name}.npz", machine)
    write_golden(folder)
    return machines


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    arguments = parser(__doc__)
    arguments.add_argument("model", nargs="?", type=Path, help="model folder of export/to_onnx.py")
    arguments.add_argument("--no-network", action="store_true", help="the detector without a network")
    arguments.add_argument("--data", type=Path, required=True, help="data set, or a folder of `edge_runtime record`")
    arguments.add_argument("--out", type=Path, help="bundle to write (only with --no-network)")
    arguments.add_argument("--machine", action="append", default=[], help="only this machine; may be repeated")
    arguments.add_argument("--window-frames", type=int, help="of --no-network (default 311: 9.984 s)")
    arguments.add_argument("--hop-frames", type=int, help="of --no-network (default 31: 0.992 s)")
    arguments.add_argument(
        "--rate", type=float, default=thresholds.FALSE_ALARM_RATE, help="false alarms per normal window"
    )
    arguments.add_argument("--seed", type=int, default=0, help="of folds and k-means")
    options = arguments.parse_args(argv)
    _check(options)
    if options.no_network:
        machines = _fit_bundle(options)
    else:
        machines = fit_folder(options.model, training_clips(options.data, options.machine), options.rate, options.seed)
    for name, machine in machines.items():
        print(f"{name}: {len(machine.references)} references, threshold {machine.threshold:.4g} ({machine.promise})")
    return 0


def _check(options: argparse.Namespace) -> None:
    if options.no_network == (options.model is not None) or options.no_network != (options.out is not None):
        raise ConfigError("give either MODEL, or --no-network with --out BUNDLE")
    if not options.no_network and (options.window_frames or options.hop_frames):
        raise ConfigError("--window-frames and --hop-frames are for --no-network; a network brings its own")
    if not 0.0 < options.rate < 1.0:
        raise ConfigError(f"--rate {options.rate}: give a ratio between 0 and 1, such as 0.01")
    if options.seed < 0:
        raise ConfigError(f"--seed {options.seed}: give a whole number of 0 or more")
    if options.no_network:
        _window(options)
    elif (options.model / bundle.MANIFEST).exists():
        raise ConfigError(f"{options.model}: a bundle, which never changes once packed; give its model folder")
    else:
        bundle.load_model(options.model)


def _window(options: argparse.Namespace) -> tuple[int, int]:
    """Frames of a window and of a hop."""
    window = features.WINDOW_FRAMES if options.window_frames is None else options.window_frames
    hop = min(features.HOP_FRAMES, window) if options.hop_frames is None else options.hop_frames
    if not 1 <= hop <= window:
        raise ConfigError(
            f"--window-frames {window} --hop-frames {hop}: give whole numbers, at least 1, and a hop within the window"
        )
    return window, hop


def _fit_bundle(options: argparse.Namespace) -> dict[str, Machine]:
    out = new_path(options.out)
    clips = training_clips(options.data, options.machine)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        config.save_json(folder / bundle.MODEL, without_network(*_window(options)))
        machines = fit_folder(folder, clips, options.rate, options.seed)
        bundle.write_bundle(folder, out)
    return machines


if __name__ == "__main__":
    raise SystemExit(run_command(main))
