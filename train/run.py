"""Train a network: one YAML file -> one run folder.

    python train/run.py train/configs/featex.yaml --data DATA --out RUN
    python train/run.py train/configs/featex.yaml --data DATA --out RUN --resume --epochs 20
    python train/run.py train/configs/autoencoder.yaml --data DATA --out RUN --machine-type fan
    python train/run.py train/configs/featex.yaml --data DATA --out RUN --set training.batch=32 --set statex=0.0
    torchrun --nproc-per-node 2 train/run.py train/configs/featex.yaml --data DATA --out RUN

DATA is any data set that calib/clips.py reads; its normal training clips are used. The system says what tells classes
apart: machine, attributes, domain. RUN gets config.yaml (all settings), model.json, classes.json, run.json (where it
came from, and seconds once it is finished), metrics.csv (a line an epoch) and checkpoints/last.ckpt, and with
--tensorboard its events. Several GPUs, several machines, resuming: docs/training.md.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run by path: the repository root, not this folder, comes first
    sys.path[0] = str(Path(__file__).resolve().parents[1])

# Threads that wait must sleep, not spin: on two cores they would take the time of the workers that compute features.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # DDP warns where no weight is unused, in every process

import msgspec
import torch
from lightning.fabric import Fabric

from calib.checkout import commit
from calib.clips import Clip, index
from calib.fit import training_clips
from edge_runtime import __version__, bundle, config
from edge_runtime.cli import new_path, parser, run_command
from edge_runtime.errors import ConfigError, DataError
from train import checkpoint, checks, data, log, loop, parallel, settings
from train.models import SYSTEMS
from train.models.base import Config, SoundClass
from train.run_folder import CLASSES, CONFIG, ORIGIN, Origin, begun, describe, hardly_begun, shapes, state_of


def train(
    name: str,
    chosen: Config,
    clips: Sequence[Clip],
    folder: Path,
    origin: Origin,
    resume: bool = False,
    tensorboard: bool = False,
    fabric: Fabric | None = None,
) -> None:
    """Train on those of the clips that the system uses, into a run folder; with `resume`, go on where it stopped.

    Every process does; the first one writes.
    """
    fabric = fabric or parallel.begin(chosen.training.precision)
    with parallel.together():  # what may refuse, before anything is written
        checks.trainable(name, chosen, clips, origin.data)
        chosen = chosen.resolved()
        clips = data.usable(clips, chosen)
        classes = data.classes_of(clips, chosen.class_by)
        torch.manual_seed(chosen.training.seed)
        system = SYSTEMS[settings.system_of(chosen)]
        network = system.Network(chosen, shapes(chosen), len(data.merged(classes, chosen)))
        objective = system.Objective(chosen, network, classes)
        if resume:
            _check_same(folder, chosen, classes)
        if tensorboard:
            log.check_tensorboard()
        model = describe(name, chosen, network, clips, classes)
        if not (folder / checkpoint.CHECKPOINT).exists():
            objective.start(network)
        batches, every_clip = data.loaders(clips, classes, chosen, fabric.world_size, fabric.global_rank)
        going = loop.Loop(fabric, network, objective, batches, chosen, folder)
    origin = msgspec.structs.replace(origin, clips=len(clips), seconds=None)
    if fabric.is_global_zero:
        (folder / checkpoint.CHECKPOINT).parent.mkdir(parents=True, exist_ok=True)
        settings.save(folder / CONFIG, chosen)
        config.save_json(folder / CLASSES, classes)
        config.save_json(folder / ORIGIN, origin)
        config.save_json(folder / bundle.MODEL, model)
    loop.fit(going, every_clip, tensorboard)
    if fabric.is_global_zero:
        config.save_json(folder / ORIGIN, msgspec.structs.replace(origin, seconds=checkpoint.seconds(folder)))


def _check_same(folder: Path, chosen: Config, classes: Sequence[SoundClass]) -> None:
    """A run may go on for more epochs, and in another way of reading clips; nothing else may differ."""
    file, stored = folder / CONFIG, folder / checkpoint.CHECKPOINT
    checks.resumable(file, settings.load(file), chosen)
    if list(classes) != config.load_json(folder / CLASSES, list[SoundClass]):
        raise ConfigError(
            f"{folder / CLASSES}: other classes than the clips have; resume with the same --data and --machine-type"
        )
    if stored.exists():
        checks.same_settings(stored, state_of(stored)[checkpoint.CONFIG_KEY], file, chosen)


def choose_clips(root: Path, machine_type: str | None, chosen: Config) -> list[Clip]:
    """The normal training clips of all machine types, or of one (and the others where they are its outliers)."""
    machines: Sequence[str] = ()
    if machine_type is not None:
        known = index(root)
        machines = sorted({clip.machine for clip in known if clip.machine_type == machine_type})
        if not machines:
            has = ", ".join(sorted({clip.machine_type for clip in known}))
            raise DataError(f"{root}: no machine type {machine_type}; it has {has}")
    clips = training_clips(root, () if chosen.outliers else machines)
    types = sorted({clip.machine_type for clip in clips})
    if chosen.one_machine_type and machine_type is None and len(types) > 1:
        raise ConfigError(
            f"{root}: {', '.join(types)}, but one {settings.system_of(chosen)} is for one machine type; "
            "choose it with --machine-type"
        )
    return clips


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, in as many processes as torchrun has started."""
    with parallel.one_voice():
        options = _options(argv)
        fabric, chosen = _begin(options)
        with parallel.together():
            name, chosen, clips, origin = _asked(options, chosen)
        train(name, chosen, clips, options.out, origin, options.resume, options.tensorboard, fabric)
        if fabric.is_global_zero:
            print(_told(name, chosen, options.out))
    parallel.end()
    return 0


