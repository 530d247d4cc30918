"""The inputs of every model: against librosa, against themselves in a stream, and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime import features
from edge_runtime.errors import AudioError
from edge_runtime.features import LogMel, Spectrum, Stft
from edge_runtime.stream import WindowStream, windows
from tests.conftest import hum

librosa = pytest.importorskip("librosa", reason="pip install librosa: the reference that the log-mel is held to")

TIME = np.arange(32_000) / 16_000
SOUNDS = {
    "noise": np.random.default_rng(0).standard_normal(32_000) * 0.1,
    "tone": 0.5 * np.sin(2 * np.pi * 1000 * TIME),
    "chirp": 0.5 * np.sin(2 * np.pi * (50 * TIME + 1975 * TIME**2)),
    "silence": np.zeros(32_000),
    "click": np.eye(1, 32_000, 5000)[0],
    "hum": hum(2.0),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_the_log_mel_is_librosas(name):
    sound = SOUNDS[name].astype(np.float32)
    mel = librosa.feature.melspectrogram(
        y=sound.astype(np.float64), sr=16_000, n_fft=1024, hop_length=512, center=False, n_mels=128, power=2.0
    )
    wanted = 10 * np.log10(np.maximum(mel, 1e-10)).T
    # 1e-3 dB, the budget; librosa keeps its filters in float32, which leaves about 1e-6 dB
    np.testing.assert_allclose(features.log_mel(sound, LogMel()), wanted, atol=1e-3)


@pytest.mark.parametrize("spec", [LogMel(n_mels=64), LogMel(n_fft=512, step=256), LogMel(f_min=50.0, f_max=7800.0)])
def test_another_log_mel_is_librosas_too(spec):
    mel = librosa.feature.melspectrogram(
        y=SOUNDS["noise"].astype(np.float32).astype(np.float64),
        sr=16_000,
        n_fft=spec.n_fft,
        hop_length=spec.step,
        center=False,
        n_mels=spec.n_mels,
        fmin=spec.f_min,
        fmax=spec.f_max,
    )
    found = features.log_mel(SOUNDS["noise"].astype(np.float32), spec)
    np.testing.assert_allclose(found, 10 * np.log10(np.maximum(mel, 1e-10)).T, atol=1e-3)  # dB, the budget


def test_more_filters_than_bins_leave_empty_bands_at_the_floor():
    found = features.log_mel(SOUNDS["noise"].astype(np.float32), LogMel(n_fft=256, step=128))
    assert found.min() == -100.0 and np.isfinite(found).all()


def test_a_full_scale_sine_has_the_magnitude_of_half_the_window():
    tone = np.sin(2 * np.pi * 1000 * np.arange(1024) / 16_000).astype(np.float32)  # 64 bins exactly
    assert features.stft_magnitude(tone, Stft())[0, 64] == pytest.approx(256.0, rel=1e-5)  # 1024 / 4 under a Hann
    assert features.spectrum(tone, Spectrum())[64] == pytest.approx(512.0, rel=1e-5)  # 1024 / 2 without a window


def test_the_default_window_is_311_frames_and_the_hop_31():
    assert features.samples_of(311, LogMel()) == features.WINDOW == 159_744
    assert features.HOP == 31 * 512
    assert features.shape(LogMel(), features.WINDOW) == (311, 128)
    assert features.shape(Stft(), features.WINDOW) == (311, 513)
    assert features.shape(Spectrum(), features.WINDOW) == (79_872,)


@pytest.mark.parametrize("spec", [LogMel(), Stft(), Spectrum()])
def test_the_shape_is_what_compute_gives(spec):
    assert features.compute(hum(1.3), spec).shape == features.shape(spec, len(hum(1.3)))


def test_less_than_a_frame_is_an_error_that_says_so():
    with pytest.raises(AudioError, match="at least 1024 samples"):
        features.log_mel(np.zeros(1023, np.float32), LogMel())


SPECS = {"log_mel": LogMel(), "stft": Stft(), "spectrum": Spectrum()}
SOUND = hum(2.0)
WINDOW = features.samples_of(20, LogMel())


@settings(max_examples=30, deadline=None)
@given(blocks=st.lists(st.integers(1, 9000), min_size=1, max_size=12))
def test_a_stream_in_blocks_of_any_size_equals_the_batch_exactly(blocks):
    wanted = dict(windows(SOUND, SPECS, WINDOW, 4 * 512))
    stream, place, found = WindowStream(SPECS, WINDOW, 4 * 512), 0, 0
    while place < len(SOUND):
        size = blocks[found % len(blocks)]
        for start, sound, inputs in stream.push(SOUND[place : place + size]):
            assert np.array_equal(sound, SOUND[start : start + WINDOW])
            for name, array in inputs.items():
                assert np.array_equal(array, wanted[start][name])
            found += 1
        place += size
    assert found == len(wanted) > 5


def test_after_a_reset_no_window_spans_the_gap():
    stream = WindowStream(SPECS, WINDOW, 4 * 512)
    assert list(stream.push(SOUND[: WINDOW - 1])) == []
    stream.reset()
    assert list(stream.push(SOUND[: WINDOW - 1])) == []
    assert [start for start, *_ in stream.push(SOUND[WINDOW - 1 : WINDOW])] == [0]
