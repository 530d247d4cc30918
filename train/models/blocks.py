"""Layers that several networks share."""

import torch
from torch import Tensor, nn


class SqueezeExcitation(nn.Module):
    """Scale each channel by a gate that has seen the mean of all (Hu et al. 2018): [B, C, ...] -> [B, C, ...]."""

    def __init__(self, channels: int, ratio: int = 16) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // ratio, bias=False)
        self.excite = nn.Linear(channels // ratio, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(dim=tuple(range(2, x.ndim)))
        gates = torch.sigmoid(self.excite(torch.relu(self.squeeze(means))))
        return x * gates.reshape(*gates.shape, *[1] * (x.ndim - 2))


def same_padding(size: int, kernel: int, stride: int) -> int:
    """Zeros on either side for which a convolution over `size` gives ceil(size / stride) outputs."""
    missing = (-(-size // stride) - 1) * stride + kernel - size
    return max(0, -(-missing // 2))


def glorot(module: nn.Module) -> None:
    """Glorot and Bengio's (2010) uniform weights, for `module.apply`."""
    if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
