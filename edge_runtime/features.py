"""Every input of every model: its spec, and the NumPy function that computes it.

Training workers, calibration and the device call these same functions; there is no second definition. A frame
depends on its own samples alone (no centring, no padding, no statistic of the clip), and a row's result does not
depend on the rows beside it, so a stream fed in blocks of any size equals the batch bit for bit.

The FFT runs in float64: NumPy 1 and 2 then agree bit for bit. Results are float32.
"""

from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import AudioError

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

SAMPLE_RATE = 16_000  # Hz; every DCASE Task 2 data set
N_FFT = 1024  # samples: 64 ms
STEP = 512  # samples between frames: 32 ms
N_MELS = 128  # bands
WINDOW_FRAMES, HOP_FRAMES = 311, 31
WINDOW = (WINDOW_FRAMES - 1) * STEP + N_FFT  # 159,744 samples, 9.984 s
HOP = HOP_FRAMES * STEP  # 15,872 samples, 0.992 s


class LogMel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="log_mel"):
    """Log-mel spectrogram [frames, n_mels], dB: 10 log10(max(mel filters . |STFT|^2, floor))."""

    sample_rate: int = SAMPLE_RATE  # Hz
    n_fft: int = N_FFT  # samples
    step: int = STEP  # samples
    n_mels: int = N_MELS  # bands
    f_min: float = 0.0  # Hz
    f_max: float = 8_000.0  # Hz
    floor: float = 1e-10  # power; -100 dB


class Stft(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="stft"):
    """Linear STFT magnitude [frames, n_fft / 2 + 1]."""

    sample_rate: int = SAMPLE_RATE  # Hz
    n_fft: int = N_FFT  # samples
    step: int = STEP  # samples


class Phase(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="phase"):
    """STFT phase [frames, n_fft / 2 + 1], radians in [-pi, pi], not unwrapped."""

    sample_rate: int = SAMPLE_RATE  # Hz
    n_fft: int = N_FFT  # samples
    step: int = STEP  # samples


class Spectrum(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="spectrum"):
    """Magnitude of the Fourier transform of the whole window, below the Nyquist frequency: [window / 2]."""

    sample_rate: int = SAMPLE_RATE  # Hz


class Waveform(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="waveform"):
    """The samples of the window themselves: [window]."""

    sample_rate: int = SAMPLE_RATE  # Hz


Framed = LogMel | Stft | Phase  # one row a frame
Whole = Spectrum | Waveform  # of the window as one
Spec = LogMel | Stft | Phase | Spectrum | Waveform


def log_mel(audio: Floats, spec: LogMel) -> Floats:
    """[samples] float32 in [-1, 1] -> [frames, n_mels] float32, dB re full scale.

    Slaney mel scale and area normalisation (Slaney 1998), periodic Hann, power 2, no centring.
    """
    spectrum = _stft(audio, spec)
    power = spectrum.real**2 + spectrum.imag**2
    mel = _sum_filters(power, mel_filters(spec))
    return (10.0 * np.log10(np.maximum(mel, spec.floor))).astype(np.float32)


def stft_magnitude(audio: Floats, spec: Stft) -> Floats:
    """[samples] float32 -> [frames, n_fft / 2 + 1] float32, magnitude; periodic Hann, no centring."""
    return np.abs(_stft(audio, spec)).astype(np.float32)


def stft_phase(audio: Floats, spec: Phase) -> Floats:
    """[samples] float32 -> [frames, n_fft / 2 + 1] float32, radians at the start of each frame; 0 where silent."""
    return np.angle(_stft(audio, spec) + 0.0).astype(np.float32)


