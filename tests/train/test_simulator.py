"""The simulator's sound: the physics of a clip, severities, and streams without seams."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.signal import butter, hilbert, sosfilt

from edge_runtime.features import LogMel, log_mel
from train.simulator import (
    KINDS,
    RATE,
    Conditions,
    Fault,
    Machine,
    draw_conditions,
    draw_fault,
    draw_machine,
    fault_order,
    operating_points,
    render,
    stream,
    stream_conditions,
    take,
)
from train.simulator.machine import Knocks, Response
from train.simulator.mixer import BLOCK
from train.simulator.motion import STEP, Motion
from train.simulator.severity import severity
from train.simulator.synth import apart
from train.simulator.voices import Impulses


def quiet_and_steady(machine: Machine, seed: int = 0) -> Conditions:
    """Conditions without background and almost without drift."""
    drawn = draw_conditions(machine, operating_points(machine)["source"][1], np.random.default_rng(seed))
    return replace(drawn, background_db=-150.0, drift=1e-5)


def rendered(machine: Machine, conditions: Conditions, seconds: float, fault: Fault | None = None) -> np.ndarray:
    return render(machine, conditions, seconds, np.random.default_rng(7), fault)


def power_spectrum(sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies [Hz] and power."""
    return np.fft.rfftfreq(len(sound), 1 / RATE), np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2


def prominence_db(hz: np.ndarray, power: np.ndarray, at: float, within: float, around: float) -> float:
    """Strongest line within `within` Hz of a place against the median within `around` Hz."""
    near, wide = np.abs(hz - at) <= within, np.abs(hz - at) <= around
    return float(10 * np.log10(power[near].max() / np.median(power[wide])))


# --------------------------------------------------------------------------------------------------------------- a clip


@pytest.mark.parametrize("kind", KINDS)
def test_no_clip_clips_or_holds_anything_but_numbers(kind):
    for seed in range(2):
        machine = draw_machine(kind, seed)
        for i, name in enumerate((None, *KINDS[kind].faults)):
            rng = np.random.default_rng([seed, i])
            point = operating_points(machine)["target"][i % 2]
            fault = draw_fault(machine, name, 6.0, i) if name else None
            sound = render(machine, draw_conditions(machine, point, rng), 0.6, rng, fault)
            assert sound.dtype == np.float32 and sound.shape == (9600,)
            assert np.isfinite(sound).all() and 1e-5 < np.abs(sound).max() < 1


def test_the_mesh_of_a_gearbox_sounds_at_teeth_times_shaft_rate_above_its_sidebands():
    above_noise, above_sidebands = [], []
    for seed in range(4):
        machine = draw_machine("gearbox", seed)
        conditions = quiet_and_steady(machine)
        hz, power = power_spectrum(rendered(machine, conditions, 8.0))
        shaft_hz = conditions.shaft_hz
        levels = {
            # 0.3 Hz: the lines of a window of 8 s are 0.25 Hz wide on either side
            offset: prominence_db(hz, power, (machine.teeth + offset) * shaft_hz, within=0.3, around=shaft_hz)
            for offset in (-2, -1, 0, 1, 2)
        }
        above_noise.append(levels.pop(0))
        above_sidebands.append(above_noise[-1] - max(levels.values()))
    assert min(above_noise) > 15  # dB; noise alone reaches 10 over its median
    assert np.mean(above_sidebands) > 6  # dB; they are drawn 8 to 25 dB down, then pass the body's resonances


