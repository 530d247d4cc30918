"""Each back end by hand where a hand can, fusion, and the detector."""

import math

import numpy as np
import pytest

from edge_runtime import quality
from edge_runtime.backends import Pooled
from edge_runtime.bundle import load_model
from edge_runtime.detector import Detector, Ear
from edge_runtime.errors import BundleError
from edge_runtime.machine_file import load_machine
from edge_runtime.scoring import (
    Classes,
    Components,
    Fusion,
    Machine,
    Mixture,
    Nearest,
    Network,
    Nothing,
    Probability,
    pairwise,
    score,
)
from tests.conftest import SHORT, hum, references


def machine(scoring, *fitted, location=None, scale=None) -> Machine:
    empty = np.zeros(0, np.float32)
    location = np.zeros(len(fitted)) if location is None else np.array(location)
    scale = np.ones(len(fitted)) if scale is None else np.array(scale)
    return Machine("m", scoring, list(fitted), location, scale, 0.5, "", empty, empty, empty, empty, empty)


def test_the_cosine_score_is_one_minus_the_nearest_inner_product():
    known = machine(Nearest(metric="cosine"), references([[1.0, 0.0], [0.0, 1.0]]))
    found = score({"embedding": np.array([[3.0, 4.0], [-1.0, 0.0]])}, known)
    np.testing.assert_allclose(found, [1 - 0.8, 1.0], atol=1e-12)


def test_the_euclidean_score_is_divided_by_the_radius_of_the_reference():
    known = machine(Nearest(metric="euclidean"), references([[0.0, 0.0], [10.0, 0.0]], radii=[1.0, 8.0]))
    np.testing.assert_allclose(score({"embedding": np.array([[4.0, 0.0]])}, known), [6.0 / 8.0])


@pytest.mark.parametrize(("k", "wanted"), [(1, 1.0), (2, 1.5), (3, 7.0 / 3.0), (9, 7.0 / 3.0)])
def test_k_nearest_neighbours_are_averaged_and_never_more_than_there_are(k, wanted):
    known = machine(Nearest(metric="euclidean", nearest=k), references([[1.0], [2.0], [4.0]]))
    np.testing.assert_allclose(score({"embedding": np.array([[0.0]])}, known), [wanted])


def test_segments_are_judged_one_by_one_and_averaged_over_their_window():
    known = machine(Nearest(metric="euclidean"), references([[0.0], [10.0]]))
    found = score({"embedding": np.array([[[1.0], [9.0], [5.0]], [[0.0], [10.0], [13.0]]])}, known)
    np.testing.assert_allclose(found, [(1 + 1 + 5) / 3, 1.0])


def test_thousands_of_references_are_compared_in_blocks_and_nothing_is_lost_between_them():
    points = np.arange(2500.0)[:, np.newaxis]
    known = machine(Nearest(metric="euclidean", nearest=2), references(points))
    found = score({"embedding": np.array([[1023.5], [2047.6], [2499.0], [-1.0]])}, known)
    np.testing.assert_allclose(found, [0.5, 0.5, 0.5, 1.5], atol=1e-6)  # of squares of 2000, in float64


def test_a_fusion_may_weigh_its_parts():
    outputs = {"a": np.array([1.0]), "b": np.array([5.0])}
    fusion = Fusion(parts=[Network(of="a"), Network(of="b")], weights=[3.0, 1.0])
    np.testing.assert_allclose(score(outputs, machine(fusion, Nothing(), Nothing())), [2.0])


@pytest.mark.parametrize("wrong", [{"weights": [1.0]}, {"weights": [1.0, 2.0], "by": "minimum"}])
def test_weights_that_fit_no_mean_are_refused(wrong):
    with pytest.raises(ValueError, match="weights"):
        Fusion(parts=[Network(of="a"), Network(of="b")], **wrong)


def test_a_network_that_scores_is_believed():
    known = machine(Network(), Nothing())
    np.testing.assert_allclose(score({"score": np.array([1.5, 2.5])}, known), [1.5, 2.5])


