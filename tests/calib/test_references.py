"""What each back end stores of normal sound, by hand where a hand can."""

import numpy as np
import pytest

from calib.references import Normal, covariance, fit_part, inverse_root, radii
from edge_runtime.errors import DataError
from edge_runtime.scoring import Mahalanobis, Mixture, Nearest, Network, Nothing, Probability, part_score

EUCLIDEAN = Nearest(metric="euclidean", references="windows")


def normal(values, target=None, kind=None, **others) -> Normal:
    values = np.asarray(values, np.float64)
    target = np.zeros(len(values), bool) if target is None else np.asarray(target)
    kind = target.astype(np.intp) if kind is None else np.asarray(kind)
    return Normal("fan_section_00", values, target, kind, **others)


def draw(windows: int, dimensions: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((windows, dimensions))


def test_a_radius_is_the_mean_distance_to_the_nearest_neighbours():
    line = np.array([[0.0], [1.0], [3.0], [7.0]])
    found = radii(line, Nearest(metric="euclidean", density=2, density_half=0))
    np.testing.assert_allclose(found, [2.0, 1.5, 2.5, 5.0])


def test_local_density_has_half_its_strength_at_so_many_references_and_less_below():
    line = np.array([[0.0], [1.0], [3.0], [7.0]])
    full = np.log(radii(line, Nearest(metric="euclidean", density=2, density_half=0)))
    half = np.log(radii(line, Nearest(metric="euclidean", density=2, density_half=4)))
    weak = np.log(radii(line, Nearest(metric="euclidean", density=2, density_half=396)))
    np.testing.assert_allclose(np.diff(half), 0.5 * np.diff(full))
    np.testing.assert_allclose(np.diff(weak), 0.01 * np.diff(full))


def test_references_that_coincide_keep_a_radius_above_zero():
    points = np.array([[0.0], [0.0], [1.0], [2.0], [4.0]])
    assert radii(points, Nearest(metric="euclidean", density=1)).min() > 0.0
    assert radii(np.zeros((3, 2)), Nearest(metric="euclidean", density=1)).min() > 0.0


def test_a_single_reference_has_radius_one():
    assert radii(np.ones((1, 3)), Nearest(density=4)) == [1.0]


def test_whitening_makes_the_covariance_of_many_windows_the_identity():
    points = draw(5000, 4) @ draw(4, 4, seed=1) + 3.0
    centred = points - points.mean(axis=0)
    found = np.cov((centred @ inverse_root(covariance(centred))).T)
    np.testing.assert_allclose(found, np.eye(4), atol=0.02)  # shrinkage with 5000 points is below 2 %


def test_a_prior_of_other_machines_counts_for_as_many_windows_as_it_says():
    residuals, within = draw(60, 3), np.diag([1.0, 5.0, 9.0])
    alone = covariance(residuals)
    np.testing.assert_allclose(covariance(residuals, within, prior=20), (60 * alone + 20 * within) / 80)
    np.testing.assert_allclose(covariance(residuals, within, prior=0), alone)


def test_every_target_window_is_a_reference_and_source_windows_are_summed_up():
    points, target = draw(100, 8), np.arange(100) >= 90
    found = fit_part(Nearest(metric="euclidean", centroids=16), normal(points, target))
    assert found.points.shape == (26, 8)
    np.testing.assert_allclose(found.points[16:], points[90:], rtol=1e-6)  # float32


def test_by_classes_there_is_one_mean_for_every_kind_of_window():
    points, kind = draw(30, 4), np.repeat([0, 1, 2], 10)
    found = fit_part(Nearest(metric="euclidean", references="classes"), normal(points, kind=kind))
    np.testing.assert_allclose(found.points, points.reshape(3, 10, 4).mean(axis=1), rtol=1e-5)  # float32
    found = fit_part(Nearest(metric="cosine", references="classes"), normal(points, kind=kind))
    np.testing.assert_allclose(np.linalg.norm(found.points, axis=1), 1.0, rtol=1e-6)  # an angle has no length


def test_mahalanobis_is_the_distance_to_the_nearer_domain_in_deviations():
    values, target = draw(4000, 2) * [1.0, 10.0], np.arange(4000) >= 2000
    values[target] += [20.0, 0.0]
    found = fit_part(Mahalanobis(), normal(values, target))
    points = np.array([[0.0, 30.0], [23.0, 0.0]])
    scores = part_score({"embedding": points}, Mahalanobis(), found)
    np.testing.assert_allclose(scores, [3.0, 3.0], rtol=0.05)  # 4000 windows tell a deviation to about 2 %


def test_a_mixture_finds_two_kinds_of_normal_sound_and_what_lies_between_them_is_odd():
    values = np.concatenate([draw(300, 3), draw(300, 3, seed=1) + 12.0])
    found = fit_part(Mixture(components=2), normal(values))
    assert sorted(found.means.mean(axis=1).round()) == [0.0, 12.0]
    inside, between = part_score({"embedding": np.array([[0.0] * 3, [6.0] * 3])}, Mixture(), found)
    assert between > inside + 20.0
    log_density = -1.5 * np.log(2 * np.pi)  # of a standard normal at its mean, three dimensions
    assert inside == pytest.approx(-log_density, abs=0.4)  # shrinkage and 300 windows


def test_a_mixture_of_fewer_windows_than_dimensions_is_finite():
    found = fit_part(Mixture(components=2), normal(draw(6, 40)))
    assert np.isfinite(part_score({"embedding": draw(5, 40, seed=2)}, Mixture(), found)).all()


def test_the_machines_own_classes_are_found_by_its_name():
    found = fit_part(Probability(), normal(draw(4, 2), classes=["pump_section_00", "fan_section_00", "fan_section_00"]))
    assert found.numbers.tolist() == [1, 2]


def test_class_probability_of_a_machine_never_trained_on_says_what_to_do():
    with pytest.raises(DataError, match=r"trained on.*pump_section_00.*score by distance instead"):
        fit_part(Probability(), normal(draw(4, 2), classes=["pump_section_00"]))


def test_two_windows_tell_nothing_of_directions():
    """Their residuals are each other's mirror image: every other direction would seem to have no variance at all."""
    found = covariance(np.array([[3.0, 0.0], [-3.0, 0.0]]))
    np.testing.assert_allclose(found, 4.5 * np.eye(2))


def test_a_direction_without_variance_counts_as_a_thousandth_of_the_widest():
    np.testing.assert_allclose(inverse_root(np.diag([4.0, 0.0])), np.diag([0.5, 500.0]), atol=1e-9)


def test_a_network_that_knows_one_machine_alone_cannot_doubt_it():
    with pytest.raises(DataError, match="its probability is always 1"):
        fit_part(Probability(), normal(draw(4, 2), classes=["fan_section_00"] * 2))


def test_a_network_that_scores_needs_nothing():
    assert isinstance(fit_part(Network(), normal(draw(4, 1))), Nothing)


@pytest.mark.parametrize("part", [EUCLIDEAN, Mahalanobis(), Mixture()], ids=["nearest", "mahalanobis", "mixture"])
def test_one_window_is_enough_to_be_finite(part):
    found = fit_part(part, normal(draw(1, 5)))
    assert np.isfinite(part_score({"embedding": draw(3, 5, seed=1)}, part, found)).all()
