"""The log-mel against librosa, which training and export bring along and a device does not."""

import numpy as np
import pytest

from edge_runtime import features
from edge_runtime.features import LogMel
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
