"""95 % bootstrap intervals of AUC and pAUC, and of the difference of two systems on the same clips.

Normals and anomalies are drawn separately, whole recordings at a time (windows of one recording are not
independent). A resample is a row of counts, how often each clip was drawn; a curve is then a cumulative sum of
counts in the order of the scores, for all resamples at once. Percentile intervals (Efron and Tibshirani 1993,
chapter 13). Where every score of one class is above all of the other, each resample says 1 and so does the interval:
it then says nothing about how small the test was.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edge_runtime.errors import DataError

METRICS = {"auc": 1.0, "pauc": 0.1}  # name -> the highest false-positive rate that counts
_CELLS = 2_000_000  # resamples x clips held at a time: bounds the memory to some 100 MB


@dataclass(frozen=True)
class Interval:
    """A figure with the bounds of its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def interval(
    metric: str,
    labels: np.ndarray,
    scores: np.ndarray,
    recordings: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """`metric` ("auc" or "pauc") of [clips] scores with its interval.

    `recordings`: [clips] any IDs, equal for rows that are drawn together; without them every row is by itself.
    """
    max_fpr = METRICS[metric]
    parts = [weighted_auc(labels, scores, counts, max_fpr) for counts in draws(labels, recordings, resamples, seed)]
    return between(_once(labels, scores, max_fpr), np.concatenate(parts))


def paired(
    metric: str,
    labels: np.ndarray,
    scores_a: np.ndarray,
    scores_b: np.ndarray,
    recordings: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """`metric` of system a less that of system b on the same clips, both over the same resamples.

    An interval without 0 in it says that they differ.
    """
    max_fpr = METRICS[metric]
    parts = [
        weighted_auc(labels, scores_a, counts, max_fpr) - weighted_auc(labels, scores_b, counts, max_fpr)
        for counts in draws(labels, recordings, resamples, seed)
    ]
    value = _once(labels, scores_a, max_fpr) - _once(labels, scores_b, max_fpr)
    return between(value, np.concatenate(parts))


def between(value: float, resampled: np.ndarray) -> Interval:
    """The figure with the 2.5th and 97.5th percentiles of what its resamples gave; [resamples]."""
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Interval(float(value), float(low), float(high))


def draws(
    strata: np.ndarray, recordings: np.ndarray | None, resamples: int, seed: int | list[int]
) -> Iterator[np.ndarray]:
    """[clips] strata -> [some resamples, clips] counts, until there were `resamples`.

    Every stratum keeps its number of recordings; a recording that holds two strata counts once in each.
    """
    random = np.random.default_rng(seed)
    alone = np.arange(len(strata))
    units = alone if recordings is None else np.unique(np.asarray(recordings), return_inverse=True)[1].ravel()
    block = max(1, _CELLS // max(1, len(strata)))
    for start in range(0, resamples, block):
        counts = np.zeros((min(block, resamples - start), len(strata)))
        for stratum in np.unique(strata):
            rows = np.flatnonzero(strata == stratum)
            kinds, of_row = np.unique(units[rows], return_inverse=True)
            counts[:, rows] = _draw(random, len(counts), len(kinds))[:, of_row.ravel()]
        yield counts


def weighted_auc(labels: np.ndarray, scores: np.ndarray, counts: np.ndarray, max_fpr: float = 1.0) -> np.ndarray:
    """[clips] labels and scores, [resamples, clips] counts -> [resamples] area under the ROC curve up to `max_fpr`.

    Ties count one half; a partial area is standardised to 0.5 for chance and 1 for perfect (McClish 1989), so that
    with all counts 1 it is `roc_auc_score(labels, scores, max_fpr=max_fpr)`.
    """
    check(labels, scores)
    labels, scores = np.asarray(labels), np.asarray(scores, np.float64)
    order = np.argsort(-scores, kind="stable")
    steps = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])  # clips of equal score are one step of the curve
    drawn, anomalous = counts[:, order], labels[order] != 0
    x = _rate(np.add.reduceat(np.where(anomalous, 0.0, drawn), steps, axis=1))
    y = _rate(np.add.reduceat(np.where(anomalous, drawn, 0.0), steps, axis=1))
    run, rise = np.diff(x, axis=1), np.diff(y, axis=1)
    width = np.diff(np.minimum(x, max_fpr), axis=1)  # of each step, what lies within the limit
    kept = np.divide(width, run, out=np.zeros_like(width), where=run > 0)
    area = np.sum(width * (y[:, :-1] + 0.5 * rise * kept), axis=1)
    chance = 0.5 * max_fpr**2
    return 0.5 * (1.0 + (area - chance) / (max_fpr - chance))


def check(labels: np.ndarray, scores: np.ndarray) -> None:
    """Refuse what has no curve: [clips] labels of one kind, a score that is no number."""
    if len(labels) != len(scores):
        raise DataError(f"{len(scores)} scores for {len(labels)} labels; a clip has one of each")
    if not 0 < np.count_nonzero(labels) < len(labels):
        raise DataError("the area under a curve needs normal and anomalous clips; these are all of one kind")
    if not np.isfinite(scores).all():
        raise DataError("a score is not a finite number, so the clips have no order")


def _draw(random: np.random.Generator, resamples: int, n: int) -> np.ndarray:
    """[resamples, n] counts of n draws from n with replacement."""
    drawn = random.integers(n, size=(resamples, n)) + n * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * n).reshape(resamples, n)


def _rate(counts: np.ndarray) -> np.ndarray:
    """[resamples, steps] counts -> [resamples, 1 + steps] cumulative share, from 0 to 1."""
    total = np.cumsum(counts, axis=1)
    return np.pad(total / total[:, -1:], ((0, 0), (1, 0)))


def _once(labels: np.ndarray, scores: np.ndarray, max_fpr: float) -> float:
    return float(weighted_auc(labels, scores, np.ones((1, len(scores))), max_fpr)[0])
