"""A data set of DCASE's size: does memory stay flat, and would a GPU have to wait?

    OMP_NUM_THREADS=1 python benchmarks/loader.py [--systems featex tfap_edge] [--workers 1] [--passes 2]
    python benchmarks/loader.py --data DATA

7 machine types of 1000 clips each, 10 s long, are simulated into a temporary folder (2.2 GB, some minutes), read, and
thrown away; --data takes others. Delivered: clips a second that the loader gives with so many workers. Consumed: clips
a second that training steps take of one batch held ready, on the GPU where there is one, else on one thread of the CPU.
Memory: that of this process and its workers together (PSS), after the first clips and after each pass.
"""

import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch

from calib.clips import Clip, check, index
from calib.fit import training_clips
from edge_runtime.cli import parser, say
from export.bench import registry
from train import data
from train.models import SYSTEMS
from train.models.base import Batch, Config
from train.run_folder import shapes
from train.settings import system_of
from train.simulate import write_dataset
from train.simulator.kinds import KINDS

FIRST = 500  # clips after which memory is first looked at: every worker has begun


class Pass(NamedTuple):
    """The loader, once through."""

    clips: int
    seconds: float
    first_mib: float
    last_mib: float


def memory_mib() -> float:
    """Proportional set size of this process and its children, MiB."""
    family = [os.getpid(), *map(int, Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())]
    kib = 0
    for process in family:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kib / 1024


def passes(loader: "torch.utils.data.DataLoader[Batch]", count: int) -> Iterator[Pass]:
    """Deliver everything, some times over, and do nothing with it."""
    for epoch in range(count):
        loader.sampler.set_epoch(epoch)  # type: ignore[union-attr]
        clips, first, began = 0, 0.0, time.perf_counter()
        for batch in loader:
            clips += len(batch.labels)
            first = first or (memory_mib() if clips >= FIRST else 0.0)
        yield Pass(clips, time.perf_counter() - began, first or memory_mib(), memory_mib())


def consumed(config: Config, clips: list[Clip], batch: Batch, device: torch.device, seconds: float = 20.0) -> float:
    """Clips a second of gradient steps on one batch."""
    system, classes = SYSTEMS[system_of(config)], data.classes_of(clips, config.class_by)
    network = system.Network(config, shapes(config), len(data.merged(classes, config)))
    objective = system.Objective(config, network, classes)
    both = torch.nn.ModuleList([network, objective]).to(device).train()
    optimiser = torch.optim.Adam([weight for weight in both.parameters() if weight.requires_grad])
    batch = batch._replace(
        inputs={name: array.to(device) for name, array in batch.inputs.items()},
        labels=batch.labels.to(device),
        pair=None if batch.pair is None else {name: array.to(device) for name, array in batch.pair.items()},
    )
    done, began = -1, time.perf_counter()
    while done < 1 or time.perf_counter() - began < seconds:
        for loss in objective.steps(network, batch):
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        done += 1
        began = time.perf_counter() if not done else began  # the first is to warm up
    return done * len(batch.labels) / (time.perf_counter() - began)


def measure(name: str, clips: list[Clip], options: Namespace) -> None:
    """One line of the table, and one of memory."""
    config = registry.load(name, [f"training.workers={options.workers}"])
    if config.one_machine_type:
        kind = clips[0].machine_type
        config = config.for_type(kind)
        clips = clips if config.outliers else [clip for clip in clips if clip.machine_type == kind]
    clips = data.usable(clips, config)
    began = time.perf_counter()
    loader, _ = data.loaders(clips, data.classes_of(clips, config.class_by), config)
    say(f"{name}: {len(clips)} clips read in {time.perf_counter() - began:.0f} s")
    found = list(passes(loader, options.passes))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    used = consumed(config, clips, next(iter(loader)), device)
    rates = [one.clips / one.seconds for one in found]
    shown = ", ".join(f"{rate:.1f}" for rate in rates)
    print(f"{name:24}delivered {shown}; consumed {used:.1f} ({device.type}); {rates[-1] / used:.1f} times as many")
    print(f"{'':24}memory after {FIRST} clips and at the end of each pass, MiB: ", end="")
    print("; ".join(f"{one.first_mib:.0f}, {one.last_mib:.0f}" for one in found), flush=True)


def main() -> None:
    """Print what each system's loader gives and takes."""
    options = parser(__doc__)
    options.add_argument("--data", type=Path, help="a data set to read instead of a simulated one")
    options.add_argument("--types", type=int, default=7, help="machine types to simulate")
    options.add_argument("--clips", type=int, default=1000, help="of each type, one in a hundred of the target domain")
    options.add_argument("--seconds", type=float, default=10.0, help="of a clip")
    options.add_argument("--systems", nargs="+", default=["autoencoder", "featex", "tfap_edge", "tranself"])
    options.add_argument("--workers", type=int, default=1, help="processes that compute features")
    options.add_argument("--passes", type=int, default=2, help="epochs")
    given = options.parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        root = given.data or Path(folder) / "data"
        if given.data is None:
            target = max(1, given.clips // 100)
            began = time.perf_counter()
            write_dataset(root, list(KINDS)[: given.types], 1, given.clips - target, target, 1, given.seconds)
            say(f"simulated in {time.perf_counter() - began:.0f} s")
        began = time.perf_counter()
        clips = training_clips(root)
        check(index(root))
        print(f"{len(clips)} clips, indexed and checked in {time.perf_counter() - began:.1f} s", flush=True)
        for name in given.systems:
            measure(name, clips, given)


if __name__ == "__main__":
    main()
