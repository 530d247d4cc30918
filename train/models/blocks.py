"""Layers that several networks share."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Activation = Callable[[int], nn.Module]  # channels -> what follows a batch norm of as many


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


class InvertedResidual(nn.Module):
    """Wider, each channel alone, narrower again (MobileNetV2, Sandler et al. 2018): [B, C, H, W] -> [B, width, ...].

    No activation follows the narrow layers. A skip where the size stays; an expansion of 1 has no layer of its own.
    """

    def __init__(
        self, channels: int, width: int, stride: int, expansion: int, activation: Activation | None = None
    ) -> None:
        super().__init__()
        hidden = expansion * channels
        self.skip = stride == 1 and channels == width
        self.body = nn.Sequential(
            *(convolution(channels, hidden, 1, activation=activation) if expansion > 1 else []),
            *convolution(hidden, hidden, 3, stride, hidden, activation),
            *convolution(hidden, width, 1)[:2],
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.skip else self.body(x)


def convolution(
    channels: int, width: int, kernel: int, stride: int = 1, groups: int = 1, activation: Activation | None = None
) -> list[nn.Module]:
    """Convolution with an odd kernel and no bias, batch norm, activation (SiLU where none is given)."""
    return [
        nn.Conv2d(channels, width, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(width),
        nn.SiLU() if activation is None else activation(width),
    ]


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
