"""What a band of sound is made of: pulses at a rate, one tone, or neither."""

import numpy as np

from edge_runtime.features import Doubles, Floats

SLOWEST_HZ, FASTEST_HZ = 0.5, 200.0  # pulses a second
SEGMENT_S = 4.0  # seconds of one spectrum of the envelope: a machine's speed is not steady for longer
FEWEST = 3  # pulses in a segment: slower ones are not told from a sound that comes and goes
PROMINENT = 8.0  # times the median around it that a line of the envelope's power has to have
AROUND = 60  # lines that the median is taken over
HARMONICS = 4  # of a pulse train, whose lines are looked at together
TONE_SHARE = 0.6  # of a band's power that one tone has
TONE_WIDTH = 0.01  # of a tone's frequency: the speed of a machine wanders
NARROWEST_HZ = 400.0  # a narrower band is widened: its envelope could not follow fast pulses


class Heard:
    """The spectrum of a window, from which any band's envelope is made."""

    def __init__(self, sound: Floats, sample_rate: int) -> None:
        self._seconds = len(sound) / sample_rate
        self._highest = sample_rate / 2
        self._spectrum = np.fft.rfft(sound.astype(np.float64))

    def pulses(self, low_hz: float, high_hz: float) -> float | None:
        """Pulses a second in a band; None where no rate stands out."""
        envelope, rate = self._envelope(low_hz, high_hz)
        sixteenths = min(16, max(1, round(16 * SEGMENT_S / self._seconds)))
        length = len(envelope) * sixteenths // 16  # a power of two and a small number: quick to transform
        power = _averaged(envelope, length)
        step = rate / length  # Hz between lines
        first, last = max(FEWEST, round(SLOWEST_HZ / step)), min(len(power) - 1, round(FASTEST_HZ / step))
        if last - first < 2 * HARMONICS:
            return None
        power = power[: HARMONICS * last + AROUND]  # of a wide band's envelope most is beyond
        lines = power / _surroundings(power)
        return _fundamental(lines, first, last, step)

    def tone(self, low_hz: float, high_hz: float) -> float | None:
        """The frequency of the one tone that a band's power is of, Hz; None where there is none."""
        first, last = self._bins(low_hz, high_hz)
        power = np.abs(self._spectrum[first:last]) ** 2
        peak = int(np.argmax(power))
        hz = (first + peak) / self._seconds
        reach = max(2, round(TONE_WIDTH * hz * self._seconds))
        if 4 * reach >= last - first:  # the band is hardly wider than a tone
            return None
        share = power[max(0, peak - reach) : peak + reach + 1].sum() / max(power.sum(), 1e-30)
        return hz if share >= TONE_SHARE else None

    def _bins(self, low_hz: float, high_hz: float) -> tuple[int, int]:
        return max(1, int(low_hz * self._seconds)), min(len(self._spectrum), int(high_hz * self._seconds) + 2)

    def _envelope(self, low_hz: float, high_hz: float) -> tuple[Doubles, float]:
        """Squared envelope of a band [samples], and its samples a second: the band moved to 0 Hz (Hilbert)."""
        middle, half = (low_hz + high_hz) / 2, max(high_hz - low_hz, NARROWEST_HZ) / 2
        first, last = self._bins(max(0.0, middle - half), min(self._highest, middle + half))
        band = self._spectrum[first:last]
        samples = 1 << (len(band) - 1).bit_length()
        squared: Doubles = np.abs(np.fft.ifft(band, samples)) ** 2
        return squared, samples / self._seconds


def _averaged(envelope: Doubles, length: int) -> Doubles:
    """[samples] -> [length / 2 + 1] power spectrum, the mean over segments that overlap by half (Welch 1967)."""
    segments = np.lib.stride_tricks.sliding_window_view(envelope, length)[:: max(1, length // 2)]
    centred = segments - segments.mean(axis=1, keepdims=True)
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(length) / length)
    power: Doubles = (np.abs(np.fft.rfft(centred * window, axis=1)) ** 2).mean(axis=0)
    return np.maximum(power, 1e-30)


def _surroundings(power: Doubles) -> Doubles:
    """[lines] -> what is usual around each: the medians of stretches of AROUND lines, joined by straight lines."""
    stretches = max(1, len(power) // AROUND)
    medians = np.array([np.median(part) for part in np.array_split(power, stretches)])
    middles = (np.arange(stretches) + 0.5) * len(power) / stretches
    usual: Doubles = np.interp(np.arange(len(power)), middles, medians)
    return usual


def _fundamental(lines: Doubles, first: int, last: int, step: float) -> float | None:
    """Lines relative to their surroundings -> the rate whose harmonics stand out most; None where none does."""
    strength = np.log(np.maximum(lines, 1.0))
    best, rate = 0.0, None
    for line in np.flatnonzero(lines[first : last + 1] >= PROMINENT) + first:
        harmonics = [_near(strength, h * int(line)) for h in range(1, HARMONICS + 1)]
        total = float(np.sum(harmonics))
        if total > best:
            best, rate = total, (float(line) + _beside(strength[line - 1 : line + 2])) * step
    return rate


def _beside(three: Doubles) -> float:
    """A line and its neighbours -> where between them the top of the parabola through them is, in lines."""
    curve = three[0] - 2.0 * three[1] + three[2]
    return float(np.clip(0.5 * (three[0] - three[2]) / curve, -0.5, 0.5)) if curve < 0.0 else 0.0


def _near(values: Doubles, line: int) -> float:
    """The greatest within a line of a place, 0 beyond the end."""
    return float(values[line - 1 : line + 2].max(initial=0.0))
