"""How far the embeddings of a network's other form are from those of FP32."""

from collections.abc import Sequence

import numpy as np

from calib.references import EMPTY
from edge_runtime.backends import Arrays
from edge_runtime.bundle import Model
from edge_runtime.features import Doubles
from edge_runtime.scoring import Nearest, Part, Probability, parts, project


def points(outputs: Arrays, model: Model) -> list[Doubles]:
    """What each back end scores of a network's outputs [windows, ...] -> [windows, dimensions] each.

    Of unit length for the cosine, as log probabilities for the probability; of every segment where there are several.
    """
    own = [part for part in parts(model.scoring) if part.of in model.outputs]
    return [_points(outputs[part.of].astype(np.float64), part) for part in own]


def _points(values: Doubles, part: Part) -> Doubles:
    rows = values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values[:, np.newaxis]
    if isinstance(part, Probability):
        rows = rows - np.logaddexp.reduce(rows, axis=1, keepdims=True)
    else:
        rows = project(rows, part.metric if isinstance(part, Nearest) else "euclidean", EMPTY, EMPTY)
    return rows.reshape(len(values), -1)


def worst_noise(reference: Sequence[Doubles], found: Sequence[Doubles], machines: Sequence[str]) -> float:
    """The greatest noise among the back ends of a score."""
    return max(noise(*pair, machines) for pair in zip(reference, found, strict=True))


def noise(reference: Doubles, found: Doubles, machines: Sequence[str]) -> float:
    """[windows, dimensions] x 2, machine of each -> variance of what moved, relative to the spread of normal sound.

    A shift that all windows share is no noise: references are fitted with the network that listens. The spread is the
    variance within machines, which is what scores come from.
    """
    moved = found - reference
    groups = [reference[[name == other for other in machines]] for name in sorted(set(machines))]
    if len(groups) == len(reference):
        groups = [reference]
    within = sum(float(np.sum((group - group.mean(axis=0)) ** 2)) for group in groups)
    spread = within / max(len(reference) - len(groups), 1)
    return float(np.sum((moved - moved.mean(axis=0)) ** 2)) / max(len(moved) - 1, 1) / max(spread, 1e-30)


def worst_cosine(reference: Sequence[Doubles], found: Sequence[Doubles]) -> float:
    """The least median cosine among the back ends of a score."""
    return min(float(np.median(_cosines(*pair))) for pair in zip(reference, found, strict=True))


def _cosines(ours: Doubles, theirs: Doubles) -> Doubles:
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return np.sum(ours * theirs, axis=1) / np.maximum(lengths, 1e-12)
