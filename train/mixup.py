"""Mixup of tensors: rows of a batch, or of a hidden layer, and their labels (Zhang et al. 2018; paper 1, Chen et al.).

vanilla     the partner of a row is any row of the batch
in type     the partner is of the same machine type: a mixture of a fan and a pump is no sound of either

One share l ~ Beta(a, a) is drawn for a batch. All draws come from torch's global generator.
"""

from typing import Literal

import torch
from torch import Tensor

Mixup = Literal["none", "vanilla", "in_type"]


def partners(types: Tensor) -> Tensor:
    """[B] number of each row's machine type -> [B] a random partner of the same type; every row is one's partner.

    Batch and permuted batch are both sorted by type, stably, and paired place by place.
    """
    shuffled = torch.randperm(len(types), device=types.device)
    ours = types.argsort(stable=True)
    theirs = shuffled[types[shuffled].argsort(stable=True)]
    partner = torch.empty_like(shuffled)
    partner[ours] = theirs
    return partner


def draw_partners(types: Tensor, kind: Mixup) -> Tensor:
    """[B] -> [B]: places of the partners; without mixup a row is its own."""
    if kind == "none":
        return torch.arange(len(types), device=types.device)
    return partners(types if kind == "in_type" else torch.zeros_like(types))


def draw_share(alpha: float) -> float:
    """Weight of the row itself, l ~ Beta(alpha, alpha)."""
    return float(torch.distributions.Beta(alpha, alpha).sample())


def mix(rows: Tensor, partner: Tensor, share: float) -> Tensor:
    """[B, ...], [B] -> [B, ...]: `share` of each row and the rest of its partner."""
    return share * rows + (1.0 - share) * rows[partner]
