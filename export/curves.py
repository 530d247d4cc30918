"""How accuracy grows: with the sound that a network is trained on, and with the target clips that are imprinted.

    python export/curves.py learn train/configs/tfap_edge.yaml --train-data SIM --data DATA --out OUT
    python export/curves.py imprint RUN [RUN ...] --data DATA --out OUT

learn     trains on the first `--machines` of SIM (spread over machine types) and the first `--clips` of each, one after
          another, for as many clips heard in all (`--heard`), and enrols each network on the machines of DATA.
imprint   references of each machine of DATA come from all its source clips and the first 0, 1, 3, 5, 10 target clips
          (`--target-clips`); nothing is trained. For a network fine-tuned on them: train/imprint.py.

AUC source and target, pAUC and official score over DATA's test clips, with 95 % bootstrap intervals. OUT gets
curve.json, curve.md and, of learn, runs/: what is trained is not trained again.
"""

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, product, zip_longest
from pathlib import Path

if __package__ in (None, ""):  # run by path: the repository root, not this folder, comes first
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import msgspec
import numpy as np

from calib import scorings
from calib.bootstrap import Interval
from calib.checkout import commit
from calib.clips import Clip
from calib.collect import Collected, collect
from calib.fit import few_targets, training_clips
from edge_runtime import __version__, config
from edge_runtime.bundle import Model
from edge_runtime.cli import parser, run_command, say
from edge_runtime.errors import ConfigError, DataError
from export.bench.draws import Judge
from export.bench.scores import score
from export.bench.tables import figure
from export.bench.trial import Trial, digest, identity, trial
from train import run, run_folder, settings
from train.backend import open_torch
from train.run_folder import Origin, Run


class Point(msgspec.Struct, frozen=True):
    """One point of a curve."""

    network: str
    at: dict[str, int]  # what was varied: machines and clips, or target_clips
    figures: dict[str, Interval]  # over all machines of the data set


class Curve(msgspec.Struct, frozen=True):
    """What was measured, and how."""

    version: str
    commit: str
    command: str
    points: list[Point]


def imprint(options: argparse.Namespace) -> Iterator[Point]:
    """Each network with the first so many target clips of every machine among its references."""
    runs = {folder.name: run_folder.load_run(folder) for folder in options.runs}
    whole = trial(options.data, None)
    judge = Judge(whole.test, whole.year)
    _enough(whole, max(options.target_clips))
    for name, trained in runs.items():
        heard, model = hear(trained, whole), _scored(trained.model, options)
        for count in options.target_clips:
            kept = set(few_targets(whole.train, count)) | set(whole.test)
            scored = score(heard.select([clip in kept for clip in heard.clips]), model)
            yield _point(name, {"target_clips": count}, judge, scored.scores)


def _enough(whole: Trial, most: int) -> None:
    """A point for clips that are not there would be another point's."""
    for name in whole.machines:
        found = sum(clip.domain == "target" for clip in whole.train if clip.machine == name)
        if found < most:
            raise DataError(f"--target-clips {most}: {name} has {found} of the target domain to fit; give fewer")


def learn(options: argparse.Namespace) -> Iterator[Point]:
    """A network trained on so many machines and clips of each of the training data, enrolled on the data set."""
    whole, every = trial(options.data, None), training_clips(options.train_data)
    judge, file = Judge(whole.test, whole.year), options.config
    for machines, clips in product(options.machines, options.clips):
        chosen = subset(every, machines, clips)
        wanted = settings.load(file, [*options.set, f"training.epochs={max(1, round(options.heard / len(chosen)))}"])
        if wanted.one_machine_type:
            raise ConfigError(f"{file}: one such network knows one machine type, and this curve is over all of them")
        key = digest(msgspec.to_builtins(wanted), identity(chosen))
        folder = options.out / "runs" / f"{file.stem}-{machines}x{clips}-{key}"
        if not run_folder.finished(folder):
            say(f"{machines} machines, {clips} clips of each: {wanted.training.epochs} epochs of {len(chosen)} clips")
            origin = Origin(__version__, commit(), str(options.train_data), len(chosen))
            run.train(file.stem, wanted, chosen, folder, origin, resume=run_folder.begun(folder))
        trained = run_folder.load_run(folder)
        scored = score(hear(trained, whole), _scored(trained.model, options))
        yield _point(file.stem, {"machines": machines, "clips": clips}, judge, scored.scores)


