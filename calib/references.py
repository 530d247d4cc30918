"""Normal embeddings -> the references that a device compares with."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.features import Doubles
from edge_runtime.scoring import Scoring, pairwise, project

EMPTY = np.zeros(0)
WARD_POINTS = 4000  # windows that Ward's clustering looks at: its memory grows with their square


@dataclass(frozen=True)
class References:
    """Stored embeddings, their radii and the space that they lie in."""

    points: Doubles  # [references, dimensions]
    radii: Doubles  # [references]
    mean: Doubles  # [dimensions], or empty
    whitening: Doubles  # [dimensions, dimensions], or empty


NONE = References(np.zeros((0, 0)), EMPTY, EMPTY, np.zeros((0, 0)))  # of a network whose output is the score


def fit_references(
    embeddings: NDArray[np.floating], target: NDArray[np.bool_], scoring: Scoring, seed: int = 0
) -> References:
    """[windows, dimensions], [windows] -> k-means centroids of the source windows and every target window.

    Few target clips stand for their domain one by one; the source domain has enough to be summed up (Wilkinghoff
    2024, section on the back end).
    """
    mean, whitening = whitener(embeddings.astype(np.float64)) if scoring.whiten else (EMPTY, np.zeros((0, 0)))
    points = project(embeddings, scoring.metric, mean, whitening)
    references = np.concatenate([centroids(points[~target], scoring.centroids, seed), points[target]])
    return References(references, radii(references, scoring), mean, whitening)


def whitener(embeddings: Doubles) -> tuple[Doubles, Doubles]:
    """Mean [dimensions] and the symmetric inverse square root [dimensions, dimensions] of the covariance.

    The covariance is shrunk towards a multiple of the identity by the factor of Ledoit and Wolf (2004), which keeps
    it invertible with fewer windows than dimensions.
    """
    from sklearn.covariance import LedoitWolf

    fitted = LedoitWolf(store_precision=False).fit(embeddings)
    values, vectors = np.linalg.eigh(fitted.covariance_)
    values = np.maximum(values, 1e-12 * max(values[-1], 1e-12))
    return fitted.location_, (vectors / np.sqrt(values)) @ vectors.T


def centroids(points: Doubles, count: int, seed: int) -> Doubles:
    """k-means centroids of the points; the points themselves when there are no more than `count`, or count is 0.

    k-means starts from the means of Ward's clusters. From random starts it ends elsewhere for points that differ by
    1 %, as INT8 embeddings do from FP32 ones: on simulated machines their scores then rank alike by 0.93 to 0.97
    (Spearman), from Ward's starts by 0.98 to 0.99.
    """
    if count == 0 or len(points) <= count:
        return points
    from sklearn.cluster import AgglomerativeClustering, KMeans
    from sklearn.exceptions import ConvergenceWarning

    few = (
        points if len(points) <= WARD_POINTS else np.random.default_rng(seed).choice(points, WARD_POINTS, replace=False)
    )
    cluster = AgglomerativeClustering(count).fit_predict(few)
    start = np.stack([few[cluster == place].mean(axis=0) for place in range(count)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than centroids
        return KMeans(count, init=start, n_init=1, random_state=seed).fit(points).cluster_centers_


def radii(references: Doubles, scoring: Scoring) -> Doubles:
    """[references]: mean distance of each reference to its nearest others; ones where density is not used.

    Local-density normalisation (Wilkinghoff et al. 2025). References that coincide keep a hundredth of the median.
    """
    neighbours = min(scoring.neighbours, len(references) - 1)
    if neighbours < 1:
        return np.ones(len(references))
    distances = pairwise(references, references, scoring.metric)
    np.fill_diagonal(distances, np.inf)
    mean = np.sort(distances, axis=1)[:, :neighbours].mean(axis=1)
    return np.maximum(mean, max(1e-2 * float(np.median(mean)), 1e-6))
