"""The official DCASE Task 2 baseline: an autoencoder of five stacked log-mel frames, one for each machine type.

    log_mel [B, frames, 128] -> stacks [B (frames - 4), 640] -> 128 x4 -> 8 -> 128 x4 -> 640

Score "mse": the mean squared residual. "mahalanobis" (2023): the mean squared Mahalanobis length of the residuals under
their covariance in the source clips and in the target clips, whichever is smaller. 267,928 parameters.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
from msgspec import Meta
from torch import Tensor, nn

from edge_runtime.features import LogMel, Spec
from train.models import base

STACK = 5  # frames
RIDGE = 1e-6  # of the mean variance, added to each variance: keeps a covariance from few clips invertible
DOMAINS = ("source", "target")


class Config(base.Config, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="system", tag="autoencoder"):
    """The system's own settings."""

    score: Literal["mse", "mahalanobis"] = "mse"
    width: int = 128  # units of a hidden layer
    bottleneck: int = 8  # units of the narrowest layer
    stacks: Annotated[int, Meta(ge=2)] = 512  # behind one gradient step, drawn from all clips of a batch

    one_machine_type: ClassVar[bool] = True

    def inputs(self) -> dict[str, Spec]:
        return {"log_mel": LogMel()}


class Network(nn.Module):
    """Encoder, decoder, and what the score needs."""

    whitening: Tensor  # [2, 640, 640]: rows that make residuals of the source, of the target domain white

    def __init__(self, config: Config, shapes: Mapping[str, Sequence[int]], classes: int = 0) -> None:
        super().__init__()
        size = STACK * shapes["log_mel"][1]
        self.encoder = nn.Sequential(*_layers([size, *[config.width] * 4, config.bottleneck]))
        self.decoder = nn.Sequential(*_layers([config.bottleneck, *[config.width] * 4]), nn.Linear(config.width, size))
        self.mahalanobis = config.score == "mahalanobis"
        if self.mahalanobis:
            self.register_buffer("whitening", torch.eye(size).repeat(2, 1, 1))

    def forward(self, log_mel: Tensor) -> dict[str, Tensor]:
        """[B, frames, n_mels] dB -> score [B], and as embedding [B, 8] the bottleneck's mean over time."""
        stacks = stack(log_mel)
        codes = self.encoder(stacks.flatten(0, 1))
        residuals = stacks - self.decoder(codes).unflatten(0, (-1, stacks.shape[1]))
        if self.mahalanobis:
            lengths = [(residuals @ whitening.T).square().mean(dim=(1, 2)) for whitening in self.whitening]
            score = torch.minimum(*lengths)
        else:
            score = residuals.square().mean(dim=(1, 2))
        return {"score": score, "embedding": codes.unflatten(0, (-1, stacks.shape[1])).mean(dim=1)}

    def residuals(self, stacks: Tensor) -> Tensor:
        """[n, 640] -> what the decoder misses of each [n, 640]."""
        return stacks - self.decoder(self.encoder(stacks))


class Objective(base.Objective):
    """Mean squared error; afterwards the covariances."""

    def __init__(self, config: Config, network: Network, classes: Sequence[base.SoundClass]) -> None:
        super().__init__()
        self.stacks = config.stacks
        self.target = [sound_class.domain == "target" for sound_class in classes]

    def steps(self, network: nn.Module, batch: base.Batch) -> Iterator[Tensor]:
        """All stacks of all clips, shuffled, some for each step: a step on few clips would learn to tell them apart.

        Where only a part of the batch is here, a step has those of its stacks that are, and they weigh what they would.
        """
        assert isinstance(network, Network)
        stacks = stack(batch.inputs["log_mel"])
        for clip, at, count in batch.dealt(stacks.shape[1], self.stacks):
            yield network.residuals(stacks[clip, at]).square().mean(dim=1).sum() / count

    @torch.no_grad()
    def finish(self, network: nn.Module, batches: Iterable[base.Batch]) -> None:
        """Whiten by the residuals of all source clips, and of all target clips; a data set without domains has one."""
        assert isinstance(network, Network)
        if not network.mahalanobis:
            return
        found = {False: _Moments(), True: _Moments()}
        for batch in batches:
            for stacks, label in zip(stack(batch.inputs["log_mel"]), batch.labels.argmax(dim=1).tolist(), strict=True):
                found[self.target[label]].add(network.residuals(stacks).double())
        known = [moments for moments in found.values() if moments.count]
        network.whitening.copy_(torch.stack([known[0].whitening(), known[-1].whitening()]))


def stack(log_mel: Tensor) -> Tensor:
    """[B, frames, n_mels] -> every five frames side by side [B, frames - 4, 5 n_mels]."""
    count = log_mel.shape[1] - STACK + 1
    return torch.cat([log_mel[:, at : at + count] for at in range(STACK)], dim=2)


class _Moments:
    """Count, sum and sum of products of rows."""

    def __init__(self) -> None:
        self.count, self.total, self.products = 0, torch.zeros(()), torch.zeros(())

    def add(self, rows: Tensor) -> None:
        self.count += len(rows)
        self.total = self.total + rows.sum(dim=0)
        self.products = self.products + rows.T @ rows

    def whitening(self) -> Tensor:
        """[d, d] W with W' W the inverse covariance."""
        mean = self.total / self.count
        covariance = self.products / self.count - torch.outer(mean, mean)
        ridge = RIDGE * covariance.diagonal().mean() * torch.eye(len(mean))
        factor = torch.linalg.cholesky(covariance + ridge)
        return torch.linalg.solve_triangular(factor, torch.eye(len(mean), dtype=factor.dtype), upper=False)


def _layers(widths: Sequence[int]) -> list[nn.Module]:
    """Linear, batch norm and ReLU from each width to the next."""
    return [
        layer
        for width, wider in pairwise(widths)
        for layer in (nn.Linear(width, wider), nn.BatchNorm1d(wider), nn.ReLU())
    ]
