"""What listens."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from train.models.tdnn.config import Config
from train.models.tdnn.wav2vec import Branch
from train.models.tgramnet import TgramNet

# Kernel, frames between its taps, and width of each layer: an x-vector's (Snyder et al., ICASSP 2018).
LAYERS = ((5, 1, 512), (3, 2, 512), (3, 3, 512), (1, 1, 512), (1, 1, 1500))
WIDTH = 512  # dimensions of the embedding, and units of the layer behind it
FLOOR = 1e-5  # variance added inside the root: its slope stays below 160 where nothing varies over time


class Frames(nn.Sequential):
    """[B, maps, frames] -> [B, 1500, frames]: each layer a convolution, batch norm and ReLU.

    The mean level of each band is put beside the window, so that as many frames come out as go in. The norm stands
    before the ReLU, where it becomes a part of the convolution when the network is exported.
    """

    def __init__(self, maps: int) -> None:
        layers: list[nn.Module] = []
        for kernel, step, width in LAYERS:
            padding = step * (kernel // 2)
            layers += [nn.Conv1d(maps, width, kernel, padding=padding, dilation=step), nn.BatchNorm1d(width), nn.ReLU()]
            maps = width
        super().__init__(*layers)


class Network(nn.Module):
    """Features, layers over time, embedding and classifier."""

    def __init__(self, config: Config, shapes: Mapping[str, Sequence[int]], classes: int) -> None:
        super().__init__()
        frames, bands = shapes["log_mel"]
        self.norm = nn.BatchNorm1d(bands, affine=False, momentum=None)  # mean and deviation of the whole training
        self.tgram = TgramNet(frames) if config.tgram else None
        self.wav2vec = None if config.wav2vec is None else Branch(config.wav2vec, shapes["waveform"][0], bands, frames)
        self.frames = Frames(bands * (1 + config.tgram + (config.wav2vec is not None)))
        self.embed = nn.Linear(2 * LAYERS[-1][2], WIDTH)
        self.classify = nn.Sequential(
            nn.BatchNorm1d(WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU(),
            nn.Linear(WIDTH, classes),
        )  # fmt: skip

    def forward(self, log_mel: Tensor, waveform: Tensor | None = None) -> dict[str, Tensor]:
        """[B, frames, bands] dB, [B, samples] -> embedding [B, 512], logits [B, classes]."""
        maps = [self.norm(log_mel.transpose(1, 2))]
        if self.tgram is not None:
            maps.append(self.tgram(waveform))
        if self.wav2vec is not None:
            maps.append(self.wav2vec(waveform))
        embedding = self.embed(statistics(self.frames(torch.cat(maps, dim=1))))
        return {"embedding": embedding, "logits": self.classify(embedding)}


def statistics(x: Tensor) -> Tensor:
    """[B, maps, frames] -> [B, 2 maps]: mean and standard deviation over the frames, in float32 in any precision."""
    x = x.float()
    mean = x.mean(dim=2, keepdim=True)
    return torch.cat([mean.squeeze(2), ((x - mean).square().mean(dim=2) + FLOOR).sqrt()], dim=1)
