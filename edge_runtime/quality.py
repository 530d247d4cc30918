"""Is this sound fit to be judged? Silence is not health, and neither is a microphone that lies under a cloth.

Of the sound alone: not finite, silence, a stuck buffer, clipping, an offset. Beside the machine's normal spectra: gain,
covered, quiet, unlike. A machine that fails is unlike normal too and must be scored, so that a window is unfit only
where no machine's fault explains it; what is merely odd is noted and scored. `benchmarks/quality.py` counts both. No
window spans a gap.
"""

import math
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from edge_runtime.features import SAMPLE_RATE, Floats
from edge_runtime.repeats import repeats
from edge_runtime.scoring import Machine

FULL_SCALE = 32_767.0 / 32_768.0  # the largest sample of 16 bits; one at or above it was cut off
Ratio = Annotated[float, Meta(ge=0.0, le=1.0)]
Decibels = Annotated[float, Meta(ge=0.0)]


class QualitySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is noted, and what is not fit to be scored; of a pair the second is the unfit one."""

    compare: bool = True  # with the machine's normal spectra; false: the sound alone is judged
    silence_dbfs: float = -90.0  # below the last bit but one of 16 bits: no microphone is as quiet as that
    stuck_s: Annotated[float, Meta(ge=0.0)] = 0.5  # seconds that repeat exactly; 0: not looked for
    clipping: Ratio = 1e-3  # ratio of samples at full scale
    clipping_unfit: Ratio = 0.1
    offset: Ratio = 0.02  # |mean| of the samples, of full scale
    offset_unfit: Ratio = 0.1
    gain_db: Decibels = 4.5  # shift of all bands alike, dB
    gain_unfit_db: Decibels = 9.0
    gain_spread_db: Decibels = 3.0  # standard deviation over bands up to which they count as shifted alike, dB
    quiet_db: Decibels = 10.0  # mean over bands below normal, dB
    quiet_unfit_db: Decibels = 15.0
    unlike_db: Decibels = 8.0  # root mean square over bands from the nearest normal spectrum, dB

    def __post_init__(self) -> None:
        for name in ("clipping", "offset", "gain_db", "quiet_db"):
            second = f"{name.removesuffix('_db')}_unfit{'_db' * name.endswith('_db')}"
            noted, unfit = getattr(self, name), getattr(self, second)
            if noted > unfit:
                raise ValueError(f"{name} {noted:g} is beyond {second} {unfit:g}; give the smaller one to {name}")


DEFAULTS = QualitySettings()


class Fault(msgspec.Struct, frozen=True):
    """One thing that was found."""

    word: str
    unfit: bool  # the window has no score because of it
    words: str  # the same for people, with a figure


class Quality(msgspec.Struct, frozen=True):
    """What was found in one window."""

    level_dbfs: float | None  # root mean square about the mean, re full scale; None for silence, which has no level
    clipped: float  # ratio of samples at full scale
    offset: float  # mean of the samples, of full scale
    found: list[Fault]

    @property
    def faults(self) -> list[str]:
        """All that was found, a word each: noted or unfit."""
        return [fault.word for fault in self.found]

    @property
    def fit(self) -> bool:
        """Whether it may be scored: a clipped window may, it can be the fault that is looked for."""
        return not any(fault.unfit for fault in self.found)

    @property
    def why(self) -> str:
        """For people: why it is not fit, or what is noted of it; nothing of most windows."""
        return "; ".join(fault.words for fault in self.found if fault.unfit or self.fit)


def judge(
    sound: Floats,
    mel: Floats | None = None,
    normal: Machine | None = None,
    limits: QualitySettings = DEFAULTS,
    sample_rate: int = SAMPLE_RATE,
) -> Quality:
    """[samples] float32, the time mean of its log-mel [n_mels] in dB and a machine -> the sound's quality.

    Without `mel` or `normal` only what the sound alone tells.
    """
    offset = float(sound.mean())
    if not math.isfinite(offset):
        return Quality(None, 0.0, 0.0, [Fault("not finite", True, "samples that are no number")])
    centred = sound - np.float32(offset)
    power = float(np.dot(centred, centred)) / len(sound)
    level = 10.0 * math.log10(power) if power > 0.0 else None
    clipped = int(np.count_nonzero(sound >= FULL_SCALE) + np.count_nonzero(sound <= -FULL_SCALE)) / len(sound)
    found = [*_of_level(level, limits), *_of_samples(clipped, offset, limits)]
    if limits.stuck_s and not any(fault.unfit for fault in found):
        found += _stuck(sound, limits.stuck_s, sample_rate)
    if limits.compare and mel is not None and normal is not None and not any(fault.unfit for fault in found):
        found += compare(mel, normal.normal_spectra, limits)
    return Quality(None if level is None else round(level, 2), round(clipped, 6), round(offset, 6), found)


def _of_level(level: float | None, limits: QualitySettings) -> list[Fault]:
    if level is not None and level >= limits.silence_dbfs:
        return []
    words = "digital silence" if level is None else f"{level:.0f} dBFS, quieter than any microphone"
    return [Fault("silence", True, f"{words}: is the microphone connected, and not muted?")]


def _of_samples(clipped: float, offset: float, limits: QualitySettings) -> list[Fault]:
    found = []
    if clipped > limits.clipping:
        words = f"{100 * clipped:.2g} % of the samples at full scale: lower the gain"
        found.append(Fault("clipping", clipped > limits.clipping_unfit, words))
    if abs(offset) > limits.offset:
        words = f"offset of {offset:+.3f} of full scale: is it the right input?"
        found.append(Fault("offset", abs(offset) > limits.offset_unfit, words))
    return found


def _stuck(sound: Floats, stuck_s: float, sample_rate: int) -> list[Fault]:
    lag = repeats(sound, round(stuck_s * sample_rate), sample_rate)
    if lag is None:
        return []
    what = "one value" if lag == 1 else f"the same {1e3 * lag / sample_rate:.3g} ms"
    return [Fault("stuck", True, f"{what} over and over for {stuck_s:g} s: the microphone's stream is stuck")]


AS_ALIKE_DB = 0.5  # spectra whose shape fits as well as the best one: the nearest in level of them tells the shift


def compare(mel: Floats, spectra: Floats, limits: QualitySettings) -> list[Fault]:
    """Time mean of a log-mel [n_mels] and normal spectra [k, n_mels], dB -> at most one fault."""
    away = mel.astype(np.float64) - spectra
    shifts, shapes = away.mean(axis=1), away.std(axis=1)  # [k] dB: of all bands together, and what is left over
    distances = np.hypot(shifts, shapes)
    nearest = away[np.argmin(distances)]
    if distances.min() < min(limits.gain_db, limits.quiet_db, limits.unlike_db):
        return []
    if shapes.min() <= limits.gain_spread_db:
        alike = shifts[shapes <= shapes.min() + AS_ALIKE_DB]
        return _gain(float(alike[np.argmin(np.abs(alike))]), limits)
    return _quiet(nearest, limits) or _unlike(nearest, limits)


def _gain(shift: float, limits: QualitySettings) -> list[Fault]:
    if abs(shift) < limits.gain_db:
        return []
    words = f"{_beside(shift)} normal in every band: gain changed, or microphone moved?"
    return [Fault("gain", abs(shift) >= limits.gain_unfit_db, words)]


COVERED_TILT_DB = 6.0  # more that the upper third of the bands lost than the lower: cloth and dirt keep high tones back
ABOVE_DB = 3.0  # a band as far above normal as that does not come through a cover


def _quiet(away: NDArray[np.float64], limits: QualitySettings) -> list[Fault]:
    """[n_mels] dB from the nearest spectrum: everything far below it, high tones the most, or all alike."""
    mean, third = float(away.mean()), len(away) // 3
    if mean > -limits.quiet_db or np.quantile(away, 0.95) > ABOVE_DB:
        return []
    unfit = mean <= -limits.quiet_unfit_db
    low, high = float(away[:third].mean()), float(away[-third:].mean())
    if low - high >= COVERED_TILT_DB:
        words = f"{_beside(low)} normal at low and {_beside(high)} at high frequencies: is the microphone covered?"
        return [Fault("covered", unfit, words)]
    words = f"{_beside(mean)} normal: does the machine stand still, or is the microphone far from it?"
    return [Fault("quiet", unfit, words)]


def _unlike(away: NDArray[np.float64], limits: QualitySettings) -> list[Fault]:
    """Never unfit: a limit that spares every fault lets another machine's sound through too."""
    distance = float(np.sqrt(np.mean(away**2)))
    if distance < limits.unlike_db:
        return []
    words = f"{distance:.0f} dB from every normal spectrum: a fault, another machine, or another microphone?"
    return [Fault("unlike", False, words)]


def _beside(shift: float) -> str:
    return f"{abs(shift):.0f} dB {'above' if shift > 0 else 'below'}"
