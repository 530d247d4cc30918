"""How strong a fault is, as `faults.py` defines it."""

import numpy as np
from scipy.fft import rfft

from train.simulator.motion import RATE

THIRDS_HZ = 1000 * 2 ** (np.arange(-17, 10) / 3 - 1 / 6)  # edges of the third-octave bands, 18 Hz to 7.1 kHz


def severity(machine_sound: np.ndarray, fault_sound: np.ndarray) -> float:
    """Power of the fault over that of the machine, dB, in the bands that hold four fifths of the fault's power."""
    own, fault = third_octaves(machine_sound), third_octaves(fault_sound)
    acts = acting(fault)
    return float(10 * np.log10(fault[acts].sum() / own[acts].sum()))


def acting(fault: np.ndarray) -> np.ndarray:
    """Power of a fault in third-octave bands -> the bands that together hold four fifths of it, strongest first."""
    strongest = np.argsort(fault)[::-1]
    enough = np.searchsorted(np.cumsum(fault[strongest]), 0.8 * fault.sum()) + 1
    return strongest[:enough]


def third_octaves(sound: np.ndarray) -> np.ndarray:
    """[samples] -> [bands] power in third-octave bands, 20 Hz to 6.3 kHz."""
    power = np.abs(rfft(sound)).astype(np.float64) ** 2 / len(sound) ** 2 * 2
    edges = np.searchsorted(np.fft.rfftfreq(len(sound), 1 / RATE), THIRDS_HZ)
    return np.add.reduceat(power, edges)[:-1]
