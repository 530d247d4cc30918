"""A window's log-mel as of the standardised sound, and the overlapping cuts that it is heard in."""

import math

import torch
from torch import Tensor

from edge_runtime.errors import ConfigError
from edge_runtime.features import N_FFT, SAMPLE_RATE
from train.models.oevae.config import STEP

COUNT = 8  # cuts of a window
QUIETEST = 1e-10  # variance: -100 dB re full scale, the floor of the log-mel


def standardised(log_mel: Tensor, waveform: Tensor) -> Tensor:
    """[B, frames, bands] dB, [B, samples] -> dB re the variance of the window's samples.

    What the log-mel of the sound less its mean, over its deviation, would be: the mean lies below the lowest band, and
    a factor of the sound is a difference in dB. Only the log-mel's floor moves with it.
    """
    return log_mel - 10.0 / math.log(10.0) * variance(waveform).log()[:, None, None]


def variance(waveform: Tensor) -> Tensor:
    """[B, samples] -> [B]: mean square about the mean, not below that of silence."""
    centred = waveform - waveform.mean(dim=1, keepdim=True)
    return centred.square().mean(dim=1).clamp_min(QUIETEST)


def starts(frames: int, length: int) -> list[int]:
    """First frames of the cuts, i (frames - length) / 7 rounded: 8, or as many as differ in a window little longer."""
    if length > frames:
        raise ConfigError(
            f"segment_frames {length}: {_seconds(length):.2f} s, longer than the window of {_seconds(frames):.2f} s; "
            f"give {frames} or fewer (--set segment_frames={frames}), or a longer window (window_frames)"
        )
    return sorted({round(at * (frames - length) / (COUNT - 1)) for at in range(COUNT)})


def cut(log_mel: Tensor, places: list[int], length: int) -> Tensor:
    """[B, frames, bands] -> [B, cuts, length, bands]."""
    return torch.stack([log_mel[:, start : start + length] for start in places], dim=1)


def _seconds(frames: int) -> float:
    return ((frames - 1) * STEP + N_FFT) / SAMPLE_RATE
