"""Waveforms are changed as said, in the ranges that the constants say, and keep their length."""

import numpy as np
import pytest

from tests.conftest import hum
from train import augment_sound

RATE = 16_000
EVERY = [
    augment_sound.augment,
    augment_sound.pitch_shift,
    augment_sound.time_stretch,
    augment_sound.time_shift,
    augment_sound.noise,
]


def tone(hz: float, seconds: float = 2.0) -> np.ndarray:
    return (0.1 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def pitch(sound: np.ndarray) -> float:
    """Hz of the strongest line, by a parabola through its logarithm."""
    power = np.log(np.abs(np.fft.rfft(sound * np.hanning(len(sound)))))
    top = int(power.argmax())
    below, at, above = power[top - 1 : top + 2]
    return (top + 0.5 * (below - above) / (below - 2 * at + above)) * RATE / len(sound)


@pytest.mark.parametrize("change", EVERY, ids=lambda change: change.__name__)
@pytest.mark.parametrize("samples", [1500, 10_752, 16_001])
def test_every_change_keeps_length_and_type_and_is_drawn_from_the_generator(change, samples):
    sound = hum(1.1)[:samples]
    kept = sound.copy()
    one, again, other = (change(sound, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert one.shape == sound.shape and one.dtype == np.float32 and np.isfinite(one).all()
    assert np.array_equal(one, again) and not np.array_equal(one, other) and np.array_equal(sound, kept)
    # 1.5 dB: half the power may be in what is cut off or begun anew, of a clip of a tenth of a second
    assert 20 * np.log10(np.std(one) / np.std(sound)) == pytest.approx(0.0, abs=1.5)


def test_a_stretch_by_one_is_the_sound_itself():
    # 1e-4 re full scale: two transforms and a division in float32, of a sound of 0.4
    np.testing.assert_allclose(augment_sound.stretch(hum(1.0), 1.0), hum(1.0), atol=1e-4)


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.07, 1.3])
def test_a_stretch_changes_the_length_and_not_the_pitch(factor):
    sound = augment_sound.stretch(tone(440.0), factor)
    assert len(sound) == pytest.approx(factor * 2 * RATE, abs=1)
    assert pitch(sound) == pytest.approx(440.0, abs=0.3)  # Hz; a line of a window of 2 s is 0.5 Hz wide
    assert np.std(sound) == pytest.approx(np.std(tone(440.0)), rel=0.05)  # what frames between frames lose


def test_a_stretch_moves_what_happens_in_time():
    sound = np.zeros(2 * RATE, np.float32)
    sound[RATE : RATE + 400] = 0.5
    for factor in (0.9, 1.1):
        energy = augment_sound.stretch(sound, factor) ** 2
        centre = float(np.sum(np.arange(len(energy)) * energy) / energy.sum())
        assert centre == pytest.approx(factor * (RATE + 200), abs=512)  # half a frame of the vocoder


def test_pitch_is_shifted_by_up_to_what_is_said_and_time_is_not():
    limit = 2 ** (augment_sound.PITCH_SEMITONES / 12)
    rng = np.random.default_rng(0)
    factors = [pitch(augment_sound.pitch_shift(tone(440.0), rng)) / 440.0 for _ in range(20)]
    assert 1 / limit - 1e-3 < min(factors) < 0.98 and 1.02 < max(factors) < limit + 1e-3
    click = np.zeros(RATE, np.float32)
    click[8000] = 1.0
    moved = [int(np.abs(augment_sound.pitch_shift(click, rng)).argmax()) for _ in range(5)]
    assert np.abs(np.array(moved) - 8000).max() <= 512  # half a frame of the vocoder


def test_a_stretched_clip_keeps_its_pitch():
    rng = np.random.default_rng(0)
    assert all(pitch(augment_sound.time_stretch(tone(440.0), rng)) == pytest.approx(440.0, abs=0.6) for _ in range(5))


def test_a_shift_is_circular():
    sound = hum(0.5)
    shifted = augment_sound.time_shift(sound, np.random.default_rng(0))
    by = int(np.flatnonzero(shifted == sound[0])[0])
    assert any(np.array_equal(np.roll(sound, place), shifted) for place in (by, *np.flatnonzero(shifted == sound[0])))
    assert not np.array_equal(shifted, sound)


def test_noise_is_as_far_below_the_sound_as_said():
    rng, sound = np.random.default_rng(0), tone(440.0)
    below = [20 * np.log10(np.std(sound) / np.std(augment_sound.noise(sound, rng) - sound)) for _ in range(50)]
    low, high = augment_sound.NOISE_DB
    assert low - 0.1 < min(below) < low + 5 and high - 5 < max(below) < high + 0.1  # dB; 32,000 samples: 0.03 dB


def test_silence_stays_silent():
    for change in EVERY:
        assert not change(np.zeros(4000, np.float32), np.random.default_rng(0)).any()
