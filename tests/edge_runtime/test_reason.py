"""A reason names what was added to normal sound: where, how much, when and in what pulses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime import features, reason
from edge_runtime.features import LogMel
from edge_runtime.pulses import Heard
from edge_runtime.scoring import Machine, Nearest

RATE, SAMPLES = 16_000, features.WINDOW
SPEC = LogMel()


def noise(seed: int, low: float = 0.0, high: float = 8000.0) -> np.ndarray:
    """[samples] float64 of one standard deviation in the band, Hz."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(SAMPLES))
    hz = np.fft.rfftfreq(SAMPLES, 1 / RATE)
    sound = np.fft.irfft(np.where((hz >= low) & (hz < high), spectrum, 0), SAMPLES)
    return sound / sound.std()


def normal(seed: int) -> np.ndarray:
    return 0.05 * noise(seed)


def mel(sound) -> np.ndarray:
    return features.log_mel(sound.astype(np.float32), SPEC)


LEVELS = np.stack([mel(normal(seed)).mean(axis=0) for seed in range(6)])


def machine(spectra=LEVELS) -> Machine:
    one, none = np.zeros(1), np.zeros(0, np.float32)
    level, spread = spectra.mean(axis=0), LEVELS.std(axis=0)
    return Machine("m", Nearest(), [], one, one, 0.0, "", none, level, spread, spectra, spread)


def explained(added, known=None) -> reason.Reason:
    sound = (normal(99) + added).astype(np.float32)
    return reason.explain(mel(sound), sound, known or machine())


SECONDS = np.arange(SAMPLES) / RATE


def pulsed(rate: float, low: float = 1900.0, high: float = 2300.0) -> np.ndarray:
    return noise(1, low, high) * np.exp(-((SECONDS * rate) % 1.0) * 6)


def test_a_band_in_pulses_is_named_with_its_edges_level_and_rate():
    found = explained(0.2 * pulsed(8.0))
    (band,) = found.bands
    assert band.low_hz == pytest.approx(1900, abs=80) and band.high_hz == pytest.approx(
        2300, abs=80
    )  # Hz, one mel band
    assert band.pulses_hz == pytest.approx(8.0, abs=0.1) and band.tone_hz is None and band.from_s is None
    edges = f"{band.low_hz / 1000:.1f}-{band.high_hz / 1000:.1f} kHz"
    assert found.words == f"{edges}, {band.db:.0f} dB above normal, in pulses 8 per second"


def test_a_tone_is_called_one_and_has_no_pulses():
    band = explained(0.05 * np.sin(2 * np.pi * 1234.0 * SECONDS)).bands[0]
    assert band.tone_hz == pytest.approx(1234.0, abs=0.2) and band.pulses_hz is None
    assert reason.in_words(band).startswith("tone at 1.2 kHz, ")


def test_a_tone_whose_frequency_wanders_by_a_percent_is_still_one():
    phase = 2 * np.pi * np.cumsum(3000.0 * (1 + 0.004 * np.sin(2 * np.pi * 0.3 * SECONDS))) / RATE
    assert explained(0.05 * np.sin(phase)).bands[0].tone_hz == pytest.approx(3000.0, rel=0.005)


def test_what_is_missing_is_below_normal():
    sound = normal(99) - 0.05 * np.fft.irfft(
        np.where(np.fft.rfftfreq(SAMPLES, 1 / RATE) < 300, np.fft.rfft(noise(99)), 0) * 0.9, SAMPLES
    )
    found = reason.explain(mel(sound), sound.astype(np.float32), machine())
    (band,) = found.bands
    assert band.low_hz == 0.0 and band.high_hz == pytest.approx(300, abs=25)  # Hz, one mel band
    assert band.db == pytest.approx(-20, abs=1.5)
    assert found.words == f"below {band.high_hz:.0f} Hz, 19 dB below normal"


def test_what_is_there_for_a_while_has_its_times():
    there = (SECONDS >= 3.1) & (SECONDS < 4.0)
    (band,) = explained(0.2 * noise(1, 4000, 5000) * there).bands
    assert band.from_s == pytest.approx(3.1, abs=0.25) and band.to_s == pytest.approx(4.0, abs=0.25)  # s, the smoothing
    assert f"from {band.from_s:.1f} s to {band.to_s:.1f} s" in reason.in_words(band)


def test_the_strongest_of_several_bands_comes_first_and_no_more_than_three_are_named():
    places = [(500, 600), (1500, 1700), (3000, 3300), (6000, 6500)]
    found = explained(sum(0.02 * 3**k * noise(k, *place) for k, place in enumerate(places)))
    assert 1 < len(found.bands) <= 3
    assert found.bands[0].low_hz == pytest.approx(6000, abs=250)
    assert found.words.count(";") == len(found.bands) - 1


