"""Figures over the same resamples of clips and seeds."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="pip install '.[export]': the benchmark needs torch")

from calib import metrics
from calib.layouts import Clip
from export.bench import registry
from export.bench.draws import Judge
from export.bench.results import ALL
from train.evaluate import section_of

MACHINES = {"fan": 12, "pump": 8, "valve": 8}  # machine type -> clips of each domain and label


def clips(domains: bool) -> list[Clip]:
    found = []
    for machine_type, count in MACHINES.items():
        for at in range(4 * count):
            domain = ("source", "target")[at % 2] if domains else None
            label = ("normal", "anomaly")[at // 2 % 2]
            path = Path(f"{machine_type}_{at}.wav")
            found.append(Clip(path, machine_type, "section_00", "test", domain, label, ""))
    return found


def scores(judged: Judge, seeds: int, seed: int = 0) -> dict[str, list[np.ndarray]]:
    random = np.random.default_rng(seed)
    anomalous = {name: np.array([clip.label == "anomaly" for clip in own]) for name, own in judged.clips.items()}
    return {name: [random.normal(size=len(mask)) + mask for _ in range(seeds)] for name, mask in anomalous.items()}


@pytest.mark.parametrize("year", [2020, 2023])
def test_of_one_seed_they_are_those_of_metrics(year):
    """Values within 1e-12; bounds within 0.02 of a score: 1000 other resamples move them by about 0.01."""
    judge = Judge(clips(year == 2023), year)
    found = scores(judge, 1)
    report = metrics.evaluate([section_of(own, found[name][0]) for name, own in judge.clips.items()], year)
    total = judge.judge(found)[ALL]
    assert total.values[-1] == pytest.approx(report.official_score, abs=1e-12)
    interval = total.intervals[-1]
    assert interval.low == pytest.approx(report.interval.low, abs=0.02)
    assert interval.high == pytest.approx(report.interval.high, abs=0.02)


def test_a_system_does_not_differ_from_itself():
    judge = Judge(clips(True), 2023)
    found = scores(judge, 3)
    for machine, drawn in judge.judge(found).items():
        same = (drawn - judge.judge(found)[machine]).resampled
        assert np.array_equal(same, np.zeros_like(same))


def test_seeds_that_agree_add_no_width_and_seeds_that_differ_do():
    judge = Judge(clips(True), 2023)
    one = scores(judge, 1)
    thrice = {name: own * 3 for name, own in one.items()}
    # within 1e-12: a mean of three equal figures
    assert np.allclose(judge.judge(thrice)[ALL].resampled, judge.judge(one)[ALL].resampled, atol=1e-12)
    worse = {name: [own[0], -own[0]] for name, own in one.items()}  # one seed ranks the clips the other way round
    wide, narrow = judge.judge(worse)[ALL].intervals[-1], judge.judge(one)[ALL].intervals[-1]
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_the_same_ranks_have_the_same_auc_in_int8():
    judge = Judge(clips(True), 2023)
    found = scores(judge, 2)
    louder = {name: [3.0 * one + 1.0 for one in own] for name, own in found.items()}
    change = judge.auc(louder)[ALL] - judge.auc(found)[ALL]
    assert change.values[0] == 0.0 and not change.resampled.any()


def test_everything_that_can_be_listed_has_a_cost_and_a_title():
    listed = {one.name: one for one in registry.listing()}
    assert set(listed) >= {"featex", "autoencoder", "tfap", "tranself", "mel_mean", "loudness"}
    assert not any(name.endswith("_demo") for name in listed)
    for one in listed.values():
        assert one.title and one.flops == 2 * one.macs
        assert (one.parameters > 0) == (one.kind == registry.NETWORK) == (one.macs > 0)
