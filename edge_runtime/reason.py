"""Why a window is an anomaly, in words: which bands deviate from the nearest normal sound, how much and when.

"1.9-2.3 kHz, 14 dB above normal, in pulses 8 per second". It is asked when an alarm is raised, not of every window.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_runtime import features
from edge_runtime.features import Doubles, Floats, LogMel
from edge_runtime.pulses import Heard
from edge_runtime.scoring import Machine

SPEC = LogMel()
MOST = 3  # bands that are named
WEAKEST = 0.5  # of the strength of the first band, that the next ones have to have
CALM_DB = 0.5  # spread that a band is given besides its own: no band is steady to a tenth of a decibel
ENOUGH_DB = 6.0  # beyond this a band says no more of which normal sound is the nearest
WIDTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # mel bands
WIDER = 0.2  # power of the width that a deviation gains by: 0 names the one farthest band, 0.5 adds up as noise would
SIDE = 0.5  # a band reaches to where the deviation has fallen to this share of its mean
WIDE = 0.75  # of all bands; a deviation that wide is of no single band
LEAST_DB = 0.05  # a window without any difference
TONE_DB, PULSES_DB = 3.0, 1.5  # above normal from which what is new outweighs, or colours, what was there
SMOOTH_S = 0.25  # seconds that are averaged before it is asked when
SHORT = 0.6  # of the window; what is there for longer is there throughout
LARGELY = 0.7  # of the excess that the time named has to hold


class Band(msgspec.Struct, frozen=True):
    """One band that deviates."""

    low_hz: float
    high_hz: float
    db: float  # mean over the band and window, above normal or, negative, below it
    pulses_hz: float | None = None  # pulses a second
    tone_hz: float | None = None  # where the band is one tone
    from_s: float | None = None  # seconds from the start of the window; None: throughout
    to_s: float | None = None


class Reason(msgspec.Struct, frozen=True):
    """What deviates, the strongest band first."""

    words: str
    bands: list[Band]


def explain(mel: Floats, sound: Floats, machine: Machine, spec: LogMel = SPEC) -> Reason:
    """A window's log-mel [frames, n_mels] in dB and its samples, and the machine that it should be of."""
    excess = deviation(mel, machine)
    away = excess.mean(axis=0).astype(np.float64)
    runs = _runs(away, machine.normal_rest)
    if not runs:
        return Reason("no single band: every one is as loud as in some normal sound", [])
    if runs[0][1] - runs[0][0] >= WIDE * len(away):
        side = "above" if away.mean() > 0 else "below"
        return Reason(f"no single band: {abs(away.mean()):.0f} dB {side} normal on the whole", [])
    heard = Heard(sound, spec.sample_rate)
    bands = [_band(run, excess, away, heard, spec) for run in runs]
    return Reason("; ".join(in_words(band, spec) for band in bands), bands)


def deviation(mel: Floats, machine: Machine) -> Floats:
    """[frames, n_mels] dB from the normal spectrum that is nearest to the window, for a picture."""
    return mel - nearest(mel.mean(axis=0), machine.normal_spectra)


def nearest(level: Floats, spectra: Floats) -> Floats:
    """Mean log-mel [n_mels], spectra [k, n_mels] -> the one that most bands are near to, however far the others are."""
    found: Floats = spectra[nearest_number(level, spectra)]
    return found


def nearest_number(level: Floats, spectra: Floats) -> int:
    """Which of the spectra that is."""
    return int(np.argmin(np.minimum(np.abs(level - spectra), ENOUGH_DB).mean(axis=1)))


def _runs(away: Doubles, rest: Floats) -> list[tuple[int, int]]:
    """Deviation and normal spread [n_mels] dB -> first band and the one after the last, the strongest run first.

    A deviation counts by how far beyond the spread it is: bands that always vary do not lead.
    """
    if np.abs(away).max() < LEAST_DB:
        return []
    z = away / np.hypot(rest, CALM_DB)
    free = np.ones(len(z), bool)
    runs: list[tuple[int, int]] = []
    least = 0.0
    while len(runs) < MOST and free.any():
        strength, low, high = _strongest(z, free)
        if strength < least:
            break
        least = least or WEAKEST * strength
        low, high = _reach(z, free, low, high)
        free[max(0, low - 1) : high + 1] = False
        runs.append((low, high))
    return runs


