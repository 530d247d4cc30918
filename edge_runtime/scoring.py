"""An embedding and the stored references of a machine -> a score; higher is worse."""

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_runtime.features import Doubles, Floats


class Scoring(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a machine is scored. Chosen in the YAML of the system, carried by the bundle, fitted by `calib/fit.py`."""

    metric: Literal["cosine", "euclidean", "network"] = "cosine"  # "network": the graph's own output is the score
    whiten: bool = False  # by a Ledoit-Wolf covariance of the normal embeddings
    centroids: int = 16  # k-means centroids of the source clips; 0 keeps every clip. Target clips are always all kept
    neighbours: int = 0  # references that a radius is measured over; 0 leaves distances as they are


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of one machine: the normal sound, as embeddings, and where normal ends."""

    name: str
    scoring: Scoring
    threshold: float  # decision: score > threshold
    promise: str  # what the threshold promises, in words
    scores: Floats  # [windows] held-out scores of normal sound that the threshold came from
    references: Floats  # [references, dimensions], whitened where the scoring says so
    radii: Floats  # [references] mean distance to the nearest other references; ones where not used
    mean: Floats  # [dimensions] subtracted before whitening; empty where not used
    whitening: Floats  # [dimensions, dimensions]; empty where not used
    normal_level: Floats  # [n_mels] mean log-mel of normal sound, dB
    normal_spread: Floats  # [n_mels] its standard deviation between windows, dB


def score(outputs: dict[str, NDArray[np.float32]], machine: Machine) -> Doubles:
    """A network's outputs by name (embedding [windows, dimensions] or score [windows]) -> scores [windows].

    min over references y of d(x, y) / radius(y): local-density normalisation in its ratio form (Wilkinghoff et al.
    2025); with radii of one, the distance to the nearest reference.
    """
    if machine.scoring.metric == "network":
        return np.asarray(outputs["score"], np.float64).reshape(-1)
    points = project(outputs["embedding"], machine.scoring.metric, machine.mean, machine.whitening)
    distances = pairwise(points, machine.references.astype(np.float64), machine.scoring.metric)
    nearest: Doubles = np.min(distances / machine.radii, axis=1)
    return nearest


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
