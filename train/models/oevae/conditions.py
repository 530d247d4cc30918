"""The conditions of a clip as one number, k v: what the first latents are to carry (paper 3).

Attributes are words joined by `_`, as the file names of a data set have them: what varies at a place among the classes
of the machine type is an attribute. Where all its words are numbers in one unit (28V, 31V) v is the number, else the
words are numbered in their order; v is counted from the smallest. k = 5 / the smallest gap between two values, so that
neighbouring means lie five standard deviations apart; a gap below a fortieth of the range, of values that were measured
rather than set, counts as that: otherwise the means would be thousands, and their squares more than all other losses.
"""

import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

APART = 5.0  # standard deviations between neighbouring values
GAPS = 40.0  # in the range of all values, at most
POWER_GAP = 1.0  # dB: of the mean power, which is continuous and has no smallest gap
_NUMBER = re.compile(r"([^\d.+-]*)([+-]?\d+(?:\.\d+)?)(\D*)")


def coded(attributes: Sequence[str]) -> Tensor:
    """Attributes of each class of one type -> k v [classes, attributes that vary], float32; none where none does."""
    rows = [words.split("_") for words in attributes]
    longest = max(map(len, rows), default=0)
    columns = [[row[place] if place < len(row) else "" for row in rows] for place in range(longest)]
    values = [_values(column) for column in columns if len(set(column)) > 1]
    scaled = [APART / _gap(value) * (value - value.min()) for value in values]
    return torch.tensor(np.array(scaled, np.float32).reshape(len(scaled), len(rows))).T.contiguous()


def power(waveform: Tensor) -> Tensor:
    """[B, samples] -> k v [B] of the mean power, dB re full scale."""
    return APART / POWER_GAP * 10.0 * waveform.square().mean(dim=1).clamp_min(1e-10).log10()


def _gap(values: np.ndarray) -> float:
    """The smallest between two values, no less than a fortieth of their range."""
    return max(float(np.diff(np.unique(values)).min()), float(np.ptp(values)) / GAPS)


def _values(words: Sequence[str]) -> np.ndarray:
    """The words' own numbers, where they are numbers in one unit that differ; else their places in order."""
    found = [_NUMBER.fullmatch(word) for word in words]
    if all(found) and len({(one[1], one[3]) for one in found if one}) == 1:
        numbers = np.array([float(one[2]) for one in found if one])
        if len(set(numbers)) == len(set(words)):
            return numbers
    return np.searchsorted(sorted(set(words)), words).astype(np.float64)
