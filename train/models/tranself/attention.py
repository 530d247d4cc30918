"""Self-attention over a few tokens."""

import math

import torch
from torch import Tensor, nn

from train.models.blocks import SqueezeExcitation


class Attention(nn.Module):
    """[B, N, d] -> [B, N, d]: each token takes from all, in several heads (Vaswani et al., NeurIPS 2017)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.take, self.give = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.take(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        shares = torch.softmax(query @ key.transpose(2, 3) / math.sqrt(query.shape[3]), dim=3)
        return self.give((shares @ value).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """[B, N, d] -> [B, N, d]: attention, then two dense layers with a gate between; norms come first."""

    def __init__(self, width: int, hidden: int, heads: int, gated: bool) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(width), Attention(width, heads))
        self.widen = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.SiLU())
        self.gate = SqueezeExcitation(hidden) if gated else nn.Identity()
        self.narrow = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        hidden = self.gate(self.widen(x).transpose(1, 2)).transpose(1, 2)
        return x + self.narrow(hidden)
