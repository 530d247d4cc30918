"""The inputs of every model: against themselves in a stream, and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime import features
from edge_runtime.errors import AudioError
from edge_runtime.features import LogMel, Phase, Spectrum, Stft
from edge_runtime.stream import WindowStream, windows
from tests.conftest import hum

NOISE = (np.random.default_rng(0).standard_normal(32_000) * 0.1).astype(np.float32)


def test_more_filters_than_bins_leave_empty_bands_at_the_floor():
    found = features.log_mel(NOISE, LogMel(n_fft=256, step=128))
    assert found.min() == -100.0 and np.isfinite(found).all()


def test_a_full_scale_sine_has_the_magnitude_of_half_the_window():
    tone = np.sin(2 * np.pi * 1000 * np.arange(1024) / 16_000).astype(np.float32)  # 64 bins exactly
    assert features.stft_magnitude(tone, Stft())[0, 64] == pytest.approx(256.0, rel=1e-5)  # 1024 / 4 under a Hann
    assert features.spectrum(tone, Spectrum())[64] == pytest.approx(512.0, rel=1e-5)  # 1024 / 2 without a window


def test_the_phase_of_a_cosine_is_its_phase_at_the_start_of_the_frame_and_that_of_silence_is_nothing():
    tone = np.cos(2 * np.pi * 1000 * np.arange(1024) / 16_000 + 0.7).astype(np.float32)  # 64 bins exactly
    assert features.stft_phase(tone, Phase())[0, 64] == pytest.approx(0.7, abs=1e-5)
    assert not features.stft_phase(np.zeros(1024, np.float32), Phase()).any()


def test_the_default_window_is_311_frames_and_the_hop_31():
    assert features.samples_of(311, LogMel()) == features.WINDOW == 159_744
    assert features.HOP == 31 * 512
    assert features.shape(LogMel(), features.WINDOW) == (311, 128)
    assert features.shape(Stft(), features.WINDOW) == (311, 513)
    assert features.shape(Spectrum(), features.WINDOW) == (79_872,)


@pytest.mark.parametrize(
    "spec", [LogMel(), LogMel(step=256, n_mels=224, f_min=50.0, f_max=7800.0), Stft(), Phase(), Spectrum()]
)
def test_the_shape_is_what_compute_gives(spec):
    assert features.compute(hum(1.3), spec).shape == features.shape(spec, len(hum(1.3)))


def test_less_than_a_frame_is_an_error_that_says_so():
    with pytest.raises(AudioError, match="at least 1024 samples"):
        features.log_mel(np.zeros(1023, np.float32), LogMel())


SPECS = {"log_mel": LogMel(), "fine": LogMel(step=256), "stft": Stft(), "phase": Phase(), "spectrum": Spectrum()}
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
