"""Which branch hears the waveform."""

import math

import torch
from torch import Tensor, nn

from train.models.tgramnet import TgramNet
from train.models.tranself.attention import Layer
from train.models.tranself.config import Temporal
from train.models.tranself.timetoformer import HIDDEN, LAYERS, Patches, Timetoformer

HEADS = 8


def branch(kind: Temporal, bands: int, frames: int) -> nn.Module | None:
    """[B, samples] -> [B, bands, frames]; None: there is no such branch."""
    if kind == "tgramnet":
        return TgramNet(frames)
    if kind == "transformer":
        return Transformer(bands)
    return Timetoformer(bands) if kind == "timetoformer" else None


class Transformer(nn.Module):
    """[B, samples] -> [B, bands, frames]: the Timetoformer's size, with attention."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.patches = Patches(bands)
        self.layers = nn.Sequential(
            *[Layer(bands, HIDDEN, HEADS, gated=False) for _ in range(LAYERS)], nn.LayerNorm(bands)
        )

    def forward(self, waveform: Tensor) -> Tensor:
        x = self.patches(waveform).transpose(1, 2)
        return self.layers(x + positions(x)).transpose(1, 2)


def positions(x: Tensor) -> Tensor:
    """[B, L, d] -> [L, d]: sines and cosines of 1 to 10,000 frames / 2 pi (Vaswani et al., NeurIPS 2017)."""
    length, width = x.shape[1:]
    rates = torch.exp(torch.arange(0, width, 2, device=x.device) * (-math.log(10_000.0) / width))
    angles = torch.arange(length, device=x.device).unsqueeze(1) * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
