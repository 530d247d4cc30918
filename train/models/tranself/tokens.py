"""From a map to patches, from patches to a few tokens, and back."""

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCH = 2  # pixels, high and wide
HIDDEN = 64  # units of the layers that weigh patches


def unfold(x: Tensor) -> Tensor:
    """[B, d, H, W] -> [4 B, N, d]: pixels at the same place of N patches belong together (MobileViT).

    An odd edge is filled with zeros.
    """
    height, width = x.shape[2:]
    x = functional.pad(x, (0, width % PATCH, 0, height % PATCH))
    x = x.unflatten(3, (-1, PATCH)).unflatten(2, (-1, PATCH))  # [B, d, rows, 2, columns, 2]
    return x.permute(0, 3, 5, 2, 4, 1).flatten(3, 4).flatten(0, 2)


def fold(patches: Tensor, height: int, width: int) -> Tensor:
    """[4 B, N, d] -> [B, d, height, width]."""
    columns = -(-width // PATCH)
    x = patches.unflatten(0, (-1, PATCH, PATCH)).unflatten(3, (-1, columns))  # [B, 2, 2, rows, columns, d]
    x = x.permute(0, 5, 3, 1, 4, 2).flatten(4, 5).flatten(2, 3)
    return x[:, :, :height, :width]


class TokenLearner(nn.Module):
    """[B, N, d] -> [B, tokens, d]: each a mean of all patches, with weights of its own (v1.1: Ryoo et al. 2021)."""

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(nn.LayerNorm(width), *_dense(width, tokens))

    def forward(self, patches: Tensor) -> Tensor:
        return torch.softmax(self.weigh(patches), dim=1).transpose(1, 2) @ patches


class TokenFuser(nn.Module):
    """[B, N, d], [B, tokens, d] -> [B, N, d]: the patches, and of the mixed tokens what each asks for."""

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.before, self.mix, self.after = nn.LayerNorm(width), nn.Linear(tokens, tokens), nn.LayerNorm(width)
        self.ask = nn.Sequential(nn.LayerNorm(width), *_dense(width, tokens), nn.Sigmoid())

    def forward(self, patches: Tensor, tokens: Tensor) -> Tensor:
        mixed = self.after(self.mix(self.before(tokens).transpose(1, 2)).transpose(1, 2))
        return patches + self.ask(patches) @ mixed


def _dense(width: int, tokens: int) -> list[nn.Module]:
    return [nn.Linear(width, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, tokens)]