def _begin(options: argparse.Namespace) -> tuple[Fabric, Config]:
    changes = [*options.set]
    changes += [f"training.{key}={value}" for key in ("epochs", "seed") if (value := getattr(options, key)) is not None]
    chosen = settings.load(options.config, changes)
    return parallel.begin(chosen.training.precision), chosen


def _asked(options: argparse.Namespace, chosen: Config) -> tuple[str, Config, list[Clip], Origin]:
    folder = options.out if options.resume else new_path(options.out)
    if options.resume and not begun(folder):
        if not hardly_begun(folder):
            raise ConfigError(f"--resume: {folder} is no run folder; leave --resume out to begin one")
        options.resume = False
    clips = choose_clips(options.data, options.machine_type, chosen)
    if chosen.one_machine_type:
        chosen = chosen.for_type(options.machine_type or clips[0].machine_type)
    origin = Origin(__version__, commit(), str(options.data), len(clips))
    name = bundle.load_model(folder).name if options.resume else options.config.stem
    return name, chosen, clips, origin


def _told(name: str, chosen: Config, folder: Path) -> str:
    """The last line."""
    model, origin = bundle.load_model(folder), config.load_json(folder / ORIGIN, Origin)
    return (
        f"{folder}: {name}, {model.parameters / 1e6:.2f} M parameters, {model.macs / 1e9:.2f} G "
        f"multiply-accumulates; {chosen.training.epochs} epochs of {origin.clips} clips in {origin.seconds:.0f} s"
    )


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("config", type=Path, help="YAML file of a system, for example train/configs/featex.yaml")
    arguments.add_argument("--data", type=Path, required=True, help="data set")
    arguments.add_argument("--out", type=Path, required=True, help="run folder to write")
    arguments.add_argument("--machine-type", help="train on the clips of this machine type only")
    arguments.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting")
    arguments.add_argument("--epochs", type=int, help="the same as --set training.epochs=N")
    arguments.add_argument("--seed", type=int, help="the same as --set training.seed=N")
    arguments.add_argument("--resume", action="store_true", help="go on with the run in --out")
    arguments.add_argument("--tensorboard", action="store_true", help="write RUN/tensorboard as well")
    return arguments.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
