"""The clips that a check or a calibration listens to: of a data set, or simulated for the moment."""

import argparse
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from calib.clips import Clip, index
from calib.collect import clip_windows
from calib.fit import of_known_types
from edge_runtime.backends import Arrays
from edge_runtime.bundle import Model
from edge_runtime.cli import say
from edge_runtime.errors import ConfigError


def add_options(arguments: argparse.ArgumentParser) -> None:
    """`--data DATA` or `--simulated`."""
    arguments.add_argument("--data", type=Path, help="data set to take clips from")
    arguments.add_argument("--simulated", action="store_true", help="simulate a small data set instead")


@contextmanager
def opened(options: argparse.Namespace, model: Model) -> Iterator[list[Clip]]:
    """The clips that the options ask for; simulated ones are gone afterwards."""
    if options.simulated == (options.data is not None):
        raise ConfigError("give either --data DATA or --simulated")
    if options.data is not None:
        yield of_known_types(index(options.data), model, options.data)
        return
    with TemporaryDirectory() as folder:
        simulate(Path(folder) / "data", model)
        yield index(Path(folder) / "data")  # of whatever type: nothing is judged by them


def simulate(out: Path, model: Model) -> None:
    """A small data set whose clips are as long as the model's window."""
    from train.simulate import write_dataset  # late: real clips need no simulator

    say("simulating clips")
    write_dataset(out, source=25, target=5, test=5, seconds=math.ceil(model.window / model.sample_rate))


def spread(clips: Iterable[Clip], count: int, seed: int = 0) -> list[Clip]:
    """At most `count` clips, drawn in turn from every machine, domain and label there is."""
    kinds: dict[tuple[str, ...], list[Clip]] = defaultdict(list)
    for clip in clips:
        kinds[clip.machine, clip.domain or "", clip.label or ""].append(clip)
    random = np.random.default_rng(seed)
    shuffled = [[members[i] for i in random.permutation(len(members))] for members in kinds.values()]
    turns = chain.from_iterable(zip_longest(*shuffled))
    return [clip for clip in turns if clip is not None][:count]


def first_windows(clips: Iterable[Clip], model: Model, names: Iterable[str] | None = None) -> Iterator[Arrays]:
    """The inputs of each clip's first window (or those named), as a batch of one; one clip in memory at a time."""
    wanted = list(model.computed if names is None else names)
    for clip in clips:
        inputs, *_ = next(iter(clip_windows(clip, model)))
        yield {name: inputs[name][np.newaxis] for name in wanted}
