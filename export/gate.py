"""What a form of a network must keep of FP32: ranks of scores, alarms of normal sound, the area under the curve.

A form is scored as it will listen: what the CPU runs under references and a threshold of its own, everything else under
those of the CPU, because a bundle carries no others. It is compared with FP32 under FP32's own.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from calib.collect import Collected
from calib.machines import fit_machines, score_clips
from calib.metrics import auc
from edge_runtime.bundle import Model
from edge_runtime.features import Doubles
from edge_runtime.scoring import Fusion, Machine, Nearest, Scoring
from export import drift

FEWEST_CLIPS = 10  # of a machine: of fewer, an exchanged pair of ranks costs half of what the gate allows
ALONE = 30  # of a machine that is judged by itself; the ranks of fewer are judged in the mean over machines
FEWEST_WINDOWS = 20  # of normal sound: of fewer, no share is judged
Machines = dict[str, Machine]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a form may cost."""

    max_auc_drop: float = 0.005  # of every machine
    min_spearman: float = 0.98  # of every machine with enough clips, and of the mean over machines
    max_false_alarm_change: float = 0.005  # of the share of normal windows above the threshold; one window is allowed


class Figures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One form against FP32 on clips that neither references nor ranges come from."""

    noise: float  # variance of what moved in the embeddings, relative to the spread of normal sound
    cosine: float  # median, of the embeddings (or scores) with those of FP32; of a fusion that of its worst part
    spearman: dict[str, float | None]  # machine -> rank correlation of its scores with those of FP32; None: too few
    false_alarms: float | None  # share of normal windows above the threshold; None: too few
    false_alarms_fp32: float | None  # the same of FP32
    auc_drop: dict[str, float]  # machine -> AUC of FP32 less that of the form; empty: no labelled clips
    failures: list[str]  # of the gate, in words

    @property
    def mean_spearman(self) -> float | None:
        """Over the machines with enough clips."""
        known = [value for value in self.spearman.values() if value is not None]
        return float(np.mean(known)) if known else None

    @property
    def worst_auc_drop(self) -> float | None:
        """Of the machines with clips of both labels."""
        return max(self.auc_drop.values(), default=None)


class Judge:
    """What FP32 makes of the clips; some are fitted, the others are new."""

    def __init__(self, truth: Collected, new: NDArray[np.bool_], model: Model, limits: Limits) -> None:
        self.truth, self.model, self.limits = truth, model, limits
        self._new, self._scoring = new, unclustered(model.scoring)
        self._back = truth.select(new)
        self._points = drift.points(self._back.outputs, model)
        self._machines = self.fit(truth)
        self._scores = self._score(truth, self._machines)

    def fit(self, heard: Collected) -> Machines:
        """The machines with two fitted clips at least, as a form hears them."""
        old = heard.select(~self._new)
        names = [clip.machine for clip in old.clips]
        chosen = old.select([names.count(name) > 1 for name in names])
        return fit_machines(chosen, self._scoring, classes=self.model.classes) if chosen.clips else {}

    def figures(self, heard: Collected, machines: Machines) -> Figures:
        """A form's outputs under references that are its own or another's."""
        scores, own = self._score(heard, machines), drift.points(heard.select(self._new).outputs, self.model)
        labels = {name: self._labels(name) for name in scores}
        share, reference = (self._above(*pair) for pair in ((scores, machines), (self._scores, self._machines)))
        found = Figures(
            noise=drift.worst_noise(self._points, own, [clip.machine for clip in self._back.clips]),
            cosine=drift.worst_cosine(self._points, own),
            spearman={name: _spearman(scores[name], self._scores[name]) for name in scores},
            false_alarms=share,
            false_alarms_fp32=reference,
            auc_drop={
                name: auc(labels[name], self._scores[name]) - auc(labels[name], scores[name])
                for name in scores
                if len(set(labels[name])) == 2 and np.isfinite(scores[name]).all()
            },
            failures=[],
        )
        return msgspec.structs.replace(found, failures=self._failures(found))

    def _score(self, heard: Collected, machines: Machines) -> dict[str, Doubles]:
        back = heard.select(self._new)
        return {name: score_clips(back.machine(name), machines[name]) for name in back.machines if name in machines}

    def _labels(self, machine: str) -> NDArray[np.intp]:
        return np.array([clip.label == "anomaly" for clip in self._back.clips if clip.machine == machine], np.intp)

    def _above(self, scores: dict[str, Doubles], machines: Machines) -> float | None:
        above = [scores[name][self._labels(name) == 0] > machines[name].threshold for name in scores]
        windows = sum(map(len, above))
        return float(sum(map(np.sum, above))) / windows if windows >= FEWEST_WINDOWS else None

    def _failures(self, found: Figures) -> list[str]:
        limits, failures = self.limits, []
        if not np.isfinite(found.noise):
            failures.append("outputs are not finite")
        for name, value in {**found.spearman, "mean over machines": found.mean_spearman}.items():
            alone = name not in found.spearman or len(self._labels(name)) >= ALONE
            if value is not None and alone and not value >= limits.min_spearman:
                failures.append(f"{name}: Spearman {value:.4f}, wanted {limits.min_spearman} or more")
        for name, drop in found.auc_drop.items():
            if drop > limits.max_auc_drop:
                failures.append(f"{name}: AUC falls by {drop:.4f}, wanted {limits.max_auc_drop} or less")
        if found.false_alarms is not None and found.false_alarms_fp32 is not None:
            change = abs(found.false_alarms - found.false_alarms_fp32)
            normal = sum(clip.label != "anomaly" for clip in self._back.clips)
            if change > max(limits.max_false_alarm_change, 1.5 / normal):  # one window, and nothing lost to rounding
                failures.append(
                    f"normal windows above the threshold: {found.false_alarms:.1%}, of FP32 "
                    f"{found.false_alarms_fp32:.1%}, wanted a change of {limits.max_false_alarm_change:.1%} or less"
                )
        return failures


def unclustered(scoring: Scoring) -> Scoring:
    """The same with every clip a reference, so that no clustering blurs what two networks make of a clip."""
    if isinstance(scoring, Fusion):
        return msgspec.structs.replace(scoring, parts=[unclustered(part) for part in scoring.parts])
    return msgspec.structs.replace(scoring, references="windows") if isinstance(scoring, Nearest) else scoring


def _spearman(ours: Doubles, theirs: Doubles) -> float | None:
    """Rank correlation with FP32's; None of too few clips, and where all scores of FP32 are equal."""
    if len(ours) < FEWEST_CLIPS or np.ptp(theirs) == 0.0:
        return None
    return 0.0 if np.ptp(ours) == 0.0 else float(spearmanr(ours, theirs).statistic)


def too_few(found: Figures) -> Sequence[str]:
    """Machines whose ranks nothing is said of."""
    return [name for name, value in found.spearman.items() if value is None]
