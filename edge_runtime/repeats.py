"""Does a stretch of sound repeat itself exactly? A real microphone never does, not even before a loud pure tone."""

import numpy as np

from edge_runtime.features import Floats

SAME = 1e-5  # of full scale, a third of the last of 16 bits; resampling a repeated buffer leaves a tenth of that
LONGEST_S = 1.0  # seconds of the longest buffer that is looked for
PROBES = 24  # samples that a candidate has to repeat before all of them are looked at
TRIED = 8  # candidates that all samples are looked at of; what passed the probes is a repetition, or almost


def repeats(sound: Floats, length: int, sample_rate: int) -> int | None:
    """[samples], how many of them in a row -> after how many samples they came again, 1 for one value; None: never.

    Looked for at the end of the sound and every `length` samples before it: what lasts twice as long is always found.
    """
    farthest = round(LONGEST_S * sample_rate)
    for end in range(len(sound), length, -length):
        lag = _lag(sound[max(0, end - length - farthest) : end], length)
        if lag is not None:
            return lag
    return None


def _lag(sound: Floats, length: int) -> int | None:
    """How far before its own place the last `length` samples are found; the least such lag.

    Looked at first is where the sound is loudest: few samples have that value, and few candidates are left.
    """
    before = len(sound) - length
    tail = sound[before:]
    loudest = int(np.argmax(np.abs(tail)))
    candidates = np.flatnonzero(np.abs(sound[loudest : loudest + before] - tail[loudest]) <= SAME)  # starts
    for offset in np.linspace(0, length - 1, PROBES).astype(np.intp):
        if not len(candidates):
            return None
        candidates = candidates[np.abs(sound[candidates + offset] - tail[offset]) <= SAME]
    for start in candidates[: -TRIED - 1 : -1]:
        if np.abs(sound[start : start + length] - tail).max() <= SAME:
            return int(before - start)
    return None