def test_the_whole_spectrum_is_no_single_band():
    found = explained(normal(5) * 2)
    assert found.bands == [] and found.words == "no single band: 7 dB above normal on the whole"


def test_a_band_that_always_varies_does_not_lead():
    shift = np.zeros(128, np.float32)
    shift[20:30], shift[80:90] = 6.0, 4.0
    level = LEVELS.mean(axis=0)
    restless = np.full(128, 0.5, np.float32)
    restless[20:30] = 8.0
    one, none = np.zeros(1), np.zeros(0, np.float32)
    known = Machine("m", Nearest(), [], one, one, 0.0, "", none, level, restless, level[np.newaxis], restless)
    frames = np.tile(level + shift, (311, 1)).astype(np.float32)
    found = reason.explain(frames, normal(0).astype(np.float32), known)
    centre = features.mel_frequencies(SPEC)
    assert found.bands[0].low_hz == pytest.approx(centre[80], rel=0.03) and len(found.bands) == 1


def test_the_deviation_is_from_the_nearest_normal_spectrum_however_loud_the_fault():
    fault = np.where((np.arange(128) >= 60) & (np.arange(128) < 70), 40.0, 0.0).astype(np.float32)
    slow, fast = LEVELS[0], np.where(fault > 0, LEVELS[0] + fault, LEVELS[0] + 3)  # nearer to it on the mean
    away = reason.deviation(np.tile(slow + fault, (311, 1)), machine(np.stack([slow, fast])))
    assert away.shape == (311, 128)
    np.testing.assert_allclose(away[0], fault, atol=1e-4)


def test_exactly_normal_sound_has_no_bands():
    found = reason.explain(np.tile(LEVELS[0], (311, 1)), normal(0).astype(np.float32), machine())
    assert found.bands == [] and "as loud as in some normal sound" in found.words


@pytest.mark.parametrize("frames", [31, 100])
def test_a_short_window_is_explained_too(frames):
    samples = features.samples_of(frames, SPEC)
    sound = (normal(99) + 0.2 * pulsed(40.0))[:samples].astype(np.float32)
    band = reason.explain(mel(sound), sound, machine()).bands[0]
    assert band.low_hz == pytest.approx(1900, abs=120) and band.pulses_hz == pytest.approx(40, rel=0.03)


@settings(max_examples=25, deadline=None)
@given(place=st.integers(0, 120), width=st.integers(1, 30), db=st.floats(3, 30), down=st.booleans())
def test_any_band_that_is_shifted_is_the_first_one_named(place, width, db, down):
    width = min(width, 128 - place)
    shift = np.zeros(128, np.float32)
    shift[place : place + width] = -db if down else db
    frames = np.tile(LEVELS[0] + shift, (311, 1))
    band = reason.explain(frames, normal(0).astype(np.float32), machine()).bands[0]
    centre = features.mel_frequencies(SPEC)[place : place + width]
    assert band.low_hz < centre[0] and centre[-1] < band.high_hz
    assert band.db == pytest.approx(-db if down else db, abs=0.06)  # rounded to 0.1 dB


@pytest.mark.parametrize("rate", [1.0, 7.3, 33.0, 97.0, 180.0])
def test_the_rate_of_pulses_is_found_to_a_tenth(rate):
    heard = Heard(normal(3) + 0.2 * pulsed(rate, 3000, 4500), RATE)
    assert heard.pulses(3000, 4500) == pytest.approx(rate, abs=0.1)


@pytest.mark.parametrize("seed", range(8))
def test_steady_noise_has_no_pulses_and_no_tone(seed):
    heard = Heard(normal(seed), RATE)
    for low, high in ((100, 200), (1900, 2300), (4000, 8000)):
        assert heard.pulses(low, high) is None and heard.tone(low, high) is None


def test_bands_are_said_as_people_say_them():
    def words(low, high):
        return reason.in_words(reason.Band(low, high, 9.0)).split(", ")[0]

    assert words(0, 300) == "below 300 Hz" and words(5000, 8000) == "above 5.0 kHz"
    assert words(200, 410.3) == "200-410 Hz" and words(900, 1250) == "900 Hz to 1.2 kHz"
    assert words(1900, 2300) == "1.9-2.3 kHz" and words(1960, 2040) == "around 2.0 kHz"
    assert reason.in_words(reason.Band(1900, 2300, -0.4, 7.25)) == (
        "1.9-2.3 kHz, 0.4 dB below normal, in pulses 7.2 per second"
    )
    assert reason.in_words(reason.Band(1900, 2300, 12.4, 168.3)).endswith(
        "12 dB above normal, in pulses 168 per second"
    )