def spectrum(audio: Floats, spec: Spectrum) -> Floats:
    """[samples] float32 -> [samples / 2] float32, |FFT| of all samples; the Nyquist bin is left out."""
    return np.abs(np.fft.rfft(audio.astype(np.float64))[: audio.shape[0] // 2]).astype(np.float32)


def compute(audio: Floats, spec: Spec) -> Floats:
    """[samples] -> the input that `spec` describes, of shape `shape(spec, samples)`."""
    if isinstance(spec, LogMel):
        return log_mel(audio, spec)
    if isinstance(spec, Stft):
        return stft_magnitude(audio, spec)
    if isinstance(spec, Phase):
        return stft_phase(audio, spec)
    if isinstance(spec, Waveform):
        return audio.astype(np.float32)
    return spectrum(audio, spec)


def shape(spec: Spec, samples: int) -> tuple[int, ...]:
    """Shape of the input for that many samples, without the batch axis."""
    if isinstance(spec, LogMel):
        return frames_in(samples, spec), spec.n_mels
    if isinstance(spec, Stft | Phase):
        return frames_in(samples, spec), spec.n_fft // 2 + 1
    if isinstance(spec, Waveform):
        return (samples,)
    return (samples // 2,)


def frames_in(samples: int, spec: Framed) -> int:
    """How many whole frames the samples hold."""
    return max(0, (samples - spec.n_fft) // spec.step + 1)


def samples_of(frames: int, spec: Framed) -> int:
    """How many samples make that many frames, exactly."""
    return (frames - 1) * spec.step + spec.n_fft


class Filters(msgspec.Struct, frozen=True):
    """Triangular filters as runs of neighbouring FFT bins: filter m sums weight[k] * power[bin[k]] from start[m] on."""

    bins: NDArray[np.intp]  # [K]
    weights: Doubles  # [K]
    starts: NDArray[np.intp]  # [n_mels]


@lru_cache(maxsize=8)
def mel_filters(spec: LogMel) -> Filters:
    """The filter bank of Slaney's Auditory Toolbox (1998), each triangle scaled to unit area in Hz."""
    edges = _mel_to_hz(np.linspace(_hz_to_mel(spec.f_min), _hz_to_mel(spec.f_max), spec.n_mels + 2))
    frequencies = np.fft.rfftfreq(spec.n_fft, 1.0 / spec.sample_rate)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (frequencies - low) / (centre - low)
    falling = (high - frequencies) / (high - centre)
    weights = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (high - low))
    # A filter narrower than a bin may hold none: it keeps its nearest bin with weight zero, so that it sums to zero.
    runs = [
        np.flatnonzero(row) if row.any() else np.array([int(np.argmax(falling[m]))]) for m, row in enumerate(weights)
    ]
    bins = np.concatenate(runs)
    owner = np.repeat(np.arange(spec.n_mels), [len(run) for run in runs])
    starts = np.concatenate([[0], np.cumsum([len(run) for run in runs])[:-1]])
    return Filters(bins=bins, weights=weights[owner, bins], starts=starts.astype(np.intp))


def mel_frequencies(spec: LogMel) -> Doubles:
    """Centre frequency of each band, Hz: [n_mels]."""
    return _mel_to_hz(np.linspace(_hz_to_mel(spec.f_min), _hz_to_mel(spec.f_max), spec.n_mels + 2))[1:-1]


def _sum_filters(power: Doubles, filters: Filters) -> Doubles:
    """[frames, bins] -> [frames, n_mels]; segment sums, whose order never depends on the number of frames."""
    return np.add.reduceat(power[:, filters.bins] * filters.weights, filters.starts, axis=1)


def _stft(audio: Floats, spec: Framed) -> NDArray[np.complex128]:
    if audio.ndim != 1 or audio.shape[0] < spec.n_fft:
        raise AudioError(f"sound of shape {audio.shape}: one frame needs one channel of at least {spec.n_fft} samples")
    frames = np.lib.stride_tricks.sliding_window_view(audio, spec.n_fft)[:: spec.step]
    return np.fft.rfft(frames * _hann(spec.n_fft), axis=1)


@lru_cache(maxsize=8)
def _hann(n: int) -> Doubles:
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n) / n)


# Slaney's scale: linear below 1 kHz (200/3 Hz a mel), then 27 mels for each factor of 6.4.
_LINEAR_HZ, _KNEE_HZ, _LOG_STEP = 200.0 / 3.0, 1000.0, np.log(6.4) / 27.0


def _hz_to_mel(hz: float) -> float:
    if hz < _KNEE_HZ:
        return hz / _LINEAR_HZ
    return float(_KNEE_HZ / _LINEAR_HZ + np.log(hz / _KNEE_HZ) / _LOG_STEP)


def _mel_to_hz(mel: Doubles) -> Doubles:
    knee = _KNEE_HZ / _LINEAR_HZ
    return np.where(mel < knee, mel * _LINEAR_HZ, _KNEE_HZ * np.exp(_LOG_STEP * (mel - knee)))
