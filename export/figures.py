"""AUC and pAUC of several systems on the same clips, as draws: they can be taken from each other, and averaged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from calib.bootstrap import METRICS, Interval, between, draws, weighted_auc
from edge_runtime.features import Doubles

RESAMPLES = 1000


class Figures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of a system, or of the difference of two: ratios between 0 and 1, with 95 % intervals."""

    auc: Interval
    pauc: Interval


@dataclass(frozen=True)
class Drawn:
    """Some figures (AUC and pAUC, where nothing else is said), as measured and in each resample."""

    values: Doubles  # [figures]
    resampled: Doubles  # [figures, resamples]

    def __sub__(self, other: "Drawn") -> "Drawn":
        return Drawn(self.values - other.values, self.resampled - other.resampled)

    @property
    def intervals(self) -> list[Interval]:
        """Each with the bounds of its interval."""
        return [between(value, row) for value, row in zip(self.values, self.resampled, strict=True)]

    @property
    def figures(self) -> Figures:
        """The same by name: of AUC and pAUC."""
        return Figures(*self.intervals)


def draw(labels: NDArray[np.bool_], scores: Mapping[str, Doubles], seed: list[int]) -> dict[str, Drawn]:
    """[clips] labels, [clips] scores of each system -> the figures of each, all over the same resamples."""
    once = np.ones((1, len(labels)))
    counts = np.concatenate([once, *draws(labels, None, RESAMPLES, seed)])
    found = {}
    for system, values in scores.items():
        both = np.stack([weighted_auc(labels, values, counts, limit) for limit in METRICS.values()])
        found[system] = Drawn(both[:, 0], both[:, 1:])
    return found


def mean(parts: Sequence[Drawn]) -> Drawn:
    """The mean over machines, which are resampled each by itself."""
    values = np.mean([part.values for part in parts], axis=0)
    return Drawn(values, np.mean([part.resampled for part in parts], axis=0))
