"""Centre imprinting with fine-tuning (paper 1, Chen et al.): a few target clips move a trained network."""

import math
from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np
import torch
from msgspec import Meta
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from calib.clips import Clip
from calib.collect import clip_windows, collect
from calib.fit import few_targets
from edge_runtime.bundle import Model
from edge_runtime.cli import say
from edge_runtime.errors import AuscultError, DataError
from train.backend import TorchBackend
from train.run_folder import Run

Count = Annotated[int, Meta(ge=1)]
Positive = Annotated[float, Meta(gt=0)]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a network is imprinted."""

    clips: Count  # target clips of each machine
    epochs: Count = 5  # passes over the target clips
    learning_rate: Positive = 0.01  # of plain SGD
    scale: Positive = 1.0  # of inner products, in [-1, 1], under the softmax; the paper's 1 gives weak slopes
    batch: Count = 16  # target clips behind a step, and as many source clips
    seed: Annotated[int, Meta(ge=0)] = 0  # of the order of clips


class Imprinting:
    """A network, its clips, and the newest embedding of each of their windows.

    All windows are embedded once; each step renews those of its batch and recomputes all centres, so that centres are
    as new as an epoch allows without hearing every clip at every step. No slope goes through a centre.
    """

    def __init__(self, network: nn.Module, model: Model, clips: Sequence[Clip], settings: Settings) -> None:
        """Batch norms keep the statistics of the training: those of a few clips would be noise."""
        self._network, self._model, self._clips = network.eval(), model, clips
        self._scale, self._batch = settings.scale, settings.batch
        self._rng = np.random.default_rng(settings.seed)
        self._optimiser = torch.optim.SGD(network.parameters(), settings.learning_rate)
        found = collect(clips, model, TorchBackend(network, model), progress=True)
        self._owner = found.clip
        self._embeddings = functional.normalize(torch.from_numpy(found.outputs["embedding"]), dim=1)
        names = [class_of(clip) for clip in clips]
        number = {name: place for place, name in enumerate(sorted(set(names)))}
        self._classes = len(number)
        self._numbers = torch.tensor([number[names[clip]] for clip in found.clip])
        self._target = np.flatnonzero([is_target(clip) for clip in clips])
        self._source = np.flatnonzero([not is_target(clip) for clip in clips])

    def epoch(self) -> None:
        """A step for every batch of target clips; beside them as many source clips, or the network would forget."""
        order = self._rng.permutation(self._target)
        for target in np.array_split(order, -(-len(order) // self._batch)):
            count = min(len(target), len(self._source))
            self._step(np.concatenate([target, self._rng.choice(self._source, count, replace=False)]))

    def target_loss(self) -> float:
        """Hear the target clips again -> their mean loss."""
        with torch.no_grad():
            return float(self._loss(self._target))

    def _step(self, places: NDArray[np.intp]) -> None:
        loss = self._loss(places)
        check_finite(float(loss.detach()))
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()

    def _loss(self, places: NDArray[np.intp]) -> Tensor:
        """Clips -> mean over their windows of -ln softmax of the inner products with all centres, at their own."""
        rows = np.concatenate([np.flatnonzero(self._owner == place) for place in places])
        embeddings = self._embed(places)
        self._embeddings[rows] = embeddings.detach()
        centres = class_means(self._embeddings, self._numbers, self._classes)
        return functional.cross_entropy(self._scale * embeddings @ centres.T, self._numbers[rows])

    def _embed(self, places: NDArray[np.intp]) -> Tensor:
        """Clips -> embeddings of their windows [windows, D], of unit length."""
        heard = [inputs for place in places for inputs, *_ in clip_windows(self._clips[place], self._model)]
        inputs = {name: torch.from_numpy(np.stack([one[name] for one in heard])) for name in self._model.inputs}
        return functional.normalize(self._network(**inputs)["embedding"], dim=1)


def check_finite(loss: float) -> None:
    """A network whose loss is no number is never written."""
    if not math.isfinite(loss):
        raise AuscultError(f"imprinting: the loss is {loss}; give a smaller --learning-rate")


def class_means(embeddings: Tensor, numbers: Tensor, classes: int) -> Tensor:
    """[n, D], [n] -> [classes, D]: the mean of each class, which is not brought back to unit length."""
    sums = embeddings.new_zeros(classes, embeddings.shape[1]).index_add(0, numbers, embeddings)
    return sums / torch.bincount(numbers, minlength=classes).unsqueeze(1)


def class_of(clip: Clip) -> tuple[str, str, str, bool]:
    """What tells the centres apart."""
    return clip.machine_type, clip.section, clip.attributes, is_target(clip)


def is_target(clip: Clip) -> bool:
    """A data set without domains is all source."""
    return clip.domain == "target"


def choose(clips: Sequence[Clip], count: int) -> list[Clip]:
    """All source clips, and `count` target clips of each machine: those that calib/fit.py --target-clips takes."""
    targets = dict.fromkeys(sorted({clip.machine for clip in clips}), 0)
    for clip in clips:
        targets[clip.machine] += is_target(clip)
    found = sum(targets.values())
    if found in (0, len(clips)):
        lack = "source" if found else "target"
        raise DataError(f"no normal training clips of the {lack} domain, which imprinting needs; give data with both")
    fewest = min(targets, key=targets.__getitem__)
    if targets[fewest] < count:
        raise DataError(
            f"--clips {count}: {fewest} has {targets[fewest]} target clips; give no more than every machine has"
        )
    return few_targets(list(clips), count)


def imprint(run: Run, clips: Sequence[Clip], settings: Settings) -> list[float]:
    """Train the run's network where it is -> loss of the target clips before, and after each epoch."""
    imprinting = Imprinting(run.network, run.model, clips, settings)
    losses = [imprinting.target_loss()]
    for epoch in range(settings.epochs):
        imprinting.epoch()
        losses.append(imprinting.target_loss())
        check_finite(losses[-1])
        say(f"epoch {epoch + 1}/{settings.epochs} loss {losses[-1]:.4f}")
    return losses