def subset(clips: Sequence[Clip], machines: int, count: int) -> list[Clip]:
    """The first `count` source clips (and as great a share of target clips) of so many machines, types in turn."""
    by_type: dict[str, list[str]] = {}
    for name, machine_type in sorted({(clip.machine, clip.machine_type) for clip in clips}):
        by_type.setdefault(machine_type, []).append(name)
    turns = [name for name in chain.from_iterable(zip_longest(*by_type.values())) if name is not None]
    if machines > len(turns):
        raise DataError(f"--machines {machines}: there are {len(turns)} in the training data")
    kept: list[Clip] = []
    for name in turns[:machines]:
        for target in (False, True):
            own = [clip for clip in clips if clip.machine == name and (clip.domain == "target") == target]
            source = [clip for clip in clips if clip.machine == name and clip.domain != "target"]
            kept += own[: max(1, round(len(own) * min(1.0, count / max(1, len(source)))))] if own else []
    return kept


def _scored(model: Model, options: argparse.Namespace) -> Model:
    return scorings.rescored(model, options.scoring) if options.scoring else model


def hear(trained: Run, whole: Trial) -> Collected:
    """The clips that fit and judge, as a network hears them."""
    backend = open_torch(trained.network, trained.model)
    return collect([*whole.train, *whole.test], trained.model, backend, progress=True)


def _point(network: str, at: dict[str, int], judge: Judge, scores: dict[str, np.ndarray]) -> Point:
    drawn = judge.judge({machine: [one] for machine, one in scores.items()})[""]
    found = Point(network, at, dict(zip(judge.names, drawn.intervals, strict=True)))
    say(_row(found))
    return found


def markdown(curve: Curve) -> str:
    """One row a point."""
    first = curve.points[0]
    header = ["network", *(name.replace("_", " ") for name in first.at), *first.figures]
    lines = [f"Commit {curve.commit or 'unknown'}, `{curve.command}`", "", " | ".join(["", *header, ""]).strip()]
    lines.append("|" + "---|" * len(header))
    return "\n".join([*lines, *map(_row, curve.points)]) + "\n"


def _row(point: Point) -> str:
    cells = [point.network, *map(str, point.at.values()), *map(figure, point.figures.values())]
    return f"| {' | '.join(cells)} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = _options(argv)
    out = options.out
    if out.exists() and {file.name for file in out.iterdir()} - {"runs"}:
        raise ConfigError(f"--out {out}: holds a curve or something else; give another folder")
    points = list(imprint(options) if options.what == "imprint" else learn(options))
    command = shlex.join(["python", "export/curves.py", *(sys.argv[1:] if argv is None else argv)])
    curve = Curve(__version__, commit(), command, points)
    out.mkdir(parents=True, exist_ok=True)
    config.save_text(out / "curve.md", markdown(curve))
    config.save_json(out / "curve.json", curve)
    print(markdown(curve), end="")
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    arguments = parser(__doc__)
    kinds = arguments.add_subparsers(dest="what", required=True)
    learning = kinds.add_parser("learn", help="accuracy over machines and clips of the training")
    learning.add_argument("config", type=Path, help="YAML file of a system, for example train/configs/tfap_edge.yaml")
    learning.add_argument("--train-data", type=Path, required=True, help="data set to train on parts of")
    learning.add_argument("--machines", type=int, nargs="+", default=[6, 12, 24, 48], help="how many machines")
    learning.add_argument("--clips", type=int, nargs="+", default=[5, 20], help="source clips of each")
    learning.add_argument("--heard", type=int, default=20_000, help="clips heard in all, whatever there is of them")
    learning.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting")
    imprinting = kinds.add_parser("imprint", help="accuracy over the target clips among the references")
    imprinting.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folder of train/run.py")
    imprinting.add_argument("--target-clips", type=int, nargs="+", default=[0, 1, 3, 5, 10], help="of each machine")
    for one in (learning, imprinting):
        one.add_argument("--data", type=Path, required=True, help="data set whose machines are enrolled and judged")
        one.add_argument("--scoring", type=Path, metavar="FILE", help="YAML file whose scoring: to use")
        one.add_argument("--out", type=Path, required=True, help="folder to write")
    options = arguments.parse_args(argv)
    for name, least in (("machines", 1), ("clips", 1), ("target_clips", 0), ("heard", 1)):
        given = getattr(options, name, least)
        if wrong := [value for value in (given if isinstance(given, list) else [given]) if value < least]:
            raise ConfigError(f"--{name.replace('_', '-')} {wrong[0]}: give {least} or more")
    return options


if __name__ == "__main__":
    raise SystemExit(run_command(main))
