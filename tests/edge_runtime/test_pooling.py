"""Poolings that need no training, by hand where a hand can."""

import numpy as np
import pytest

from edge_runtime.pooling import Gem, Gwrp, Level, Mean, Rdp, Statistics, pool

FRAMES = np.array([[[-40.0, -60.0], [-20.0, -60.0], [-30.0, -60.0]]], np.float32)  # one window of three frames


def test_the_mean_is_the_mean():
    np.testing.assert_allclose(pool(FRAMES, Mean()), [[-30.0, -60.0]])


def test_statistics_are_means_and_then_deviations():
    np.testing.assert_allclose(pool(FRAMES, Statistics()), [[-30.0, -60.0, np.sqrt(200 / 3), 0.0]], rtol=1e-6)


def test_gem_of_power_one_is_the_mean_and_of_a_high_power_the_maximum():
    np.testing.assert_allclose(pool(FRAMES, Gem(power=1.0)), [[-30.0, -60.0]], rtol=1e-6)
    np.testing.assert_allclose(pool(FRAMES, Gem(power=200.0)), [[-20.0, -60.0]], atol=0.5)  # 3^(-1/200) of 80 dB


@pytest.mark.parametrize(("r", "wanted"), [(1.0, -30.0), (0.0, -20.0), (0.5, (-20 - 15 - 10) / 1.75)])
def test_rank_pooling_weighs_the_loudest_frames_of_each_band_most(r, wanted):
    np.testing.assert_allclose(pool(FRAMES, Gwrp(r=r)), [[wanted, -60.0]], rtol=1e-6)


def test_relative_deviation_pooling_leaves_out_the_frame_that_is_the_mean():
    np.testing.assert_allclose(pool(FRAMES, Rdp(gamma=1.0)), [[-30.0, -60.0]], rtol=1e-6)
    loud = np.array([[[0.0], [0.0], [0.0], [8.0]]], np.float32)  # deviations 2, 2, 2, 6 from the mean of 2
    np.testing.assert_allclose(pool(loud, Rdp(gamma=1.0)), [[4.0]], rtol=1e-6)
    np.testing.assert_allclose(pool(loud, Rdp(gamma=0.0)), [[2.0]], rtol=1e-6)


def test_a_steady_sound_is_pooled_to_its_own_frame_by_every_pooling():
    steady = np.repeat(np.linspace(-90, -10, 8, dtype=np.float32)[None, None], 5, axis=1)
    for pooling in (Mean(), Gem(), Rdp(), Gwrp()):
        np.testing.assert_allclose(pool(steady, pooling), steady[:, 0], rtol=1e-5)


def test_the_level_of_a_full_scale_sine_is_minus_3_db_and_of_silence_finite():
    sine = np.sin(2 * np.pi * np.arange(16_000) * 0.01).astype(np.float32)
    np.testing.assert_allclose(pool(np.stack([sine, 0 * sine]), Level()), [[-3.0103], [-200.0]], atol=1e-3)
