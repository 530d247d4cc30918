"""FilterAugment: another microphone or another room (Nam et al., ICASSP 2022)."""

import torch
from torch import Tensor

BANDS, NARROWEST = (3, 6), 6  # how many bands; mels of each at least
GAIN = 6.0  # dB, up or down


def filter_augment(log_mel: Tensor) -> Tensor:
    """[B, frames, n_mels] dB -> 3 to 6 bands of each clip louder or softer by up to 6 dB."""
    return log_mel + gains(len(log_mel), log_mel.shape[2], log_mel.device).unsqueeze(1)


def gains(clips: int, mels: int, device: torch.device | None = None) -> Tensor:
    """[clips, mels] dB, constant within a band."""
    fewest, most = BANDS
    count = torch.randint(fewest, most + 1, (clips, 1), device=device)
    place = torch.arange(1, most, device=device)  # of an edge
    drawn = torch.rand(clips, most - 1, device=device).masked_fill(place >= count, 2.0).sort(dim=1).values
    edges = (drawn * (mels - count * NARROWEST + 1)).long() + place * NARROWEST
    edges = edges.masked_fill(place >= count, mels)
    band = (torch.arange(mels, device=device)[None, :, None] >= edges.unsqueeze(1)).sum(dim=2)
    each = (torch.rand(clips, most, device=device) * 2.0 - 1.0) * GAIN
    return each.gather(1, band)