@pytest.mark.parametrize("race", ["outer", "inner"])
def test_a_bearing_fault_peaks_in_the_envelope_spectrum_at_its_rate(race):
    machine = draw_machine("bearing", 1)
    conditions = quiet_and_steady(machine)
    fault = draw_fault(machine, f"bearing_{race}", 6.0)
    rate = fault_order(machine, fault) * conditions.shaft_hz
    seen = {}
    for name, wrong in (("sound", None), ("faulty", fault)):
        sound = rendered(machine, conditions, 8.0, wrong)
        envelope = np.abs(hilbert(sosfilt(butter(4, [1500, 7000], "band", fs=RATE, output="sos"), sound)))
        hz, power = power_spectrum(envelope - envelope.mean())
        # 3 %: the rolling elements slip by up to 2 % from pass to pass, which widens the line
        seen[name] = prominence_db(hz, power, rate, within=0.03 * rate, around=0.4 * rate)
    assert seen["faulty"] > seen["sound"] + 6  # 6 dB: four times the power of what chance leaves there


@pytest.mark.parametrize("kind", ["fan", "pump", "gearbox", "bearing"])
def test_severity_raises_the_power_of_a_fault_by_its_decibels(kind):
    machine = draw_machine(kind, 0)
    conditions = quiet_and_steady(machine)
    normal = rendered(machine, conditions, 10.0)
    for name in KINDS[kind].faults:
        faint, plain = (
            rendered(machine, conditions, 10.0, draw_fault(machine, name, db)) - normal for db in (-6.0, 4.0)
        )
        grown = 20 * np.log10(np.linalg.norm(plain) / np.linalg.norm(faint))
        assert grown == pytest.approx(10.0, abs=0.02)  # dB; what float32 leaves of a small difference of two clips
        # 0.1 dB: the gain is set on this very clip; a background 150 dB down and float32 are what is left
        assert severity(normal, faint) == pytest.approx(-6.0, abs=0.1), name


def test_severity_counts_the_bands_that_hold_four_fifths_of_the_fault():
    seconds = np.arange(5 * RATE) / RATE
    low, high, faint = (np.sqrt(2) * np.sin(2 * np.pi * hz * seconds) for hz in (1000, 4000, 250))
    machine = low + 4 * high + 100 * faint  # powers 1, 16 and 10,000
    assert severity(machine, low + high + 0.1 * faint) == pytest.approx(10 * np.log10(2 / 17), abs=0.01)  # dB


def test_a_clip_and_its_fault_apart_add_up_to_the_clip():
    machine = draw_machine("pump", 0)
    conditions = quiet_and_steady(machine)
    fault = draw_fault(machine, "bearing_inner", 0.0)
    own, alone = apart(machine, conditions, 2.0, np.random.default_rng(7), fault)
    whole = rendered(machine, conditions, 2.0, fault)
    gain = np.dot(whole, own + alone) / np.dot(own + alone, own + alone)
    np.testing.assert_allclose(whole, gain * (own + alone), atol=1e-5)  # float32 sums in another order
    assert severity(own, alone) == pytest.approx(0.0, abs=0.1)  # dB, hardly any background


def test_clips_of_one_machine_vary_as_real_ones_do():
    """Real machines: 1.6 to 2.2 dB per band from clip to clip, mostly along two directions; frames by 2.6 to 5 dB."""
    spread, rank, frames = [], [], []
    for seed in range(4):
        machine = draw_machine("fan", seed)
        points, means = operating_points(machine)["source"], []
        for i in range(12):
            rng = np.random.default_rng([seed, i])
            mel = log_mel(render(machine, draw_conditions(machine, points[i % 3], rng), 4.0, rng), LogMel())
            means.append(mel.mean(axis=0))
            frames.append(mel.std(axis=0).mean())
        off = np.array(means) - np.mean(means, axis=0)
        variances = np.linalg.svd(off, compute_uv=False) ** 2
        spread.append(off.std(axis=0).mean())
        rank.append(variances.sum() ** 2 / np.sum(variances**2))
    assert 1.0 < np.mean(spread) < 3.0
    assert 1.2 < np.mean(rank) < 4.0
    assert 2.5 < np.mean(frames) < 5.0


# -------------------------------------------------------------------------------------------------------------- streams


