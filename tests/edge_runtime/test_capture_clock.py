"""Clocks that drift, jump, or were never set; sound that vanishes without a word. No test waits."""

import numpy as np
import pytest

from edge_runtime.capture.clock import SampleClock, WallClock

RATE, FRAMES = 48_000, 1536


def play(clock, seconds, drift_ppm=0.0, late=lambda number: 0.0, missing=(), began=1000.0):
    """Blocks of a card that drifts, each late by so many seconds; (block, frames): lost before it -> (block, told)."""
    missing, told, frames = dict(missing), [], 0
    for number in range(round(seconds * RATE / FRAMES)):
        frames += FRAMES + missing.get(number, 0)
        sounded = began + frames / (RATE * (1 + drift_ppm * 1e-6))
        vanished = clock.heard(FRAMES, sounded + late(number))
        if vanished:
            told.append((number, vanished))
    return told


@pytest.mark.parametrize("drift_ppm", [-80.0, 0.0, 35.0])
def test_drift_is_measured_through_bursts_and_load(drift_ppm):
    random = np.random.default_rng(3)
    late = random.exponential(0.01, 60_000)  # seconds
    late[20_000:20_100] += 3.0  # a machine that was busy for 3 s
    clock = SampleClock(RATE)
    assert play(clock, 1800, drift_ppm, lambda number: late[number]) == []
    assert clock.drift_ppm == pytest.approx(drift_ppm, abs=1.0)  # ppm: the least of 150 delays is 0.1 ms late
    assert clock.slipped_s == pytest.approx(-1800e-6 * drift_ppm, abs=0.01)


def test_drift_is_not_known_before_there_is_enough():
    clock = SampleClock(RATE)
    play(clock, 590)
    assert clock.drift_ppm is None


def test_sound_that_vanishes_without_a_flag_is_told_once_and_within_ten_seconds():
    clock = SampleClock(RATE)
    told = play(clock, 120, missing={1000: RATE // 2})
    assert [frames for _, frames in told] == [pytest.approx(RATE // 2, abs=FRAMES)]
    assert 0 < (told[0][0] - 1000) * FRAMES / RATE < 10.1  # seconds


def test_many_small_losses_are_no_drift():
    every = dict.fromkeys(range(150, 3000, 150), RATE // 10)  # 0.1 s of every 4.8 s
    told = play(SampleClock(RATE), 120, missing=every)
    assert sum(frames for _, frames in told) == pytest.approx(len(every) * RATE / 10, abs=0.4 * RATE)


def test_sound_that_is_only_late_is_not_lost():
    clock = SampleClock(RATE)
    late = lambda number: 4.0 * (1000 <= number < 1100)  # noqa: E731 - 3.2 s in which everything comes 4 s late
    assert play(clock, 60, late=late) == []


def test_drift_alone_never_counts_as_lost():
    assert play(SampleClock(RATE), 4 * 3600, drift_ppm=-400.0) == []


def test_flagged_losses_are_not_told_again():
    clock = SampleClock(RATE)
    for number in range(2000):
        lost = RATE if number >= 1000 else 0
        at_s = 5.0 + ((number + 1) * FRAMES + lost) / RATE
        assert clock.heard(FRAMES, at_s, RATE if number == 1000 else 0) == 0


def clocks(wall, monotonic):
    now = {"wall": wall, "monotonic": monotonic}
    return now, WallClock(lambda: now["wall"], lambda: now["monotonic"])


def test_a_monotonic_instant_has_a_utc_time():
    _, wall = clocks(1_750_000_010.0, 510.0)
    assert (wall.at(500.25).time, wall.at(500.25).flag) == ("2025-06-15T15:06:40.250+00:00", "")


def test_a_clock_that_was_never_set_is_flagged_every_time():
    _, wall = clocks(1000.0, 10.0)
    assert [wall.at(10.0).flag for _ in range(3)] == ["unset"] * 3


def test_a_jump_is_told_once_with_its_size():
    now, wall = clocks(1_750_000_000.0, 500.0)
    now["wall"] -= 365 * 86_400.0
    now["monotonic"] += 1.0
    first, second = wall.at(501.0), wall.at(501.0)
    assert (first.flag, first.jump_s) == ("jumped", pytest.approx(-365 * 86_400.0 - 1.0))
    assert (second.flag, second.jump_s) == ("unset", 0.0)
    now["wall"] += 1.5
    assert wall.at(501.0).flag == "unset"  # a small step of a time server is no jump
