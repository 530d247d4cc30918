"""What a network made of a window, and what is known of a machine -> a score; higher is worse.

A back end is a frozen spec (chosen in the YAML of a system, carried by the bundle) and what `calib/references.py`
fitted for one machine. `Fusion` joins several. Everything here is NumPy.
"""

from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from edge_runtime.errors import BundleError
from edge_runtime.features import Doubles, Floats

Outputs = dict[str, NDArray[np.float32]]
BLOCK = 1024  # references that are compared at once: thousands of them would take twice their room in float64


class Nearest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="nearest"):
    """Distance to the nearest references, each divided by its radius (1 where local density is not used)."""

    of: str = "embedding"  # the output that is compared, [windows, dimensions]
    metric: Literal["cosine", "euclidean"] = "cosine"
    whiten: bool = False  # by the covariance of normal embeddings, shrunk (Ledoit and Wolf 2004)
    prior: Annotated[int, Meta(ge=0)] = 0  # windows that the covariance within other machines of the type counts for
    references: Literal["clusters", "classes", "windows"] = "clusters"  # what stands for the source domain
    centroids: Annotated[int, Meta(ge=1)] = 16  # of clusters: k-means. Target windows are all kept, except by classes
    nearest: Annotated[int, Meta(ge=1)] = 1  # references that the distance is the mean of
    density: Annotated[int, Meta(ge=0)] = 0  # neighbours that a reference's radius is measured over; 0: no radii
    density_half: Annotated[int, Meta(ge=0)] = 50  # references at which density has half its strength; 0: always all


class Mahalanobis(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="mahalanobis"):
    """Distance to the nearer of the domains' means, under the covariance within domains, shrunk."""

    of: str = "embedding"
    prior: Annotated[int, Meta(ge=0)] = 0  # windows that the covariance within other machines of the type counts for


class Mixture(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="mixture"):
    """Negative log density of the likeliest Gaussian of a mixture with full, shrunk covariances."""

    of: str = "embedding"
    components: Annotated[int, Meta(ge=1)] = 2


class Probability(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="probability"):
    """How improbable the network holds the machine's own classes, p: -ln p, or as odds ln((1 - p) / p)."""

    of: str = "logits"  # [windows, classes]
    form: Literal["log", "odds"] = "log"


class Network(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="network"):
    """The graph's own output is the score."""

    of: str = "score"  # [windows]


Part = Nearest | Mahalanobis | Mixture | Probability | Network


class Fusion(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="fusion"):
    """Mean or minimum of several scores, each standardised on held-out normal windows."""

    parts: Annotated[list[Part], Meta(min_length=1)]
    by: Literal["mean", "minimum"] = "mean"
    weights: list[Annotated[float, Meta(gt=0.0)]] = []  # of the mean, one a part; none: all weigh the same

    def __post_init__(self) -> None:
        if self.weights and (self.by != "mean" or len(self.weights) != len(self.parts)):
            raise ValueError(f"weights: {len(self.weights)} for the {self.by} of {len(self.parts)} parts")


Scoring = Part | Fusion


