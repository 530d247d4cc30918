"""Imprint target conditions on a trained network, with some more training (paper 1, Chen et al.): RUN -> RUN2.

    python train/imprint.py RUN --data DATA --clips 3 --out RUN2
    python train/imprint.py RUN --data DATA --clips 3 --epochs 20 --learning-rate 0.003 --scale 30 --out RUN2

RUN is of any system that gives an embedding; RUN2 opens wherever RUN does. Every class of DATA's normal training clips
(machine and attributes, apart by domain) has a centre, the mean of its embeddings: of all source clips, and of the
first N target clips of each machine, by name. The network learns to put each clip nearest to its own centre; a system
that scores by another output than the embedding is not made for that. RUN2/imprint.json names the target clips and
holds their loss before and after each epoch. calib/fit.py with --target-clips N then stores the centres; without
training, it alone is centre imprinting.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

if __package__ in (None, ""):  # run by path: the repository root, not this folder, comes first
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import msgspec
import torch

from calib.fit import of_known_types, training_clips
from edge_runtime import bundle, config
from edge_runtime.cli import new_path, parser, run_command
from edge_runtime.errors import ConfigError, DataError
from train.checkpoint import CHECKPOINT
from train.imprinting import Settings, choose, imprint, is_target
from train.run_folder import CLASSES, CONFIG, ORIGIN, Run, load_run

RECORD = "imprint.json"


class Record(msgspec.Struct, frozen=True):
    """What was done."""

    run: str
    data: str
    settings: Settings
    target_clips: list[str]  # file names
    losses: list[float]  # mean over the target windows: before, and after each epoch


def write(before: Path, run: Run, record: Record, out: Path) -> None:
    """A run folder like the one before, with the network's new weights; whole or not at all."""
    state = torch.load(before / CHECKPOINT, map_location="cpu", weights_only=True)
    state["state_dict"] |= {f"network.{name}": array for name, array in run.network.state_dict().items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
        folder = Path(temporary) / out.name
        (folder / CHECKPOINT).parent.mkdir(parents=True)
        for name in filter(lambda name: (before / name).exists(), (CONFIG, CLASSES, ORIGIN)):
            shutil.copyfile(before / name, folder / name)
        torch.save(state, folder / CHECKPOINT)
        config.save_json(folder / bundle.MODEL, msgspec.structs.replace(run.model, name=f"{run.model.name}_imprinted"))
        config.save_json(folder / RECORD, record)
        folder.replace(out)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = _options(argv)
    settings, out, run = _settings(options), new_path(options.out), load_run(options.run)
    if "embedding" not in run.model.outputs:
        raise ConfigError(f"{options.run}: {run.model.system} gives no embedding; imprinting needs one")
    clips = of_known_types(training_clips(options.data), run.model, options.data)
    try:
        clips = choose(clips, settings.clips)
    except DataError as error:
        raise DataError(f"{options.data}: {error}") from None
    losses = imprint(run, clips, settings)
    names = [clip.name for clip in clips if is_target(clip)]
    write(options.run, run, Record(str(options.run), str(options.data), settings, names, losses), out)
    print(f"{out}: {len(names)} target clips, loss {losses[0]:.4f} before and {losses[-1]:.4f} after")
    return 0


def _settings(options: argparse.Namespace) -> Settings:
    given = {name: value for name in Settings.__struct_fields__ if (value := getattr(options, name)) is not None}
    try:
        return msgspec.convert(given, Settings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{str(error).replace('$.', '--').replace('_', '-')}; see --help") from None


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("run", metavar="RUN", type=Path, help="run folder of train/run.py")
    arguments.add_argument("--data", type=Path, required=True, help="data set with source and target clips")
    arguments.add_argument("--clips", metavar="N", type=int, required=True, help="target clips of each machine")
    arguments.add_argument("--out", metavar="RUN2", type=Path, required=True, help="run folder to write")
    arguments.add_argument("--epochs", type=int, help="passes over the target clips (default 5)")
    arguments.add_argument("--learning-rate", type=float, help="of SGD (default 0.01)")
    arguments.add_argument("--scale", type=float, help="of inner products under the softmax (default 1: the paper's)")
    arguments.add_argument("--batch", type=int, help="target clips behind a step (default 16)")
    arguments.add_argument("--seed", type=int, help="of the order of clips (default 0)")
    return arguments.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
