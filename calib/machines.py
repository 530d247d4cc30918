"""Normal training clips of a machine -> what a device stores of it: references, threshold, normal spectrum."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calib import thresholds
from calib.collect import Collected, mean_per_clip
from calib.references import Normal, covariance, fit_part
from edge_runtime.errors import DataError
from edge_runtime.features import Doubles
from edge_runtime.scoring import (
    Fitted,
    Machine,
    Mahalanobis,
    Nearest,
    Part,
    Scoring,
    fuse,
    part_scores,
    parts,
    score,
)

SMALLEST_SCALE = 1e-9  # of a back end's held-out scores: one that says the same of everything is not blown up
Within = dict[str, Doubles]  # output -> covariance within other machines of the type


def fit_machines(
    collected: Collected,
    scoring: Scoring,
    seed: int = 0,
    rate: float = thresholds.FALSE_ALARM_RATE,
    classes: Sequence[str] = (),
) -> dict[str, Machine]:
    """Normal training clips of several machines -> each machine by name; `classes`: the machine of each logit."""
    return {
        name: fit_machine(collected.machine(name), scoring, seed, rate, classes, within_type(collected, name, scoring))
        for name in collected.machines
    }


def fit_machine(
    collected: Collected,
    scoring: Scoring,
    seed: int = 0,
    rate: float = thresholds.FALSE_ALARM_RATE,
    classes: Sequence[str] = (),
    within: Within | None = None,
) -> Machine:
    """Normal training clips of one machine -> what a device stores of it."""
    _refuse_silence(collected)
    name = collected.clips[0].machine

    def fitted(windows: NDArray[np.bool_]) -> list[Fitted]:
        return [fit_part(part, _normal(collected, windows, part, within, classes), seed) for part in parts(scoring)]

    def fit_and_score(fit: NDArray[np.bool_], held: NDArray[np.bool_]) -> Doubles:
        outputs = {output: array[held] for output, array in collected.outputs.items()}
        return part_scores(outputs, scoring, fitted(fit)).T

    held_out = thresholds.held_out_scores(collected.clip, fit_and_score, seed).T
    location, scale = held_out.mean(axis=1), np.maximum(held_out.std(axis=1), SMALLEST_SCALE)
    scores = fuse(held_out, scoring, location, scale)
    limit, promise = thresholds.threshold(scores, len(collected.clips), rate)
    return Machine(
        name=name,
        scoring=scoring,
        fitted=fitted(np.ones(len(collected.clip), bool)),
        location=location,
        scale=scale,
        threshold=limit,
        promise=promise,
        scores=scores.astype(np.float32),
        normal_level=collected.mel.mean(axis=0),
        normal_spread=collected.mel.std(axis=0),
    )


def score_clips(collected: Collected, machine: Machine) -> Doubles:
    """Clips of one machine -> their scores [clips], the mean over each clip's windows."""
    return mean_per_clip(score(collected.outputs, machine), collected.clip, len(collected.clips))


def within_type(collected: Collected, name: str, scoring: Scoring) -> Within:
    """Covariances within the other machines of a machine's type, for the back ends that ask for them."""
    asked = {p.of for p in parts(scoring) if isinstance(p, Nearest | Mahalanobis) and p.prior}
    if not asked:
        return {}
    (of_type,) = {clip.machine_type for clip in collected.clips if clip.machine == name}
    others = sorted({c.machine for c in collected.clips if c.machine_type == of_type and c.machine != name})
    found: Within = {}
    for output in asked if others else ():
        groups = [collected.machine(other).outputs[output].astype(np.float64) for other in others]
        found[output] = covariance(np.concatenate([group - group.mean(axis=0) for group in groups]))
    return found


def _normal(
    collected: Collected, windows: NDArray[np.bool_], part: Part, within: Within | None, classes: Sequence[str]
) -> Normal:
    if part.of not in collected.outputs:
        have = ", ".join(collected.outputs)
        raise DataError(f"scoring of {part.of}: the model gives {have}; change `of`, or the scoring")
    return Normal(
        name=collected.clips[0].machine,
        values=collected.outputs[part.of][windows],
        target=collected.target[windows],
        kind=collected.kind[windows],
        within=(within or {}).get(part.of),
        classes=classes,
    )


def check_scoring(scoring: Scoring, outputs: Sequence[str]) -> None:
    """Refuse a scoring of outputs that a model does not give."""
    for part in parts(scoring):
        if part.of not in outputs:
            kind = part.__struct_config__.tag
            raise DataError(f"scoring {kind} of {part.of}: the model gives {', '.join(outputs)}; choose one of these")


def _refuse_silence(collected: Collected) -> None:
    """Silence among the normal clips would make every sound an anomaly, and silence healthy."""
    silent = np.flatnonzero(~collected.fit)
    if silent.size:
        path = collected.clips[collected.clip[silent[0]]].path
        raise DataError(f"{path}: holds a window of silence, which is no machine's sound; remove the clip")
