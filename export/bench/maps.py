"""Embeddings -> points in a plane (t-SNE: van der Maaten and Hinton 2008), all machines in one map."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calib.clips import Clip
from export.data import spread

POINTS = 800  # clips of a map; more are a smear, and take minutes
PERPLEXITY = 30.0


def tsne(embeddings: dict[str, NDArray[Any]], clips: Sequence[Clip]) -> dict[str, NDArray[np.float32]]:
    """[clips, dimensions] of each machine -> [clips, 2] of each; NaN where a clip was not drawn."""
    from sklearn.manifold import TSNE  # late: it takes a second

    if not embeddings:
        return {}
    machines = {name: [clip for clip in clips if clip.machine == name] for name in embeddings}
    drawn = set(spread(clips, POINTS))
    kept = {name: np.array([clip in drawn for clip in own]) for name, own in machines.items()}
    points = np.concatenate([array[kept[name]] for name, array in embeddings.items()]).astype(np.float64)
    perplexity = min(PERPLEXITY, max(1.0, (len(points) - 1) / 3.0))
    flat = TSNE(perplexity=perplexity, init="pca", random_state=0, n_jobs=1).fit_transform(points)
    found, at = {}, 0
    for name, mask in kept.items():
        found[name] = np.full((len(mask), 2), np.nan, np.float32)
        found[name][mask] = flat[at : at + int(mask.sum())]
        at += int(mask.sum())
    return found
