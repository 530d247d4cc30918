"""Where normal ends: a threshold from the scores of normal sound that the references have not seen."""

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import DataError
from edge_runtime.features import Doubles

FALSE_ALARM_RATE = 0.01  # per window
FEWEST_CLIPS = 100  # below this many no rate is promised
FOLDS = 10


def folds(recordings: NDArray[np.intp], seed: int = 0, count: int = FOLDS) -> Iterator[NDArray[np.bool_]]:
    """[windows] recording of each window -> masks [windows] of the held-out windows; a recording is never split."""
    names = np.unique(recordings)
    if len(names) < 2:
        raise DataError(
            "one recording only: a threshold needs sound that the references have not seen; record a second one "
            "(`python -m edge_runtime record` writes one every 10 s)"
        )
    shuffled = np.random.default_rng(seed).permutation(names)
    for part in np.array_split(shuffled, min(count, len(names))):
        yield np.isin(recordings, part)


def held_out_scores(
    recordings: NDArray[np.intp],
    fit_and_score: Callable[[NDArray[np.bool_], NDArray[np.bool_]], Doubles],
    seed: int = 0,
) -> Doubles:
    """[windows, ...]: each window scored by references fitted on the other folds.

    `fit_and_score(fitted, held)` takes two masks [windows] and returns the scores [held-out windows, ...].
    """
    found = [(held, fit_and_score(~held, held)) for held in folds(recordings, seed)]
    scores = np.zeros((len(recordings), *found[0][1].shape[1:]))
    for held, values in found:
        scores[held] = values
    return scores


def threshold(scores: Doubles, clips: int, rate: float = FALSE_ALARM_RATE) -> tuple[float, str]:
    """Held-out scores [windows] of that many clips -> (threshold, what it promises).

    The ceil((n + 1)(1 - rate))-th smallest score: the chance that a new window of the same kind exceeds it is at
    most `rate` (split conformal prediction, Vovk et al. 2005). With too few clips it is the highest score.
    """
    ranked = np.sort(scores)
    place = math.ceil((len(ranked) + 1) * (1.0 - rate))
    if clips < FEWEST_CLIPS or place > len(ranked):
        return float(ranked[-1]), f"no rate promised: {clips} clips, {FEWEST_CLIPS} wanted"
    return float(ranked[place - 1]), f"{rate:.1%} of normal windows above it, from {clips} clips"
