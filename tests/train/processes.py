"""What tests do in several processes, and in one to compare: torchrun … tests/train/processes.py PLAN.json

PLAN is {"commands": [words of train/run.py, ...], "recordings": DATA, "frozen": folder, "broken": folder}.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from calib.clips import index, select
from edge_runtime.cli import run_command
from tests.train.conftest import tiny
from train import checkpoint, data, loop, parallel, run
from train.models import base


class Plain(nn.Module):
    """Two layers over the mean of the log-mel, and no batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(128, 16), nn.Linear(16, 4)

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(0.02 * log_mel.mean(dim=1))))


class Classes(base.Objective):
    """Cross-entropy, two steps a batch; the first layer learns in every second epoch, the last one in the others."""

    def __init__(self, freezes: bool = False, breaks: bool = False) -> None:
        super().__init__()
        self.freezes, self.breaks = freezes, breaks
        self.began: list[int] = []

    def begin(self, network: nn.Module, epoch: int) -> None:
        self.began.append(epoch)
        if self.freezes:
            network.first.requires_grad_(epoch % 2 == 1)
            network.last.requires_grad_(epoch % 2 == 0)

    def steps(self, network: nn.Module, batch: base.Batch) -> Iterator[Tensor]:
        for _ in range(2):
            loss = nn.functional.cross_entropy(network(batch.inputs["log_mel"]), batch.labels)
            yield loss * float("nan") if self.breaks and 0 not in batch.places else loss


def fit(
    recordings: Path, folder: Path, objective: base.Objective, fabric: Fabric | None = None, **training: Any
) -> dict[str, Tensor]:
    """Train the plain network -> its weights."""
    clips = select(index(recordings), split="train")
    config = tiny("autoencoder", training=base.Training(workers=0, optimiser="sgd", **training))
    fabric = fabric or parallel.begin(config.training.precision)
    if fabric.is_global_zero:
        (folder / checkpoint.CHECKPOINT).parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    network = Plain()
    batches, every_clip = data.loaders(clips, data.classes_of(clips), config, fabric.world_size, fabric.global_rank)
    loop.fit(loop.Loop(fabric, network, objective, batches, config, folder), every_clip)
    return network.state_dict()


FROZEN: dict[str, Any] = {"epochs": 4, "batch": 8, "learning_rate": 0.5}


def main(plan: dict[str, Any]) -> int:
    torch.set_num_threads(1)
    parallel.end = lambda: None  # once apart, they could not meet again under the same names
    for words in plan["commands"]:
        assert run.main(words) == 0
    recordings = Path(plan["recordings"])
    with parallel.one_voice():
        fit(recordings, Path(plan["frozen"]), Classes(freezes=True), **FROZEN)
        fit(recordings, Path(plan["broken"]), Classes(breaks=True), epochs=1, batch=8)
    raise AssertionError("a loss that is no number has not stopped the training")


if __name__ == "__main__":
    with Path(sys.argv[1]).open() as stream:
        told = json.load(stream)
    raise SystemExit(run_command(lambda _: main(told)))
