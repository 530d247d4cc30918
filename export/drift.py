"""How far a quantized network is from its FP32 form: embeddings, ranks of scores, seconds."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from calib.clips import Clip
from calib.collect import Collected, collect
from calib.fit import fit_machines, score_clips
from edge_runtime.backends import Arrays, Backend, open_backend
from edge_runtime.bundle import Model
from edge_runtime.features import Doubles
from export import data

TIMES = 30  # runs that the quickest is taken of


class Drift(msgspec.Struct, frozen=True):
    """One form against FP32, on normal clips that nothing was chosen on."""

    kilobytes: int
    milliseconds: float  # a window, one thread
    cosine_median: float  # of the embeddings with those of FP32
    cosine_least: float
    spearman: float | None  # of the scores with those of FP32, mean over machines; None: too few clips


def measure(
    reference: Path, forms: Mapping[str, Path], model: Model, fitted: list[Clip], held: list[Clip]
) -> dict[str, Drift]:
    """Each network on clips held back, under references of the clips that are fitted; the reference is "fp32"."""
    files = {"fp32": reference, **forms}
    backends = {who: open_backend(file) for who, file in files.items()}
    heard = collect([*fitted, *held], model, data.Several(backends))
    new = np.arange(len(fitted) + len(held)) >= len(fitted)
    window = next(data.first_windows(held, model))
    truth = data.part(heard, "fp32")
    scores = _scores(truth, model, new)
    found = {}
    for who, file in files.items():
        own = data.part(heard, who)
        cosines = _cosines(truth.select(new), own.select(new))
        found[who] = Drift(
            kilobytes=file.stat().st_size // 1024,
            milliseconds=1e3 * _seconds(backends[who], window),
            cosine_median=float(np.median(cosines)),
            cosine_least=float(np.min(cosines)),
            spearman=_agreement(scores, _scores(own, model, new)),
        )
    return found


def moved(reference: Sequence[Arrays], found: Sequence[Arrays]) -> float:
    """Mean over windows and outputs of 1 - cosine; of a single score, half the square of its relative change."""
    turns = []
    for ours, theirs in zip(reference, found, strict=True):
        for name, array in ours.items():
            a, b = array.ravel().astype(np.float64), theirs[name].ravel().astype(np.float64)
            turns.append(1.0 - cosine(a, b) if a.size > 1 else 0.5 * float((b / a - 1.0).item()) ** 2)
    return float(np.mean(turns))


def cosine(a: Doubles, b: Doubles) -> float:
    """[dimensions] x 2 -> cosine of their angle."""
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12))


def _cosines(ours: Collected, theirs: Collected) -> list[float]:
    name = "embedding" if "embedding" in ours.outputs else next(iter(ours.outputs))
    pairs = zip(ours.outputs[name].astype(np.float64), theirs.outputs[name].astype(np.float64), strict=True)
    return [cosine(a.ravel(), b.ravel()) for a, b in pairs]


def _scores(heard: Collected, model: Model, new: NDArray[np.bool_]) -> dict[str, Doubles]:
    """Machine -> scores of its held-back clips; every fitted clip is a reference, so that no clustering blurs them."""
    scoring = msgspec.structs.replace(model.scoring, centroids=0)
    old, back = heard.select(~new), heard.select(new)
    known = {name for name in old.machines if sum(clip.machine == name for clip in old.clips) > 1}
    if not known:
        return {}
    machines = fit_machines(old.select([clip.machine in known for clip in old.clips]), scoring)
    return {name: score_clips(back.machine(name), machines[name]) for name in back.machines if name in known}


def _agreement(ours: Mapping[str, Doubles], theirs: Mapping[str, Doubles]) -> float | None:
    """Mean over machines of the rank correlation; None where no machine has three clips."""
    ranks = [float(spearmanr(ours[name], theirs[name]).statistic) for name in ours if len(ours[name]) >= 3]
    return float(np.mean(ranks)) if ranks else None


def _seconds(backend: Backend, window: Arrays) -> float:
    """The least of several runs: what it takes when nothing else is in the way."""
    least = math.inf
    for _ in range(TIMES):
        start = time.perf_counter()
        backend.run(window)
        least = min(least, time.perf_counter() - start)
    return least
