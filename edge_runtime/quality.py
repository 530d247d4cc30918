"""Is this sound fit to be judged? Silence is not health, and a clipped window says so."""

import math

import msgspec
import numpy as np

from edge_runtime.features import Floats

FULL_SCALE = 32_767.0 / 32_768.0  # the largest sample of 16 bits; one at or above it was cut off
CLIPPED_RATIO = 1e-3  # more clipped samples than this are reported
SILENCE_DBFS = -90.0  # below the last bit but one of 16 bits: no microphone is as quiet as that


class Quality(msgspec.Struct, frozen=True):
    """What was found in one window."""

    level_dbfs: float | None  # root mean square re full scale; None for digital silence, which has no level
    clipped: float  # ratio of samples at full scale
    faults: list[str]  # "silence", "clipping", "not finite"

    @property
    def fit(self) -> bool:
        """Whether it may be scored: a clipped window may, it can be the fault that is looked for."""
        return "silence" not in self.faults and "not finite" not in self.faults


def judge(sound: Floats) -> Quality:
    """[samples] float32 -> its quality."""
    mean_square = float(np.dot(sound, sound)) / len(sound)
    if not math.isfinite(mean_square):
        return Quality(None, 0.0, ["not finite"])
    level = 10.0 * math.log10(mean_square) if mean_square > 0.0 else None
    clipped = float(np.count_nonzero(np.abs(sound) >= FULL_SCALE)) / len(sound)
    faults = []
    if level is None or level < SILENCE_DBFS:
        faults.append("silence")
    if clipped > CLIPPED_RATIO:
        faults.append("clipping")
    return Quality(None if level is None else round(level, 2), round(clipped, 6), faults)