class References(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of `Nearest` and `Mahalanobis`."""

    points: Floats  # [references, dimensions] in the space that distances are measured in
    radii: Floats  # [references]
    mean: Floats  # [dimensions] subtracted before whitening; empty where not used
    whitening: Floats  # [dimensions, dimensions]; empty where not used


class Components(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of `Mixture`."""

    means: Floats  # [components, dimensions]
    whitening: Floats  # [components, dimensions, dimensions]: (x - mean) @ whitening is white
    constants: Floats  # [components] log density at the mean


class Classes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of `Probability`."""

    numbers: NDArray[np.int64]  # which logits are the machine's


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of `Network`."""


Fitted = References | Components | Classes | Nothing
FITTED: dict[type, type] = {
    Nearest: References,
    Mahalanobis: References,
    Mixture: Components,
    Probability: Classes,
    Network: Nothing,
}


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of one machine: the normal sound, and where normal ends."""

    name: str
    scoring: Scoring
    fitted: list[Fitted]  # of each part of the scoring
    location: Doubles  # [parts] mean of a part's held-out scores
    scale: Doubles  # [parts] their standard deviation
    threshold: float  # decision: score > threshold
    promise: str  # what the threshold promises, in words
    scores: Floats  # [windows] held-out scores of normal sound that the threshold came from
    normal_level: Floats  # [n_mels] mean log-mel of normal sound, dB
    normal_spread: Floats  # [n_mels] its standard deviation between windows, dB
    normal_spectra: Floats  # [k <= 16, n_mels] mean log-mels that windows of normal sound gather around, dB
    normal_rest: Floats  # [n_mels] standard deviation of normal windows about the nearest of these spectra, dB


def parts(scoring: Scoring) -> list[Part]:
    """The back ends that a score is made of."""
    return scoring.parts if isinstance(scoring, Fusion) else [scoring]


def score(outputs: Outputs, machine: Machine) -> Doubles:
    """A network's outputs by name, [windows, ...] -> scores [windows]."""
    return fuse(part_scores(outputs, machine.scoring, machine.fitted), machine.scoring, machine.location, machine.scale)


def part_scores(outputs: Outputs, scoring: Scoring, fitted: list[Fitted]) -> Doubles:
    """[parts, windows]: what each back end says, not yet standardised."""
    return np.stack([part_score(outputs, part, known) for part, known in zip(parts(scoring), fitted, strict=True)])


def fuse(scores: Doubles, scoring: Scoring, location: Doubles, scale: Doubles) -> Doubles:
    """[parts, windows] -> [windows]; a single back end keeps its own unit."""
    if not isinstance(scoring, Fusion):
        single: Doubles = scores[0]
        return single
    standard = (scores - location[:, np.newaxis]) / scale[:, np.newaxis]
    if scoring.by == "minimum":
        least: Doubles = standard.min(axis=0)
        return least
    fused: Doubles = np.average(standard, axis=0, weights=scoring.weights or None)
    return fused


def part_score(outputs: Outputs, part: Part, fitted: Fitted) -> Doubles:
    """[windows]: what one back end says of a network's outputs.

    An output of [windows, segments, dimensions] is judged segment by segment: the score is the mean over a window's.
    """
    if part.of not in outputs:
        raise BundleError(f"scoring {part.__struct_config__.tag}: no output {part.of}; there is {', '.join(outputs)}")
    array = outputs[part.of]
    rows, segments = rows_of(array)
    scores = _row_scores(rows.astype(np.float64), part, fitted)
    if segments == 1:
        return scores
    means: Doubles = scores.reshape(-1, segments).mean(axis=1)
    return means


def rows_of(output: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """[windows, segments, dimensions] -> [windows * segments, dimensions] and segments a window; any other as it is."""
    if output.ndim < 3:
        return output, 1
    return output.reshape(-1, output.shape[-1]), output.shape[1]


def _row_scores(values: Doubles, part: Part, fitted: Fitted) -> Doubles:
    if isinstance(fitted, References):
        return _distance(values, part, fitted)
    if isinstance(fitted, Components):
        return _surprise(values, fitted)
    if isinstance(fitted, Classes):
        return _doubt(values, fitted.numbers, odds=isinstance(part, Probability) and part.form == "odds")
    return values.reshape(-1)


def _distance(values: Doubles, part: Part, fitted: References) -> Doubles:
    """[n, dimensions] -> [n] mean over the k smallest of d(x, y) / radius(y).

    Local-density normalisation in its ratio form (Wilkinghoff et al. 2025).
    """
    metric, k = (part.metric, part.nearest) if isinstance(part, Nearest) else ("euclidean", 1)
    points = project(values, metric, fitted.mean, fitted.whitening)
    blocks = range(0, len(fitted.points), BLOCK)
    distances = np.concatenate(
        [pairwise(points, fitted.points[at : at + BLOCK].astype(np.float64), metric) for at in blocks], axis=1
    )
    distances /= fitted.radii
    if k == 1:
        nearest: Doubles = distances.min(axis=1)
        return nearest
    k = min(k, distances.shape[1])
    mean: Doubles = np.partition(distances, k - 1, axis=1)[:, :k].mean(axis=1)
    return mean


def _surprise(values: Doubles, fitted: Components) -> Doubles:
    """[n, dimensions] -> [n] -max over components of ln N(x; mean, covariance)."""
    logs = [
        constant - 0.5 * np.sum(((values - mean) @ whitening) ** 2, axis=1)
        for mean, whitening, constant in zip(fitted.means, fitted.whitening, fitted.constants, strict=True)
    ]
    surprise: Doubles = -np.max(logs, axis=0)
    return surprise


def _doubt(logits: Doubles, own: NDArray[np.int64], odds: bool) -> Doubles:
    """[n, classes] -> [n] -ln p of the machine's classes under the softmax, or the log of the odds against them."""
    of_own = _log_sum_exp(logits[:, own])
    against = _log_sum_exp(np.delete(logits, own, axis=1)) if odds else _log_sum_exp(logits)
    doubt: Doubles = against - of_own
    return doubt


def _log_sum_exp(logits: Doubles) -> Doubles:
    if not logits.shape[1]:
        return np.full(len(logits), -np.inf)
    greatest = logits.max(axis=1)
    total: Doubles = greatest + np.log(np.exp(logits - greatest[:, np.newaxis]).sum(axis=1))
    return total


def project(
    embeddings: NDArray[np.floating], metric: str, mean: NDArray[np.floating], whitening: NDArray[np.floating]
) -> Doubles:
    """[n, dimensions] -> the space distances are measured in: whitened, then of unit length for the cosine."""
    points = np.asarray(embeddings, np.float64)
    if mean.size:
        points = (points - mean) @ whitening
    if metric == "cosine":
        points = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    return points


def pairwise(points: Doubles, references: Doubles, metric: str) -> Doubles:
    """[n, dimensions], [m, dimensions] -> distances [n, m]: 1 - inner product for the cosine, else Euclidean.

    Centroids of unit vectors are not stretched back to unit length: a loose cluster then stays a little farther away.
    """
    inner = points @ references.T
    if metric == "cosine":
        return np.maximum(1.0 - inner, 0.0)
    squared = (points**2).sum(1)[:, None] + (references**2).sum(1)[None, :] - 2.0 * inner
    distances: Doubles = np.sqrt(np.maximum(squared, 0.0))
    return distances
