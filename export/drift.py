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
from calib.machines import fit_machines, score_clips
from calib.references import EMPTY
from edge_runtime.backends import Arrays, Backend, Several, open_backend
from edge_runtime.bundle import Model
from edge_runtime.features import Doubles
from edge_runtime.scoring import Fusion, Nearest, Part, Probability, Scoring, parts, project
from export import data

TIMES = 30  # runs that the quickest is taken of


class Drift(msgspec.Struct, frozen=True):
    """One form against FP32, on normal clips that nothing was chosen on."""

    kilobytes: int
    milliseconds: float  # a window, one thread
    cosine: float  # median, of the embeddings (or scores) with those of FP32; of a fusion that of its worst part
    noise: float  # variance of what moved, relative to the spread of normal sound; likewise
    spearman: float | None  # of the scores with those of FP32, mean over machines; None: too few clips


def measure(
    fp32: Path, forms: Mapping[str, Path], model: Model, fitted: list[Clip], held: list[Clip]
) -> dict[str, Drift]:
    """Each network on clips held back, under references of the clips that are fitted; FP32 is "fp32"."""
    files = {"fp32": fp32, **forms}
    backends = {who: open_backend(file, model) for who, file in files.items()}
    heard = collect([*fitted, *held], model, Several(backends))
    new = np.arange(len(fitted) + len(held)) >= len(fitted)
    window = next(data.first_windows(held, model))
    truth = heard.part("fp32")
    back = truth.select(new)
    owners = [back.clips[clip].machine for clip in back.clip]
    scores, reference_points = _scores(truth, model, new), points(back.outputs, model)
    found = {}
    for who, file in files.items():
        own = heard.part(who)
        own_points = points(own.select(new).outputs, model)
        found[who] = Drift(
            kilobytes=file.stat().st_size // 1024,
            milliseconds=1e3 * _seconds(backends[who], window),
            cosine=min(float(np.median(_cosines(*pair))) for pair in zip(reference_points, own_points, strict=True)),
            noise=worst_noise(reference_points, own_points, owners),
            spearman=_agreement(scores, _scores(own, model, new)),
        )
    return found


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


def _cosines(ours: Doubles, theirs: Doubles) -> Doubles:
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return np.sum(ours * theirs, axis=1) / np.maximum(lengths, 1e-12)


def _scores(heard: Collected, model: Model, new: NDArray[np.bool_]) -> dict[str, Doubles]:
    """Machine -> scores of its held-back clips; every fitted clip is a reference, so that no clustering blurs them."""
    scoring = _unclustered(model.scoring)
    old, back = heard.select(~new), heard.select(new)
    known = {name for name in old.machines if sum(clip.machine == name for clip in old.clips) > 1}
    if not known:
        return {}
    chosen = old.select([clip.machine in known for clip in old.clips])
    machines = fit_machines(chosen, scoring, classes=model.classes)
    return {name: score_clips(back.machine(name), machines[name]) for name in back.machines if name in known}


def _unclustered(scoring: Scoring) -> Scoring:
    if isinstance(scoring, Fusion):
        return msgspec.structs.replace(scoring, parts=[_unclustered(part) for part in scoring.parts])
    return msgspec.structs.replace(scoring, references="windows") if isinstance(scoring, Nearest) else scoring


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