def test_a_mixture_says_the_negative_log_density_of_the_likeliest_gaussian():
    means, deviations = np.array([[0.0, 0.0], [10.0, 0.0]]), np.array([1.0, 2.0])
    whitening = np.stack([np.eye(2) / d for d in deviations])
    constants = -2 * np.log(deviations) - math.log(2 * math.pi)
    known = machine(Mixture(), Components(means, whitening, constants))
    at_far = 0.5 * (4.0 / 2.0) ** 2 + 2 * math.log(2.0) + math.log(2 * math.pi)  # 4 away from the second, deviation 2
    np.testing.assert_allclose(score({"embedding": np.array([[14.0, 0.0]])}, known), [at_far])


@pytest.mark.parametrize(("form", "wanted"), [("log", -math.log(0.3)), ("odds", math.log(0.7 / 0.3))])
def test_class_probability_adds_up_the_classes_of_the_machine(form, wanted):
    logits = np.log(np.array([[0.1, 0.2, 0.3, 0.4]])) + 5.0  # a softmax takes the 5 off again
    known = machine(Probability(form=form), Classes(np.array([0, 1])))
    np.testing.assert_allclose(score({"logits": logits}, known), [wanted], atol=1e-9)


def test_class_probability_of_a_network_that_is_sure_stays_finite_where_a_softmax_would_not():
    known = machine(Probability(), Classes(np.array([1])))
    np.testing.assert_allclose(score({"logits": np.array([[2000.0, 0.0]])}, known), [2000.0])


@pytest.mark.parametrize(("by", "wanted"), [("mean", 2.0), ("minimum", 1.0)])
def test_a_fusion_joins_scores_that_are_standardised_on_held_out_normals(by, wanted):
    scoring = Fusion([Network(of="a"), Network(of="b")], by=by)
    known = machine(scoring, Nothing(), Nothing(), location=[10.0, 100.0], scale=[2.0, 30.0])
    np.testing.assert_allclose(score({"a": np.array([12.0]), "b": np.array([190.0])}, known), [wanted])


def test_an_output_that_the_network_does_not_give_is_named():
    with pytest.raises(BundleError, match="no output logits; there is embedding"):
        score({"embedding": np.zeros((1, 2))}, machine(Probability(), Classes(np.array([0]))))


def test_distances_are_never_negative_or_not_a_number():
    point = np.full((1, 128), 1e4)
    assert pairwise(point, point, "euclidean")[0, 0] == 0.0


def test_the_score_does_not_depend_on_the_block_size(model_folder):
    model, known = load_model(model_folder), load_machine(model_folder / "machines/fan_section_00.npz")
    sound = hum(4.0, seed=5)
    results = []
    for block in (1_000, 160, 50_000):
        detector = Detector(model, Pooled(model), [Ear(known)])
        parts = [sound[i : i + block, np.newaxis] for i in range(0, len(sound), block)]
        results.append([window.score for part in parts for (window,) in detector.push(part)])
    assert len(results[0]) == (len(sound) - SHORT) // 4096 + 1
    assert results[0] == results[1] == results[2]


def test_a_silent_window_has_no_score_and_the_stream_goes_on(model_folder):
    model, known = load_model(model_folder), load_machine(model_folder / "machines/fan_section_00.npz")
    sound = np.concatenate([hum(2.0), np.zeros(24_000, np.float32), hum(2.0)])
    found = [window for (window,) in Detector(model, Pooled(model), [Ear(known)]).push(sound[:, np.newaxis])]
    silent = [window for window in found if window.score is None]
    assert silent and all(window.decision is None for window in silent)
    words = {fault for window in silent for fault in window.quality.faults}
    assert {"silence", "stuck"} <= words <= {"silence", "stuck", "gain", "quiet"}  # all of it, its end, most of it
    assert found[0].score is not None and found[-1].score is not None


def test_silence_has_no_level_and_a_full_scale_sine_is_at_minus_3_dbfs():
    assert quality.judge(np.zeros(1000, np.float32)).level_dbfs is None
    sine = np.sin(np.arange(16_000) / 16_000 * 2 * np.pi * 100).astype(np.float32)
    assert quality.judge(sine).level_dbfs == pytest.approx(-3.01, abs=0.01)  # rounded to 0.01 dB


def test_clipping_is_reported_and_still_scored():
    clipped = quality.judge(np.clip(hum(1.0) * 8, -1, 1))
    assert clipped.faults == ["clipping"] and clipped.fit and clipped.clipped > 0.01


def test_sound_that_is_not_a_number_is_not_scored():
    assert not quality.judge(np.array([0.1, np.nan, 0.1], np.float32)).fit
