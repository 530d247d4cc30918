"""Normal training clips of a machine -> what a device stores of it: references, threshold, normal spectrum."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calib import thresholds
from calib.collect import Collected, mean_per_clip
from calib.references import Normal, centroids, covariance, fit_part
from edge_runtime.cli import say
from edge_runtime.errors import DataError
from edge_runtime.features import Doubles, Floats
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
    rows_of,
    score,
)

SMALLEST_SCALE = 1e-9  # of a back end's held-out scores: one that says the same of everything is not blown up
SPECTRA, TARGET_SPECTRA = 16, 4  # spectra of normal sound that are kept, and how many of them are the target domain's
Within = dict[Part, Doubles]  # back end -> covariance within other machines of the type


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
    _refuse_unfit(collected)
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
    spectra = normal_spectra(collected, seed)
    machine = Machine(
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
        normal_spectra=spectra,
        normal_rest=normal_rest(collected, spectra),
    )
    _refuse_nonsense(machine)
    return machine


def normal_spectra(collected: Collected, seed: int = 0) -> Floats:
    """Windows of one machine -> [k <= SPECTRA, n_mels] dB: the centroids of their mean log-mels (k-means).

    A machine that runs at three speeds has no one normal spectrum. The few windows of a target domain get centroids of
    their own, which k-means would not spare them among thousands of the source.
    """
    mel, target = collected.mel.astype(np.float64), collected.target
    share = TARGET_SPECTRA if target.any() and not target.all() else 0
    groups = [(mel[~target], SPECTRA - share), (mel[target], share or SPECTRA)]
    return np.concatenate([centroids(group, count, seed) for group, count in groups if len(group)]).astype(np.float32)


def normal_rest(collected: Collected, spectra: Floats) -> Floats:
    """[n_mels] dB: what several normal spectra leave unexplained of normal windows.

    Spectra that were chosen to be near lie nearer than they would to new windows, by as many degrees of freedom as
    there are spectra; where clips are hardly more than these, the spread about the mean stands for it.
    """
    clips = len(collected.clips)
    if clips < 2 * len(spectra):
        return collected.mel.std(axis=0)
    apart = np.zeros(collected.mel.shape[1])
    for level in collected.mel:
        away = (level - spectra).astype(np.float64)
        apart += away[np.argmin(np.mean(away**2, axis=1))] ** 2
    variance = apart / len(collected.mel) * clips / (clips - len(spectra))
    return np.minimum(np.sqrt(variance), collected.mel.std(axis=0)).astype(np.float32)


def score_clips(collected: Collected, machine: Machine) -> Doubles:
    """Clips of one machine -> their scores [clips], the mean over each clip's windows."""
    return mean_per_clip(score(collected.outputs, machine), collected.clip, len(collected.clips))


def within_type(collected: Collected, name: str, scoring: Scoring) -> Within:
    """Covariances within the other machines of a machine's type, for the back ends that ask for them."""
    asked = [part for part in parts(scoring) if isinstance(part, Nearest | Mahalanobis) and part.prior]
    (of_type,) = {clip.machine_type for clip in collected.clips if clip.machine == name}
    others = sorted({c.machine for c in collected.clips if c.machine_type == of_type and c.machine != name})
    if asked and not others:
        say(f"{name}: no other {of_type} here, so that the covariance comes from this machine alone")
        return {}
    machines = [collected.machine(other) for other in others] if asked else []
    return {part: covariance(np.concatenate([_residuals(one, part) for one in machines])) for part in asked}


def _residuals(machine: Collected, part: Nearest | Mahalanobis) -> Doubles:
    """[windows, dimensions] about the machine's mean, or for Mahalanobis about its domain's."""
    rows, segments = rows_of(machine.outputs[part.of])
    values: Doubles = rows.astype(np.float64)
    domains = machine.target.repeat(segments) if isinstance(part, Mahalanobis) else np.zeros(len(values), bool)
    for domain in np.unique(domains):
        values[domains == domain] -= values[domains == domain].mean(axis=0)
    return values


def _normal(
    collected: Collected, windows: NDArray[np.bool_], part: Part, within: Within | None, classes: Sequence[str]
) -> Normal:
    values, segments = rows_of(collected.outputs[part.of][windows])
    return Normal(
        name=collected.clips[0].machine,
        values=values,
        target=collected.target[windows].repeat(segments),
        kind=collected.kind[windows].repeat(segments),
        within=(within or {}).get(part),
        segments=segments,
        classes=classes,
    )


def _refuse_nonsense(machine: Machine) -> None:
    """A threshold that is no number is never crossed."""
    if not np.isfinite([machine.threshold, *machine.location, *machine.scale]).all():
        raise DataError(
            f"{machine.name}: scores of normal sound are not finite, so there is no threshold; "
            "choose another scoring, or train with a lower training.learning_rate"
        )


def _refuse_unfit(collected: Collected) -> None:
    """What is no machine's sound among the normal clips would make every sound an anomaly, and silence healthy."""
    silent = np.flatnonzero(~collected.fit)
    if silent.size:
        path = collected.clips[collected.clip[silent[0]]].path
        raise DataError(
            f"{path}: holds a window of silence, or of a stuck or overdriven microphone, which is no machine's sound; "
            "remove the clip"
        )
