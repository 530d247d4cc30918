"""Mixup, StatEx and FeatEx of paper 4: a clip's partner is its mirror image in the batch (Wilkinghoff, ICASSP 2024)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def draw_shares(rows: int, probability: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """-> [rows] how much of itself each row keeps: l ~ U(0, 1) of those that are mixed, all of the others."""
    drawn, chosen = rng.uniform(size=rows), rng.uniform(size=rows) < probability
    return np.where(chosen, drawn, 1.0).astype(np.float32)


def mixed(
    sound: NDArray[np.float32], labels: NDArray[np.float32], shares: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """[B, samples], [B, C], [B] -> each row's share of itself, and the rest of its partner."""
    share = shares[:, np.newaxis]
    rest = np.float32(1.0) - share
    return share * sound + rest * sound[::-1], share * labels + rest * labels[::-1]


def statex(stft: Tensor, labels: Tensor, probability: float, drawn: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """[B, frames, bins], [B, C] -> spectrograms, some with their partner's statistics; labels [B, 3 C].

    `drawn` [B] of U(0, 1), or from torch's global generator: the rows below `probability` are exchanged.
    """
    chosen = _choose(stft, probability, drawn)
    return torch.where(chosen[:, None, None], exchange_statistics(stft), stft), exchange_labels(labels, chosen)


def featex(
    embeddings: Tensor, labels: Tensor, probability: float, drawn: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """[B, D] of one branch, [B, C] -> some rows are their partner's; labels [B, 3 C]. `drawn` as for StatEx."""
    chosen = _choose(embeddings, probability, drawn)
    return torch.where(chosen[:, None], embeddings.flip(0), embeddings), exchange_labels(labels, chosen)


def exchange_statistics(stft: Tensor) -> Tensor:
    """[B, frames, bins] -> every frame with the mean and deviation over frequency of the partner's frame."""
    mean = stft.mean(dim=2, keepdim=True)
    centred = stft - mean
    deviation = centred.square().mean(dim=2, keepdim=True).sqrt()
    return centred * (deviation.flip(0) / deviation.clamp_min(1e-12)) + mean.flip(0)


def exchange_labels(labels: Tensor, chosen: Tensor) -> Tensor:
    """[B, C], [B] bool -> [B, 3 C]: (y, 0, 0) for a clip as it was, (0, y / 2, y' / 2) with what its partner gave."""
    none = torch.zeros_like(labels)
    plain = torch.cat([labels, none, none], dim=1)
    exchanged = torch.cat([none, 0.5 * labels, 0.5 * labels.flip(0)], dim=1)
    return torch.where(chosen[:, None], exchanged, plain)


def _choose(rows: Tensor, probability: float, drawn: Tensor | None) -> Tensor:
    return (torch.rand(len(rows), device=rows.device) if drawn is None else drawn) < probability
