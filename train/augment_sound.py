"""Changes to a waveform that leave its machine what it is: of the pairs of paper 0 (TranSelf-DyGCN).

    [samples] float32 re full scale, a random generator -> [samples] float32, of the same length

The paper names pitch shift, random time shift, time stretch and Gaussian noise, and no range: the constants below are
[default where the paper is silent]. FilterAugment, its fifth, changes spectrograms and belongs to that system.
"""

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy import fft

from edge_runtime.features import SAMPLE_RATE, Floats

PITCH_SEMITONES = 1.0  # [default where the paper is silent] up or down at most: 6 %, a machine's own range of speeds
SHIFT_SHARE = 1.0  # [default where the paper is silent] of the clip at most: a crop begins anywhere
STRETCH = 1.1  # [default where the paper is silent] at most as much longer, or shorter
NOISE_DB = (15.0, 40.0)  # [default where the paper is silent] of the sound above the noise
N_FFT, STEP = 1024, 256  # samples: of the phase vocoder


def augment(sound: Floats, rng: np.random.Generator) -> Floats:
    """All four: pitch and stretch in one, then shift, then noise."""
    return noise(time_shift(_warped(sound, _pitch(rng), _slower(rng)), rng), rng)


def pitch_shift(sound: Floats, rng: np.random.Generator) -> Floats:
    """Every frequency times one factor, even in semitones; everything happens when it did."""
    return _warped(sound, _pitch(rng), 1.0)


def time_stretch(sound: Floats, rng: np.random.Generator) -> Floats:
    """Slower or faster at the same pitch, even in the logarithm of the factor; cut to length, or begun anew."""
    return _warped(sound, 1.0, _slower(rng))


def time_shift(sound: Floats, rng: np.random.Generator) -> Floats:
    """Circular, by up to the whole clip."""
    return np.roll(sound, int(rng.integers(int(SHIFT_SHARE * len(sound)) + 1)))


def noise(sound: Floats, rng: np.random.Generator) -> Floats:
    """White Gaussian noise, as many dB below the sound's mean power as drawn; silence stays silent."""
    level = np.sqrt(np.mean(np.square(sound, dtype=np.float64))) * 10.0 ** (-rng.uniform(*NOISE_DB) / 20.0)
    return sound + np.float32(level) * rng.standard_normal(len(sound), dtype=np.float32)


def _pitch(rng: np.random.Generator) -> float:
    """Factor of every frequency."""
    return float(2.0 ** (rng.uniform(-PITCH_SEMITONES, PITCH_SEMITONES) / 12.0))


def _slower(rng: np.random.Generator) -> float:
    """Factor of every duration."""
    return float(STRETCH ** rng.uniform(-1.0, 1.0))


def _warped(sound: Floats, pitch: float, slower: float) -> Floats:
    """Stretched by both factors, then played faster by that of the pitch: [samples] -> [samples]."""
    played = soxr.resample(stretch(sound, pitch * slower), pitch * SAMPLE_RATE, SAMPLE_RATE)
    return np.resize(played, len(sound)).astype(np.float32, copy=False)


def stretch(sound: Floats, factor: float) -> Floats:
    """[samples] -> [about factor * samples], at the same pitch: a phase vocoder (Flanagan and Golden 1966).

    Frames are read at steps of STEP / factor and written at steps of STEP; each bin's phase goes on as its frequency,
    which the phases of two neighbouring frames give, demands.
    """
    spectra = _spectra(np.pad(sound, (N_FFT, 2 * N_FFT), mode="wrap"))
    places = np.arange(0.0, len(spectra) - 1, 1.0 / factor)  # in frames
    before = places.astype(np.intp)
    share = (places - before).astype(np.float32)[:, np.newaxis]
    magnitude = np.abs(spectra)
    mixed = (1 - share) * magnitude[before] + share * magnitude[before + 1]
    phase = np.angle(spectra[1:] * spectra[:-1].conj())[before]  # from each frame to the next
    phase = np.cumsum(np.concatenate([np.angle(spectra[:1]), phase[:-1]]), axis=0)
    first = round(N_FFT * factor)
    return _overlapped((mixed * np.exp(1j * phase)).astype(np.complex64, copy=False))[
        first : first + round(len(sound) * factor)
    ]


def _spectra(sound: Floats) -> NDArray[np.complex64]:
    """[samples] -> [frames, bins], of single precision: it is heard by a network, and twice as fast."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, N_FFT)[::STEP]
    return fft.rfft(frames * _hann(), axis=1)


def _overlapped(spectra: NDArray[np.complex64]) -> Floats:
    """[frames, bins] -> [samples]: frames in their window again, added up; the squared windows sum to 1.5."""
    frames = fft.irfft(spectra, axis=1) * (_hann() / np.float32(1.5))
    parts = frames.reshape(len(frames), N_FFT // STEP, STEP)
    out = np.zeros((len(frames) + N_FFT // STEP - 1, STEP), np.float32)
    for at in range(N_FFT // STEP):
        out[at : at + len(frames)] += parts[:, at]
    return out.ravel()


def _hann() -> Floats:
    """Periodic, [N_FFT]."""
    return (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(N_FFT) / N_FFT)).astype(np.float32)
