"""The results of a benchmark: figures with intervals, by system and machine. OUT/results.json holds them."""

from collections import Counter
from typing import Any

import msgspec
import numpy as np
from scipy.stats import spearmanr

from calib import detectors
from calib.bootstrap import Interval
from edge_runtime.features import Doubles
from export.bench import registry
from export.bench.draws import OFFICIAL, Judge
from export.bench.jobs import Done, Reason
from export.bench.plan import Plan
from export.bench.scores import Scored
from export.figures import Drawn

ALL = ""  # the name of all machines together


class Judged(msgspec.Struct, frozen=True):
    """A system on one machine, or on all: ratios between 0 and 1, with 95 % intervals over clips and seeds."""

    figures: dict[str, Interval]
    gain: dict[str, Interval]  # less the best detector without a network, on the same clips
    part: dict[str, Interval] = {}  # of an ablation: the whole system less this one
    int8: Interval | None = None  # AUC of INT8 less that of FP32, of the seeds that were quantized
    spearman: float | None = None  # of the FP32 and INT8 scores: the mean over seeds, of all: over machines too


class System(msgspec.Struct, frozen=True):
    """A system, or a detector without a network."""

    name: str
    kind: str  # of the registry
    title: str
    of: str = ""  # of an ablation: the whole system
    settings: Any = None  # all of them, but the seed: that of the first
    seeds: list[int] = []  # that were judged
    judged: dict[str, Judged] = {}  # machine -> figures, ALL: in total; empty where nothing was scored
    parameters: int = 0
    macs: int = 0  # multiply-accumulates a window
    training_s: float | None = None  # seconds, mean over seeds; None: nothing is trained
    commits: list[str] = []  # of the code that its networks were trained with
    missing: str = ""  # what the clips lack that it needs
    failed: list[str] = []  # why seeds, or their INT8 forms, are lacking

    @property
    def shown(self) -> str:
        """As tables call it."""
        return self.title if self.kind == registry.DETECTOR else self.name


class Count(msgspec.Struct, frozen=True):
    """The clips of a machine."""

    machine: str
    train: int
    normal: int  # test clips
    anomalous: int


class Results(msgspec.Struct, frozen=True):
    """Everything that was measured, and how."""

    version: str  # of auscult
    commit: str
    command: str
    request: dict[str, Any]  # the options, all of them
    year: int  # whose conventions the official score follows
    window_frames: int
    resamples: int
    machines: list[Count]
    best: str  # the detector without a network that has the highest official score in total
    systems: list[System]  # best total first; those without figures last

    @property
    def names(self) -> list[str]:
        """The figures, in the order of the tables."""
        found = next(system for system in self.systems if system.name == self.best)
        return list(found.judged[ALL].figures)


def judge(plan: Plan, done: Done, told: dict[str, str]) -> Results:
    """Scores -> figures; `told`: version, commit, command."""
    judge_ = Judge(plan.trial.test, plan.trial.year)
    complete = {name: seeds for name, seeds in done.scored.items() if seeds}
    drawn = {name: judge_.judge(_scores(list(seeds.values()))) for name, seeds in complete.items()}
    best = max((n for n in detectors.names() if n in drawn), key=lambda n: float(drawn[n][ALL].values[-1]))
    names = [*plan.configs, *detectors.names()]
    systems = [_system(name, plan, done, drawn, drawn[best], judge_) for name in names]
    systems = [_with_part(one, done, judge_) for one in systems]
    return Results(
        **told,
        request=msgspec.to_builtins(plan.request, enc_hook=str),
        year=plan.trial.year,
        window_frames=plan.frames,
        resamples=judge_.resamples,
        machines=_counts(plan),
        best=best,
        systems=sorted(systems, key=_order),
    )


def _system(
    name: str, plan: Plan, done: Done, drawn: dict[str, dict[str, Drawn]], best: dict[str, Drawn], judge_: Judge
) -> System:
    seeds = done.scored.get(name, {})
    reasons = done.reasons.get(name, {})
    config = plan.configs.get(name)
    told = [one.told for one in seeds.values()]
    times = [one.training_s for one in told if one.training_s is not None]
    return System(
        name=name,
        kind=registry.DETECTOR if config is None else registry.NETWORK,
        title=registry.title(plan.ablations.get(name, name)),
        of=plan.ablations.get(name, ""),
        settings=msgspec.to_builtins(detectors.load(name) if config is None else config),
        seeds=list(seeds),
        judged=_judged(drawn[name], best, list(seeds.values()), judge_) if seeds else {},
        parameters=told[0].parameters if told else 0,
        macs=told[0].macs if told else 0,
        training_s=float(np.mean(times)) if times else None,
        commits=sorted({one.commit for one in told if one.commit}),
        missing=plan.missing.get(name) or next((r.words for r in reasons.values() if not r.failed), ""),
        failed=[*_failures(reasons), *(f"INT8: {one.int8_note}" for one in told if one.int8_note)],
    )


def _with_part(system: System, done: Done, judge_: Judge) -> System:
    """An ablation beside its whole system, over the same seeds and the same resamples."""
    both = [done.scored.get(name, {}) for name in (system.of, system.name)]
    seeds = sorted(set.intersection(*map(set, both)))
    if not system.of or not seeds:
        return system
    whole, less = (judge_.judge(_scores([one[seed] for seed in seeds])) for one in both)
    judged = {
        machine: msgspec.structs.replace(
            one, part=dict(zip(judge_.names, (whole[machine] - less[machine]).intervals, strict=True))
        )
        for machine, one in system.judged.items()
    }
    return msgspec.structs.replace(system, judged=judged)


def _failures(reasons: dict[int, Reason]) -> list[str]:
    return [f"seed {seed}: {reason.words}" for seed, reason in reasons.items() if reason.failed]


def _judged(drawn: dict[str, Drawn], best: dict[str, Drawn], seeds: list[Scored], judge_: Judge) -> dict[str, Judged]:
    quantized = [one for one in seeds if one.int8]
    change: dict[str, Drawn] = {}
    ranks: dict[str, float] = {}
    if quantized:
        int8, fp32 = (judge_.auc(_scores(quantized, what)) for what in ("int8", "scores"))
        change = {machine: int8[machine] - fp32[machine] for machine in drawn}
        ranks = {m: float(np.mean([_spearman(one, m) for one in quantized])) for m in judge_.clips}
        ranks[ALL] = float(np.mean(list(ranks.values())))
    return {
        machine: Judged(
            figures=dict(zip(judge_.names, drawn[machine].intervals, strict=True)),
            gain=dict(zip(judge_.names, (drawn[machine] - best[machine]).intervals, strict=True)),
            int8=change[machine].intervals[0] if change else None,
            spearman=ranks.get(machine),
        )
        for machine in drawn
    }


def _scores(seeds: list[Scored], what: str = "scores") -> dict[str, list[Doubles]]:
    """Machine -> the scores of each seed."""
    return {machine: [getattr(one, what)[machine] for one in seeds] for machine in seeds[0].scores}


def _spearman(one: Scored, machine: str) -> float:
    return float(spearmanr(one.scores[machine], one.int8[machine]).statistic)


def _order(system: System) -> tuple[bool, float, str]:
    total = system.judged.get(ALL)
    return (total is None, -total.figures[OFFICIAL].value if total else 0.0, system.name)


def _counts(plan: Plan) -> list[Count]:
    train = Counter(clip.machine for clip in plan.trial.train)
    test = Counter((clip.machine, clip.label) for clip in plan.trial.test)
    return [Count(m, train[m], test[m, "normal"], test[m, "anomaly"]) for m in plan.trial.machines]
