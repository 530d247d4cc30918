"""Paper 4: a spectrum and a spectrogram branch, trained with mixup, StatEx and FeatEx (Wilkinghoff, ICASSP 2024).

    spectrum [B, bins]         three strided 1-D convolutions, then five dense layers   -> [B, 128]
    stft [B, frames, 513]      less its mean over time, then a residual network         -> [B, 128]
    embedding [B, 256]         both, of unit length

No layer has a bias, so that no branch can learn a constant. 2.56 M parameters and 0.46 G multiply-accumulates at the
default window. All class centres belong to the training and are left behind.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from edge_runtime.features import Spec, Spectrum, Stft
from train import augment, losses
from train.models import base
from train.models.blocks import glorot
from train.models.branches import WIDTH, SpectrogramBranch, SpectrumBranch


class Config(base.Config, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="system", tag="featex"):
    """The system's own settings; each augmentation and the trainable centres can be switched off (probability 0)."""

    mixup: float = 0.5  # probability that a clip is mixed with another
    statex: float = 0.5  # probability that a spectrogram takes another's statistics
    featex: float = 0.5  # probability that a clip takes another's spectrogram embedding
    sub_clusters: int = 16  # centres of each class
    exchange_head: bool = True  # the second loss, over 9 N classes with trainable centres
    frozen_centres: bool = True  # of the first loss, over N classes

    def inputs(self) -> dict[str, Spec]:
        return {"spectrum": Spectrum(), "stft": Stft()}

    def mixing(self) -> float:
        return self.mixup


class Network(nn.Module):
    """What listens: both branches, and nothing of the training."""

    def __init__(self, config: Config, shapes: Mapping[str, Sequence[int]], classes: int = 0) -> None:
        super().__init__()
        self.spectrum = SpectrumBranch(shapes["spectrum"][0])
        self.stft = SpectrogramBranch(shapes["stft"][1])
        self.apply(glorot)

    def forward(self, spectrum: Tensor, stft: Tensor) -> dict[str, Tensor]:
        """[B, bins], [B, frames, bins] -> embedding [B, 256] of unit length."""
        both = torch.cat([self.spectrum(spectrum), self.stft(stft)], dim=1)
        return {"embedding": nn.functional.normalize(both, dim=1)}


class Objective(base.Objective):
    """The loss, with all that the network leaves behind: SCAdaCos over N classes and over 9 N made by exchanges."""

    def __init__(self, config: Config, network: Network, classes: Sequence[base.SoundClass]) -> None:
        super().__init__()
        self.config = config
        count, centres = len(classes), config.sub_clusters
        self.head = losses.SubClusterAdaCos(2 * WIDTH, count, centres, trainable=not config.frozen_centres)
        self.exchanges = (
            losses.SubClusterAdaCos(2 * WIDTH, 9 * count, centres, trainable=True) if config.exchange_head else None
        )

    def steps(self, network: nn.Module, batch: base.Batch) -> Iterator[Tensor]:
        """One step for a batch."""
        assert isinstance(network, Network)
        yield self.loss(network, batch)

    def loss(self, network: Network, batch: base.Batch) -> Tensor:
        """Statistics are exchanged first, then halves of embeddings; both losses weigh the same."""
        labels = batch.labels
        stft, of_statistics = augment.statex(batch.inputs["stft"], labels, self.config.statex, batch.uniform(0))
        spectrum, stft = network.spectrum(batch.inputs["spectrum"]), network.stft(stft)
        loss = self.head(torch.cat([spectrum, stft], dim=1), labels)
        if self.exchanges is None:
            return loss
        stft, of_halves = augment.featex(stft, of_statistics, self.config.featex, batch.uniform(1))
        return loss + self.exchanges(torch.cat([spectrum, stft], dim=1), of_halves)
