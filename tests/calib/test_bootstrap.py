"""Bootstrap intervals of AUC and pAUC. Takes about 2 s."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from calib import bootstrap
from calib.metrics import auc, pauc
from edge_runtime.errors import DataError


@pytest.mark.parametrize("max_fpr", [1.0, 0.1])
def test_the_resampled_curve_is_that_of_scikit_learn_on_the_repeated_clips(max_fpr):
    random = np.random.default_rng(3)
    labels = random.permutation(np.repeat([0, 1], [60, 25]))
    scores = np.round(random.normal(size=85) + 0.8 * labels, 1)  # many ties
    (counts,) = bootstrap.draws(labels, None, 50, 0)
    drawn = bootstrap.weighted_auc(labels, scores, counts, max_fpr)
    for value, times in zip(drawn, counts.astype(int), strict=True):
        again = roc_auc_score(np.repeat(labels, times), np.repeat(scores, times), max_fpr=max_fpr)
        assert value == pytest.approx(again, abs=1e-12)  # rounding alone
    assert (counts[:, labels == 1].sum(axis=1) == 25).all() and (counts[:, labels == 0].sum(axis=1) == 60).all()


@pytest.mark.parametrize(("metric", "function"), [("auc", auc), ("pauc", pauc)])
def test_an_interval_holds_the_figure_and_is_the_same_every_time(metric, function):
    random = np.random.default_rng(1)
    labels = np.repeat([0, 1], 100)
    scores = random.normal(size=200) + labels
    found = bootstrap.interval(metric, labels, scores)
    assert found.value == pytest.approx(function(labels, scores), abs=1e-12)
    assert found.low < found.value < found.high
    assert found == bootstrap.interval(metric, labels, scores)
    assert found != bootstrap.interval(metric, labels, scores, seed=1)


def test_a_95_percent_interval_covers_the_true_auc_about_19_times_of_20():
    random = np.random.default_rng(5)
    labels = np.repeat([0, 1], 50)
    true = 0.5 * (1 + math.erf(1.0 / 2))  # AUC of normals N(0, 1) and anomalies N(1, 1)
    covered = 0
    for seed in range(300):
        found = bootstrap.interval("auc", labels, random.normal(size=100) + labels, resamples=300, seed=seed)
        covered += found.low <= true <= found.high
    assert 0.90 <= covered / 300 <= 0.985  # four standard errors of 1.26 % round 95 %, percentile intervals being short


def test_windows_of_one_recording_are_drawn_together():
    random = np.random.default_rng(2)
    labels = np.repeat([0, 1], 30)
    scores = random.normal(size=60) + labels
    windows, of = (np.repeat(labels, 10), np.repeat(scores, 10)), np.repeat(np.arange(60), 10)
    whole = bootstrap.interval("auc", labels, scores)
    together = bootstrap.interval("auc", *windows, recordings=of)
    apart = bootstrap.interval("auc", *windows)
    assert (together.low, together.high) == pytest.approx((whole.low, whole.high), abs=1e-12)
    assert apart.high - apart.low < 0.5 * (whole.high - whole.low)  # a third, were the windows independent


@pytest.mark.parametrize("metric", ["auc", "pauc"])
def test_a_system_does_not_differ_from_itself(metric):
    random = np.random.default_rng(4)
    labels, scores = np.repeat([0, 1], 40), random.normal(size=80)
    assert bootstrap.paired(metric, labels, scores, scores) == bootstrap.Interval(0.0, 0.0, 0.0)


def test_a_paired_interval_sees_what_two_single_ones_cannot():
    random = np.random.default_rng(6)
    labels = np.repeat([0, 1], 60)
    hard = random.normal(size=120)
    a, b = hard + 1.3 * labels, hard + 1.0 * labels + 0.1 * random.normal(size=120)
    single_a, single_b = bootstrap.interval("auc", labels, a), bootstrap.interval("auc", labels, b)
    difference = bootstrap.paired("auc", labels, a, b)
    assert single_b.high > single_a.low  # the intervals overlap
    assert difference.low > 0
    assert difference.value == pytest.approx(single_a.value - single_b.value, abs=1e-12)
    other = bootstrap.paired("auc", labels, b, a)
    assert (other.low, other.high) == pytest.approx((-difference.high, -difference.low), abs=1e-12)


def test_many_clips_are_resampled_in_blocks_with_the_same_kind_of_result(monkeypatch):
    random = np.random.default_rng(7)
    labels = np.repeat([0, 1], 50)
    scores = random.normal(size=100) + labels
    whole = bootstrap.interval("auc", labels, scores, resamples=2000)
    monkeypatch.setattr(bootstrap, "_CELLS", 700)  # seven resamples at a time
    blocks = bootstrap.interval("auc", labels, scores, resamples=2000)
    assert (blocks.low, blocks.high) == pytest.approx((whole.low, whole.high), abs=0.01)  # noise of 2000 draws


def test_what_has_no_curve_is_refused():
    with pytest.raises(DataError, match="all of one kind"):
        auc(np.zeros(5), np.arange(5.0))
    with pytest.raises(DataError, match="not a finite number"):
        pauc(np.array([0, 1]), np.array([0.0, math.nan]))
    with pytest.raises(DataError, match="all of one kind"):
        bootstrap.interval("auc", np.ones(5), np.arange(5.0))
    with pytest.raises(DataError, match="3 scores for 2 labels"):
        auc(np.array([0, 1]), np.arange(3.0))