def _strongest(z: Doubles, free: NDArray[np.bool_]) -> tuple[float, int, int]:
    """Over runs of free bands: |mean| times width^WIDER, first band, the one after the last."""
    sums, taken = np.concatenate([[0.0], np.cumsum(z)]), np.concatenate([[0], np.cumsum(~free)])
    best = (0.0, 0, 0)
    for width in WIDTHS:
        if width > len(z):
            break
        strength = np.abs(sums[width:] - sums[:-width]) * width ** (WIDER - 1.0)
        strength[taken[width:] > taken[:-width]] = 0.0
        low = int(np.argmax(strength))
        best = max(best, (float(strength[low]), low, low + width))
    return best


def _reach(z: Doubles, free: NDArray[np.bool_], low: int, high: int) -> tuple[int, int]:
    """A run's own edges: as far as the deviation is half of what it is inside."""
    mean = float(z[low:high].mean())
    belongs = free & (z * np.sign(mean) >= SIDE * abs(mean))
    while high - low > 1 and not belongs[low]:
        low += 1
    while high - low > 1 and not belongs[high - 1]:
        high -= 1
    while low > 0 and belongs[low - 1]:
        low -= 1
    while high < len(z) and belongs[high]:
        high += 1
    return low, high


def _band(run: tuple[int, int], excess: Floats, away: Doubles, heard: Heard, spec: LogMel) -> Band:
    low_hz, high_hz = _edges(run, spec)
    db = float(away[slice(*run)].mean())
    tone = heard.tone(low_hz, high_hz) if db >= TONE_DB else None
    pulses = heard.pulses(low_hz, high_hz) if db >= PULSES_DB else None
    when = _when(excess[:, slice(*run)].mean(axis=1) * np.sign(db), spec)
    return Band(low_hz, high_hz, round(db, 1), pulses, tone, *when)


def _edges(run: tuple[int, int], spec: LogMel) -> tuple[float, float]:
    """Where the band of a run begins and ends, Hz: half way to the neighbours."""
    centres = features.mel_frequencies(spec)
    between = np.concatenate([[spec.f_min], (centres[1:] + centres[:-1]) / 2, [spec.f_max]])
    return round(float(between[run[0]]), 1), round(float(between[run[1]]), 1)


def _when(excess: Floats, spec: LogMel) -> tuple[float | None, float | None]:
    """Excess of a band [frames] dB -> seconds from and to, where it is there for a part of the window only."""
    width = max(1, round(SMOOTH_S * spec.sample_rate / spec.step))
    if len(excess) < 4 * width:
        return None, None
    smooth = np.convolve(np.maximum(excess, 0.0), np.ones(width) / width, mode="same")
    loud = np.flatnonzero(smooth >= 0.5 * smooth.max())
    first, last = int(loud[0]), int(loud[-1]) + 1
    if last - first > SHORT * len(excess) or smooth[first:last].sum() < LARGELY * smooth.sum():
        return None, None
    second = spec.sample_rate / spec.step  # frames
    return round(first / second, 2), round(last / second, 2)


def in_words(band: Band, spec: LogMel = SPEC) -> str:
    """A band for people."""
    where = f"tone at {_hz(band.tone_hz)}" if band.tone_hz is not None else _range(band, spec)
    words = [where, f"{_db(band.db)} {'above' if band.db > 0 else 'below'} normal"]
    if band.pulses_hz is not None:
        words.append(f"in pulses {_rate(band.pulses_hz)} per second")
    if band.from_s is not None and band.to_s is not None:
        words.append(f"from {band.from_s:.1f} s to {band.to_s:.1f} s")
    return ", ".join(words)


def _range(band: Band, spec: LogMel) -> str:
    if band.low_hz <= spec.f_min + 50.0:
        return f"below {_hz(band.high_hz)}"
    if band.high_hz >= spec.f_max - 50.0:
        return f"above {_hz(band.low_hz)}"
    low, high = f"{band.low_hz / 1000:.1f}", f"{band.high_hz / 1000:.1f}"  # kHz
    if band.low_hz >= 1000.0:
        return f"{low}-{high} kHz" if low != high else f"around {low} kHz"
    return (
        f"{band.low_hz:.0f}-{_hz(band.high_hz)}"
        if band.high_hz < 1000.0
        else f"{_hz(band.low_hz)} to {_hz(band.high_hz)}"
    )


def _hz(hz: float) -> str:
    return f"{hz / 1000:.1f} kHz" if hz >= 1000.0 else f"{hz:.0f} Hz"


def _db(db: float) -> str:
    return f"{abs(db):.0f} dB" if abs(db) >= 1.5 else f"{abs(db):.1f} dB"


def _rate(hz: float) -> str:
    return f"{hz:.0f}" if hz >= 10.0 else f"{hz:.1f}".removesuffix(".0")
