"""AUC and pAUC of several systems on the same clips, as draws: they can be taken from each other, and averaged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, chi2

from calib.bootstrap import METRICS, Interval, between, draws, weighted_auc
from edge_runtime.features import Doubles

RESAMPLES = 1000


class Figures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of a system, or of the difference of two: ratios between 0 and 1, with 95 % intervals."""

    auc: Interval
    pauc: Interval


class Share(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many of so many, with the bounds of a 95 % interval; ratios between 0 and 1."""

    count: int
    of: int
    value: float
    low: float
    high: float


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Events in so many hours, a day, with the bounds of a 95 % interval."""

    count: int
    hours: float
    per_day: float
    low: float
    high: float


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


def share(count: int, of: int, independent: int) -> Share:
    """The exact interval of a binomial share (Clopper and Pearson 1934) of so many independent ones.

    Windows of one recording are not independent: with the number of recordings the interval is as wide as if all its
    windows were one, which is the safe side.
    """
    value = count / of
    hits = value * independent
    low = float(beta.ppf(0.025, hits, independent - hits + 1)) if count else 0.0
    high = float(beta.ppf(0.975, hits + 1, independent - hits)) if count < of else 1.0
    return Share(count, of, value, low, high)


def rate(count: int, hours: float) -> Rate:
    """The exact interval of a Poisson rate (Garwood 1936); of no event the 95 % upper bound, three in all the hours."""
    low, high = (float(chi2.ppf(q, 2 * n)) / 2 for q, n in ((0.025, count), (0.975 if count else 0.95, count + 1)))
    days = hours / 24
    return Rate(count, hours, count / days, (low if count else 0.0) / days, high / days)
