"""Figures of every system over the same resamples: of clips, and of seeds.

A resample draws the clips of a machine within domain and label, the same for every system, and of a system's S seeds S
with replacement, the same seeds for every machine. A figure is the mean over the drawn seeds.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from calib.bootstrap import draws, weighted_auc
from calib.clips import Clip
from calib.metrics import combine, ranked
from edge_runtime.features import Doubles
from export.figures import Drawn
from train.evaluate import section_of

RESAMPLES = 1000
OFFICIAL = "official"
Scores = Mapping[str, Sequence[Doubles]]  # machine -> scores [clips] of each seed


class Judge:
    """The test clips of some machines, and the resamples of them that everything is judged by."""

    def __init__(self, clips: Sequence[Clip], year: int, resamples: int = RESAMPLES, seed: int = 0) -> None:
        self.year, self.resamples, self._seed = year, resamples, seed
        self.clips = {name: [c for c in clips if c.machine == name] for name in sorted({c.machine for c in clips})}
        self._counts = {name: self._drawn(own, place) for place, (name, own) in enumerate(self.clips.items())}

    @property
    def names(self) -> list[str]:
        """What is measured: AUC source, AUC target, pAUC, official (2023), or AUC, pAUC, official (2020)."""
        domains = ("AUC",) if self.year == 2020 else ("AUC source", "AUC target")
        return [*domains, "pAUC", OFFICIAL]

    def judge(self, scores: Scores) -> dict[str, Drawn]:
        """Scores of one system -> the figures (`names`) of each machine, and under "" of all together."""
        ranks = {name: self._ranked(name, scores[name]) for name in self.clips}
        types = [own[0].machine_type for own in self.clips.values()]
        found = {name: self._mean(self._with_official(one, [types[0]] * len(one))) for name, one in ranks.items()}
        every = np.stack(list(ranks.values()))  # [machines, figures, seeds, 1 + resamples]
        machines, figures = every.shape[:2]
        apart = np.stack([combine(every[:, place], types, self.year) for place in range(figures)])
        together = every.reshape(machines * figures, *every.shape[2:])
        of = [machine_type for machine_type in types for _ in range(figures)]
        found[""] = self._mean(np.concatenate([apart, combine(together, of, self.year)[np.newaxis]]))
        return found

    def auc(self, scores: Scores) -> dict[str, Drawn]:
        """The same for the AUC of all clips, both domains together, and its mean over machines: one figure."""
        own = {name: self._ranked(name, scores[name], 2020)[:1] for name in self.clips}
        every = np.mean(list(own.values()), axis=0)
        return {name: self._mean(one) for name, one in {**own, "": every}.items()}

    def _drawn(self, clips: Sequence[Clip], place: int) -> Doubles:
        """[1 + resamples, clips] counts; the first is every clip once."""
        strata = np.array([2 * (clip.label == "anomaly") + (clip.domain == "target") for clip in clips])
        return np.concatenate([np.ones((1, len(clips))), *draws(strata, None, self.resamples, [self._seed, place])])

    def _ranked(self, name: str, scores: Sequence[Doubles], year: int | None = None) -> Doubles:
        """[figures, seeds, 1 + resamples]: the figures that the official score is made of."""
        return np.stack([self._of_seed(name, one, year or self.year) for one in scores], axis=1)

    def _of_seed(self, name: str, scores: Doubles, year: int) -> Doubles:
        section, counts = section_of(self.clips[name], scores), self._counts[name]
        return np.stack(
            [
                weighted_auc(section.labels[f.clips], section.scores[f.clips], counts[:, f.clips], f.max_fpr)
                for f in ranked(section, year)
            ]
        )

    def _with_official(self, figures: Doubles, types: Sequence[str]) -> Doubles:
        return np.concatenate([figures, combine(figures, types, self.year)[np.newaxis]])

    def _mean(self, figures: Doubles) -> Drawn:
        """[figures, seeds, 1 + resamples] -> their means over the seeds that each resample draws."""
        seeds = figures.shape[1]
        drawn = np.random.default_rng([self._seed, seeds, 1 << 20]).multinomial(
            seeds, np.full(seeds, 1 / seeds), self.resamples
        )
        weights = np.concatenate([np.ones((1, seeds)), drawn]) / seeds
        means: Doubles = np.einsum("fsr,rs->fr", figures, weights)
        return Drawn(means[:, 0], means[:, 1:])
