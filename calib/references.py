"""Normal sound of a machine -> what each scoring back end stores of it."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import DataError
from edge_runtime.features import Doubles
from edge_runtime.scoring import (
    Classes,
    Components,
    Fitted,
    Mahalanobis,
    Mixture,
    Nearest,
    Nothing,
    Part,
    Probability,
    References,
    pairwise,
    project,
)

EMPTY, NO_WHITENING = np.zeros(0), np.zeros((0, 0))
FEWEST = 3  # windows that a covariance is estimated from; with fewer it is the same in every direction
WARD_POINTS = 4000  # windows that Ward's clustering looks at: its memory grows with their square


@dataclass(frozen=True)
class Normal:
    """Normal windows of one machine, as one back end sees them."""

    name: str  # of the machine
    values: NDArray[np.floating]  # [windows, ...] of the output that the back end is of
    target: NDArray[np.bool_]  # [windows]
    kind: NDArray[np.intp]  # [windows] number of the window's attributes and domain
    segments: int = 1  # rows of a window
    within: Doubles | None = None  # [dimensions, dimensions] covariance within other machines of the type
    classes: Sequence[str] = ()  # the machine that each logit stands for


def fit_part(part: Part, normal: Normal, seed: int = 0) -> Fitted:
    """One back end's references of one machine."""
    if isinstance(part, Nearest):
        return _fit_nearest(part, normal, seed)
    if isinstance(part, Mahalanobis):
        return _fit_mahalanobis(part, normal)
    if isinstance(part, Mixture):
        return _fit_mixture(part, normal, seed)
    if isinstance(part, Probability):
        return _own_classes(normal)
    return Nothing()


def _fit_nearest(part: Nearest, normal: Normal, seed: int) -> References:
    """Few target windows stand for their domain one by one; the source domain has enough to be summed up.

    Wilkinghoff 2024, section on the back end; by classes, centre imprinting of Chen et al. (a mean each).
    """
    values = normal.values.astype(np.float64)
    mean, whitening = EMPTY, NO_WHITENING
    if part.whiten:
        mean = values.mean(axis=0)
        whitening = inverse_root(covariance(values - mean, normal.within, part.prior * normal.segments))
    points = project(values, part.metric, mean, whitening)
    target = normal.target
    if part.references == "classes":
        points = np.stack([points[normal.kind == kind].mean(axis=0) for kind in np.unique(normal.kind)])
        points = project(points, part.metric, EMPTY, NO_WHITENING)  # a cosine: the length of a centre has no part in it
    elif part.references == "clusters":
        points = np.concatenate([centroids(points[~target], part.centroids, seed), points[target]])
    return _references(points, radii(points, part), mean, whitening)


def _fit_mahalanobis(part: Mahalanobis, normal: Normal) -> References:
    values, domains = normal.values.astype(np.float64), normal.target.astype(np.intp)
    means = np.stack([values[domains == domain].mean(axis=0) for domain in np.unique(domains)])
    residuals = values - means[np.unique(domains, return_inverse=True)[1]]
    mean = values.mean(axis=0)
    whitening = inverse_root(covariance(residuals, normal.within, part.prior * normal.segments))
    return _references((means - mean) @ whitening, np.ones(len(means)), mean, whitening)


