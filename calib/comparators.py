"""Detectors so simple that a network which does not beat them has learned nothing."""

from collections.abc import Sequence

import numpy as np

from calib.clips import Clip, load
from edge_runtime.features import Doubles

QUIETEST = 1e-20  # power; digital silence is -200 dB here


def loudness(train: Sequence[Clip], test: Sequence[Clip]) -> Doubles:
    """Loudness alone: [test clips] distance of a clip's level from the mean level of normal training clips, dB."""
    return np.abs(levels(test) - levels(train).mean())


def levels(clips: Sequence[Clip]) -> Doubles:
    """[clips] root mean square, dB re full scale."""
    powers = [np.mean(load(clip).astype(np.float64) ** 2) for clip in clips]
    return 10.0 * np.log10(np.maximum(powers, QUIETEST))
