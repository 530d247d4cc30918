"""From a source to the microphone: resonances, humps of noise, room and microphone, as one filter of TAPS samples."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.fft import irfft, rfft

from train.simulator.lines import Lines
from train.simulator.machine import Flow, Machine, Mode, Room
from train.simulator.motion import RATE

TAPS = 8192  # 0.51 s: the longest room and the longest ringing fit
LEAD = 1024  # samples before the direct sound, for the parts without phase
_GRID = 2 * TAPS
FREQUENCIES = np.fft.rfftfreq(_GRID, 1 / RATE)  # [bins] Hz


def ringing(modes: tuple[Mode, ...], direct: float = 1.0) -> np.ndarray:
    """[bins] complex: the direct path and resonances of second order, each `gain_db` above 1 at its peak."""
    response = np.full(len(FREQUENCIES), direct, np.complex128)
    for mode in modes:
        ratio = FREQUENCIES / mode.hz
        response += 1j * ratio / mode.quality * 10 ** (mode.gain_db / 20) / (1 - ratio**2 + 1j * ratio / mode.quality)
    return response


def hump(flow: Flow) -> np.ndarray:
    """[bins] complex: slopes on both sides of a centre, with resonances on top."""
    octaves = np.log2(np.maximum(FREQUENCIES, 10.0) / flow.centre_hz)
    slope = np.where(octaves < 0, flow.slopes_db[0] * octaves, -flow.slopes_db[1] * octaves)
    soft = slope - 3 * np.exp(-(octaves**2))  # a rounded top
    return 10 ** (soft / 20) * ringing(flow.resonances)


def tilt(db_per_octave: float) -> np.ndarray:
    """[bins] magnitude, 1 at 1 kHz, level below 30 Hz."""
    return 10 ** (db_per_octave * np.log2(np.maximum(FREQUENCIES, 30.0) / 1000) / 20)


def microphone(room: Room) -> np.ndarray:
    """[bins] magnitude: a high-pass of second order and a smooth ripple."""
    ratio = FREQUENCIES / room.mic_cut_hz
    places = np.geomspace(50, 8000, len(room.mic_db))
    ripple = np.interp(np.log(np.maximum(FREQUENCIES, 1.0)), np.log(places), room.mic_db)
    return ratio**2 / np.sqrt(1 + ratio**4) * 10 ** (ripple / 20)


def reverberation(room: Room, position: int, wet_db: float | None = None) -> np.ndarray:
    """[bins] complex: direct sound, three to eight early reflections and a tail, from one position in the room."""
    rng = np.random.default_rng([room.seed, position])
    seconds = np.arange(TAPS - LEAD) / RATE
    tail = rng.standard_normal(len(seconds)) * np.exp(-6.91 * seconds / room.decay_s)  # -60 dB after decay_s
    tail = 0.7 * tail + 0.3 * np.roll(tail, 1)  # air and walls take the treble
    wet = room.wet_db if wet_db is None else wet_db
    ir = tail * 10 ** (wet / 20) / np.linalg.norm(tail)
    ir[0] += 1.0
    for _ in range(int(rng.integers(3, 9))):
        delay = rng.uniform(0.001, 0.03)
        ir[int(delay * RATE)] += rng.choice([-1, 1]) * rng.uniform(0.1, 0.6) * np.exp(-6.91 * delay / room.decay_s)
    return rfft(ir, _GRID)


class Filter:
    """A way from a source to the microphone: TAPS samples, the direct sound at LEAD, faded out at both ends."""

    def __init__(self, response: np.ndarray):
        """response: [bins]."""
        taps = np.roll(irfft(response, _GRID), LEAD)[:TAPS]
        taps[:LEAD] *= np.sin(np.linspace(0, np.pi / 2, LEAD)) ** 2
        taps[-TAPS // 8 :] *= np.linspace(1, 0, TAPS // 8)
        self.taps = taps.astype(np.float32)
        self._spectra: dict[int, np.ndarray] = {}

    def spectrum(self, size: int) -> np.ndarray:
        """[size // 2 + 1] complex64, of the taps in an FFT of a size."""
        if size not in self._spectra:
            self._spectra[size] = rfft(self.taps, size)
        return self._spectra[size]


@dataclass(frozen=True)
class Paths:
    """[bins] complex, from a machine to its microphone."""

    outside: np.ndarray  # for what sounds in the air: room and microphone
    inside: np.ndarray  # for what sounds in the machine: its body, then the same


@lru_cache(maxsize=16)
def paths(machine: Machine) -> Paths:
    """The ways out of a machine."""
    outside = reverberation(machine.room, 0) * microphone(machine.room)
    return Paths(outside, ringing(machine.body) * outside)


def unit_power(response: np.ndarray, rate: float = RATE) -> np.ndarray:
    """[bins] scaled so that unit impulses, `rate` per second (white noise: every sample), come out with power 1."""
    power = np.abs(response) ** 2
    energy = (2 * power.sum() - power[0] - power[-1]) / _GRID  # of one impulse, by Parseval
    return response / np.sqrt(energy * rate / RATE)


def unit_lines(lines: Lines, hz: float, response: np.ndarray) -> Lines:
    """Lines scaled so that, at multiples of `hz` and behind a response [bins], they have power 1."""
    orders = np.arange(1, len(lines.amplitudes))
    heard = orders * hz < RATE / 2
    gains = np.interp(orders[heard] * hz, FREQUENCIES, np.abs(response))
    power = np.sum(np.abs(lines.amplitudes[1:][heard] * gains) ** 2) / 2
    return Lines(lines.amplitudes / np.sqrt(power))