def of_a_pump(fault: str | None, block: int = BLOCK, seconds: float = 9.0, fault_at: float = 5.0) -> np.ndarray:
    """A stream of a pump with everything that wanders, without its background's bangs."""
    machine, rng = draw_machine("pump", 3), np.random.default_rng(4)
    conditions = replace(stream_conditions(machine, operating_points(machine)["source"][0], rng), background_db=-60.0)
    wrong = draw_fault(machine, fault, 6.0) if fault else None
    return take(stream(machine, conditions, rng, wrong, fault_at, block), round(seconds * RATE))


@pytest.mark.parametrize("block", [50 * STEP, 333 * STEP])
def test_a_stream_does_not_depend_on_the_size_of_its_blocks(block):
    whole = of_a_pump("bearing_inner")
    # 1e-4 of the RMS: float32 sums in another order; a table is read at another entry where a phase rounds differently
    error = np.sqrt(np.mean((of_a_pump("bearing_inner", block) - whole) ** 2))
    assert error < 1e-4 * np.sqrt(np.mean(whole**2))


def test_no_impulse_is_lost_between_blocks():
    knocks = Knocks(270.0, (0.0,), 0.02, 3.0, (), Response(0.0, 0.0, 0.0, 0.0, 1.0))
    conditions = quiet_and_steady(draw_machine("fan", 0))
    sounds = []
    for blocks, steps in ((64, 1), (1, 64)):
        motion = Motion(conditions.shaft_hz, 0.0, conditions, np.random.default_rng(0))
        source = Impulses(knocks, np.random.default_rng(1))
        sounds.append(np.concatenate([source.block(motion.next(steps * STEP)) for _ in range(blocks)]))
    # 1e-3 of an impulse: the time of one is rounded at another place; a lost one would be up to 1
    assert np.abs(sounds[0]).sum() > 100 and np.abs(sounds[0] - sounds[1]).max() < 1e-3


def test_a_stream_has_no_seam_between_its_blocks():
    sound = of_a_pump(None, block=50 * STEP)
    jumps = np.abs(np.diff(sound, n=2))
    first = 50 * STEP * 2 - 72 * STEP  # half a second and the filter's lead are thrown away
    seams = np.arange(first, len(jumps) - 2, 50 * STEP)
    at_seams = np.concatenate([jumps[seams - 2], jumps[seams - 1], jumps[seams]])
    # noise alone: 60 jumps of a bell curve stay below their 99.99th percentile in 99 cases of 100
    assert at_seams.max() < np.quantile(jumps, 0.9999)


@pytest.mark.parametrize("fault", ["cavitation", "looseness", "bearing_outer"])
def test_a_stream_is_the_same_until_its_fault_begins_and_has_no_step_there(fault):
    before, after = 5 * RATE, 7 * RATE
    added = of_a_pump(fault) - of_a_pump(None)
    assert not added[:before].any()
    assert np.sqrt(np.mean(added[after:] ** 2)) > 1e-4  # it is there
    first = np.abs(np.diff(added[before - 1 : before + 320])).max()  # the first 20 ms of a fade of 250 ms
    assert first < 0.1 * np.abs(np.diff(added[after:])).max()


def test_a_fade_lets_the_fault_begin_where_it_is_said_to():
    added = np.abs(of_a_pump("cavitation") - of_a_pump(None))
    level = [added[a:b].mean() for a, b in pairwise([0, 4 * RATE, 5 * RATE, round(5.3 * RATE), 9 * RATE])]
    assert level[1] < 0.01 * level[3] < level[2]


def test_a_stream_wanders_within_what_clips_show():
    machine = draw_machine("fan", 0)
    point = operating_points(machine)["source"][0]
    conditions = stream_conditions(machine, point, np.random.default_rng(0))
    clip = [draw_conditions(machine, point, np.random.default_rng(i)).shaft_hz for i in range(200)]
    assert conditions.speed_wander == machine.speed_spread
    widest = np.exp(2 * machine.speed_spread)  # both are cut at two deviations
    assert max(clip) <= point.shaft_hz * widest and min(clip) >= point.shaft_hz / widest