def _fit_mixture(part: Mixture, normal: Normal, seed: int) -> Components:
    """Expectation-maximisation finds the components; each covariance is then shrunk over the component's windows."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    values = normal.values.astype(np.float64)
    count = min(part.components, len(values))
    ridge = 1e-3 * float(values.var(axis=0).mean()) + 1e-12
    found = np.zeros(len(values), np.intp)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # few windows: what it found is as good as any
        if count > 1:
            found = GaussianMixture(count, reg_covar=ridge, random_state=seed).fit_predict(values)
    groups = [values[found == component] for component in np.unique(found)]
    means = np.stack([group.mean(axis=0) for group in groups])
    whole = covariance(values - values.mean(axis=0))
    covariances = [
        covariance(group - mean) if len(group) > 1 else whole for group, mean in zip(groups, means, strict=True)
    ]
    whitening = np.stack([inverse_root(one) for one in covariances])
    constants = [np.linalg.slogdet(root)[1] - 0.5 * values.shape[1] * math.log(2.0 * math.pi) for root in whitening]
    return Components(_single(means), _single(whitening), _single(np.array(constants)))


def _own_classes(normal: Normal) -> Classes:
    numbers = np.flatnonzero([name == normal.name for name in normal.classes])
    if numbers.size and numbers.size == len(normal.classes):
        raise DataError(
            f"{normal.name}: the network knows this machine alone, so that its probability is always 1; "
            "score by distance instead, with `scoring: {kind: nearest}`"
        )
    if not numbers.size:
        known = ", ".join(sorted(set(normal.classes))) or "no machine"
        raise DataError(
            f"{normal.name}: class probability needs a machine that the network was trained on ({known}); "
            "score by distance instead, with `scoring: {kind: nearest}`"
        )
    return Classes(numbers.astype(np.int64))


def covariance(residuals: Doubles, within: Doubles | None = None, prior: int = 0) -> Doubles:
    """[windows, dimensions] about their mean -> [dimensions, dimensions], shrunk towards a multiple of the identity.

    The factor is that of Ledoit and Wolf (2004), which keeps it invertible with fewer windows than dimensions. A
    covariance `within` other machines of the type then counts for as many windows as `prior` says.
    """
    from sklearn.covariance import ledoit_wolf

    count, dimensions = residuals.shape
    if count < FEWEST:  # two residuals are each other's mirror image, which nothing would shrink
        own = (float(np.mean(residuals**2)) or 1.0) * np.eye(dimensions)
    else:
        own = ledoit_wolf(residuals, assume_centered=True)[0]
    if within is None or not prior:
        return own
    return (count * own + prior * within) / (count + prior)


def inverse_root(matrix: Doubles) -> Doubles:
    """[d, d] covariance -> its symmetric inverse square root [d, d].

    A direction without variance counts as one with a thousandth of the widest one's deviation.
    """
    values, vectors = np.linalg.eigh(matrix)
    values = np.maximum(values, 1e-6 * max(values[-1], 1e-12))
    return (vectors / np.sqrt(values)) @ vectors.T


def centroids(points: Doubles, count: int, seed: int) -> Doubles:
    """k-means centroids of the points; the points themselves when there are no more than `count`.

    k-means starts from the means of Ward's clusters. From random starts it ends elsewhere for points that differ by
    1 %, as INT8 embeddings do from FP32 ones: on simulated machines their scores then rank alike by 0.93 to 0.97
    (Spearman), from Ward's starts by 0.98 to 0.99.
    """
    if len(points) <= count:
        return points
    from sklearn.cluster import AgglomerativeClustering, KMeans
    from sklearn.exceptions import ConvergenceWarning

    few = (
        points if len(points) <= WARD_POINTS else np.random.default_rng(seed).choice(points, WARD_POINTS, replace=False)
    )
    cluster = AgglomerativeClustering(count).fit_predict(few) if count > 1 else np.zeros(len(few), int)
    start = np.stack([few[cluster == place].mean(axis=0) for place in range(count)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than centroids
        return KMeans(count, init=start, n_init=1, random_state=seed).fit(points).cluster_centers_


def radii(references: Doubles, part: Nearest) -> Doubles:
    """[references]: mean distance of each reference to its nearest others; ones where density is not used.

    Local-density normalisation (Wilkinghoff et al. 2025). With few references a radius says little of density, so it
    is drawn towards their median, on a log scale, by the share n / (n + density_half). References that coincide keep
    a hundredth of the median.
    """
    count = len(references)
    neighbours = min(part.density, count - 1)
    if neighbours < 1:
        return np.ones(count)
    distances = pairwise(references, references, part.metric)
    np.fill_diagonal(distances, np.inf)
    mean = np.sort(distances, axis=1)[:, :neighbours].mean(axis=1)
    median = max(float(np.median(mean)), 1e-4)
    return median * (np.maximum(mean, 1e-2 * median) / median) ** (count / (count + part.density_half))


def _references(points: Doubles, of: Doubles, mean: Doubles, whitening: Doubles) -> References:
    return References(_single(points), _single(of), _single(mean), _single(whitening))


def _single(array: Doubles) -> NDArray[np.float32]:
    return array.astype(np.float32)
