"""Time-frequency attention pooling (paper 1, Chen et al.): statistics over time, band by band."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Pooling = Literal["average", "max", "attention"]
Orders = Literal["first", "second", "both"]
ROOT = 1e-12  # added inside roots: finite slopes at 0


class TimePooling(nn.Module):
    """[B, C, T, bands] -> [B, bands * orders * heads * C]; any T.

    In every band, heads weigh the frames: U = X' A, the first order; (X o X)' A - U o U, the second. The signed root of
    either, over all heads and channels of a band, is brought to unit length. The heads of the attention are a 1x1
    convolution that the bands share; it has no bias, which a softmax over time would cancel. "average" is one head of
    equal weights, "max" takes the greatest value and has the first order alone.
    """

    def __init__(self, channels: int, kind: Pooling, heads: int, orders: Orders) -> None:
        super().__init__()
        self.kind, self.first, self.second = kind, orders != "second", orders != "first"
        self.orders = self.first + self.second  # vectors of unit length from each band
        self.attention = nn.Conv2d(channels, heads, 1, bias=False) if kind == "attention" else None
        self.width = channels * (heads if kind == "attention" else 1) * self.orders

    def forward(self, x: Tensor) -> Tensor:
        """The sums stay in float32 under any precision: a variance is a small difference."""
        weights = self.weights(x)
        x = x.float()
        if weights is None:
            first = x.amax(dim=2, keepdim=True).unsqueeze(1)  # [B, 1, C, 1, bands]
        else:
            first = (x.unsqueeze(1) * weights).sum(dim=3, keepdim=True)  # [B, heads, C, 1, bands]
        found = [first] if self.first else []
        if self.second:
            assert weights is not None
            found.append((weights * (x.unsqueeze(1) - first).square()).sum(dim=3, keepdim=True))
        return torch.cat([_unit_roots(moment) for moment in found], dim=2).flatten(1)

    def weights(self, x: Tensor) -> Tensor | None:
        """[B, C, T, bands] -> [B, heads, 1, T, bands], of sum 1 over time; None where the greatest is taken."""
        if self.kind == "max":
            return None
        if self.attention is None:
            return torch.ones_like(x[:, :1], dtype=torch.float32).unsqueeze(1) / x.shape[2]
        return torch.softmax(self.attention(x).float(), dim=2).unsqueeze(2)


def _unit_roots(moment: Tensor) -> Tensor:
    """[B, heads, C, 1, bands] -> [B, bands, heads * C]: signed roots, of unit length in each band.

    The second order is the weighted mean of (x - U)^2, equal to the difference that the paper writes because weights
    sum to 1, and never below 0.
    """
    roots = moment.sign() * (moment.abs() + ROOT).sqrt()
    vectors = roots.squeeze(3).flatten(1, 2).transpose(1, 2)
    return vectors / (vectors.square().sum(dim=2, keepdim=True) + ROOT).sqrt()


class Cosines(nn.Module):
    """[B, D] of unit length -> [B, classes] scaled cosines of the angles to the classes' directions."""

    def __init__(self, dimensions: int, classes: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.directions = nn.Parameter(nn.init.xavier_uniform_(torch.empty(classes, dimensions)))

    def forward(self, embeddings: Tensor) -> Tensor:
        return self.scale * functional.linear(embeddings, functional.normalize(self.directions, dim=1))
