"""Distances, radii, whitening and the detector, by hand where a hand can."""

import numpy as np
import pytest

from calib import references
from edge_runtime import quality
from edge_runtime.backends import TimeMean
from edge_runtime.bundle import load_machine, load_model
from edge_runtime.detector import Detector
from edge_runtime.scoring import Machine, Scoring, pairwise, score
from tests.conftest import SHORT, hum


def machine(points, scoring, radii=None) -> Machine:
    empty = np.zeros(0, np.float32)
    radii = np.ones(len(points)) if radii is None else radii
    return Machine(
        "m", scoring, 0.5, "", empty, np.array(points), np.array(radii), empty, np.zeros((0, 0)), empty, empty
    )


def test_the_cosine_score_is_one_minus_the_nearest_inner_product():
    known = machine([[1.0, 0.0], [0.0, 1.0]], Scoring(metric="cosine"))
    found = score({"embedding": np.array([[3.0, 4.0], [-1.0, 0.0]])}, known)
    np.testing.assert_allclose(found, [1 - 0.8, 1.0], atol=1e-12)


def test_the_euclidean_score_is_divided_by_the_radius_of_the_reference():
    known = machine([[0.0, 0.0], [10.0, 0.0]], Scoring(metric="euclidean"), radii=[1.0, 8.0])
    np.testing.assert_allclose(score({"embedding": np.array([[4.0, 0.0]])}, known), [6.0 / 8.0])


def test_a_network_that_scores_is_believed():
    known = machine(np.zeros((0, 0)), Scoring(metric="network"), radii=[])
    np.testing.assert_allclose(score({"score": np.array([1.5, 2.5])}, known), [1.5, 2.5])


def test_a_radius_is_the_mean_distance_to_the_nearest_neighbours():
    line = np.array([[0.0], [1.0], [3.0], [7.0]])
    found = references.radii(line, Scoring(metric="euclidean", neighbours=2))
    np.testing.assert_allclose(found, [2.0, 1.5, 2.5, 5.0])


def test_references_that_coincide_keep_a_radius_above_zero():
    points = np.array([[0.0], [0.0], [1.0], [2.0], [4.0]])
    assert references.radii(points, Scoring(metric="euclidean", neighbours=1)).min() > 0.0


def test_a_single_reference_has_radius_one():
    assert references.radii(np.ones((1, 3)), Scoring(neighbours=4)) == [1.0]


def test_whitening_makes_the_covariance_of_many_windows_the_identity():
    random = np.random.default_rng(0)
    points = random.standard_normal((5000, 4)) @ random.standard_normal((4, 4)) + 3.0
    mean, whitening = references.whitener(points)
    found = np.cov(((points - mean) @ whitening).T)
    np.testing.assert_allclose(found, np.eye(4), atol=0.02)  # shrinkage with 5000 points is below 2 %


def test_every_target_clip_is_a_reference_and_source_clips_are_summed_up():
    random = np.random.default_rng(0)
    points, target = random.standard_normal((100, 8)), np.arange(100) >= 90
    found = references.fit_references(points, target, Scoring(metric="euclidean", centroids=16))
    assert found.points.shape == (26, 8)
    np.testing.assert_allclose(found.points[16:], points[90:])


def test_distances_are_never_negative_or_not_a_number():
    point = np.full((1, 128), 1e4)
    assert pairwise(point, point, "euclidean")[0, 0] == 0.0


def test_the_score_does_not_depend_on_the_block_size(model_folder):
    model, known = load_model(model_folder), load_machine(model_folder / "machines/fan_section_00.npz")
    sound = hum(4.0, seed=5)
    results = []
    for block in (1_000, 160, 50_000):
        detector = Detector(model, known, TimeMean())
        results.append([w.score for i in range(0, len(sound), block) for w in detector.push(sound[i : i + block])])
    assert len(results[0]) == (len(sound) - SHORT) // 4096 + 1
    assert results[0] == results[1] == results[2]


def test_a_silent_window_has_no_score_and_the_stream_goes_on(model_folder):
    model, known = load_model(model_folder), load_machine(model_folder / "machines/fan_section_00.npz")
    sound = np.concatenate([hum(2.0), np.zeros(24_000, np.float32), hum(2.0)])
    found = list(Detector(model, known, TimeMean()).push(sound))
    silent = [window for window in found if window.score is None]
    assert silent and all("silence" in window.quality.faults and window.decision is None for window in silent)
    assert found[0].score is not None and found[-1].score is not None


def test_silence_has_no_level_and_a_full_scale_sine_is_at_minus_3_dbfs():
    assert quality.judge(np.zeros(1000, np.float32)).level_dbfs is None
    sine = np.sin(np.arange(16_000) / 16_000 * 2 * np.pi * 100).astype(np.float32)
    assert quality.judge(sine).level_dbfs == pytest.approx(-3.01, abs=0.01)  # rounded to 0.01 dB


def test_clipping_is_reported_and_still_scored():
    clipped = quality.judge(np.clip(hum(1.0) * 12, -1, 1))
    assert clipped.faults == ["clipping"] and clipped.fit and clipped.clipped > 0.01


def test_sound_that_is_not_a_number_is_not_scored():
    assert not quality.judge(np.array([0.1, np.nan, 0.1], np.float32)).fit
