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
from train.models.blocks import SqueezeExcitation, glorot, same_padding

WIDTH = 128  # dimensions of a branch's embedding


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


class SpectrumBranch(nn.Sequential):
    """[B, bins] -> [B, 128]."""

    def __init__(self, bins: int) -> None:
        layers: list[nn.Module] = [nn.Unflatten(1, (1, bins))]
        channels = 1
        for kernel, stride in ((256, 64), (64, 32), (16, 4)):
            padding = same_padding(bins, kernel, stride)
            layers += [nn.Conv1d(channels, WIDTH, kernel, stride, padding, bias=False), nn.ReLU(inplace=True)]
            layers += [SqueezeExcitation(WIDTH)]
            bins, channels = -(-bins // stride), WIDTH
        layers += [nn.Flatten()]
        for width in (bins * WIDTH, WIDTH, WIDTH, WIDTH):
            layers += [nn.Linear(width, WIDTH, bias=False), nn.BatchNorm1d(WIDTH), nn.ReLU(inplace=True)]
        super().__init__(*layers, nn.Linear(WIDTH, WIDTH, bias=False))


class Residual(nn.Module):
    """Two pre-activated 3x3 convolutions beside a skip; the skip, too, starts behind the first batch norm."""

    def __init__(self, channels: int, width: int, first: bool = False) -> None:
        super().__init__()
        stride = 1 if channels == width else 2
        self.norm = nn.Identity() if first else nn.BatchNorm2d(channels)
        self.body = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            SqueezeExcitation(width),
        )
        self.skip = (
            nn.Identity()
            if stride == 1
            else nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), nn.Conv2d(channels, width, 1, bias=False))
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return self.skip(x) + self.body(x)


class SpectrogramBranch(nn.Module):
    """[B, frames, bins] -> [B, 128]."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(bins)
        self.stem = nn.Sequential(
            nn.Conv2d(1, 16, 7, 2, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)
        )
        plan = ((16, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128))
        self.stages = nn.Sequential(*[Residual(*widths, first=at == 0) for at, widths in enumerate(plan)])
        rows = ((bins + 1) // 2 - 3) // 2 + 1
        for _ in range(3):
            rows = (rows + 1) // 2
        self.head = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(128 * rows), nn.Linear(128 * rows, WIDTH, bias=False))

    def forward(self, stft: Tensor) -> Tensor:
        x = stft.transpose(1, 2)  # [B, bins, frames]
        x = self.norm(x - x.mean(dim=2, keepdim=True))
        x = self.stages(self.stem(x.unsqueeze(1)))  # [B, 128, bins / 32, frames / 32]
        return self.head(x.amax(dim=3))


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
        stft, of_statistics = augment.statex(batch.inputs["stft"], labels, self.config.statex)
        spectrum, stft = network.spectrum(batch.inputs["spectrum"]), network.stft(stft)
        loss = self.head(torch.cat([spectrum, stft], dim=1), labels)
        if self.exchanges is None:
            return loss
        stft, of_halves = augment.featex(stft, of_statistics, self.config.featex)
        return loss + self.exchanges(torch.cat([spectrum, stft], dim=1), of_halves)
