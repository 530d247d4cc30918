"""What goes wrong, as voices that are added to a machine's own.

Severity, in dB: the power of the fault relative to the power of the machine's own sound (its background left out),
both at the microphone, under the clip's own conditions, summed over the third-octave bands that together hold four
fifths of the fault's power. The strongest bands come first.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge_runtime.errors import ConfigError
from train.simulator.draw import draw_mode
from train.simulator.kinds import Range
from train.simulator.lines import Lines, lines_of, once_per_turn
from train.simulator.machine import Flow, Knocks, Machine, Mode, Response
from train.simulator.responses import Filter, hump, paths, ringing, unit_lines, unit_power
from train.simulator.voices import Free, Impulses, Noise, Turning, Voice


@dataclass(frozen=True)
class Fault:
    """A fault of one machine."""

    name: str
    severity_db: float  # see above
    seed: int = 0  # of the fault's own details


def draw_fault(machine: Machine, name: str, severity_db: float, seed: int = 0) -> Fault:
    """A fault that the simulator knows; an unknown name is the user's mistake."""
    if name not in FAULTS:
        raise ConfigError(f"fault {name}: the simulator knows {', '.join(FAULTS)}")
    if name == "tooth" and not machine.teeth:
        raise ConfigError(f"fault tooth: a {machine.kind} has no gear; try it on a gearbox")
    return Fault(name, severity_db, seed)


def fault_order(machine: Machine, fault: Fault) -> float:
    """How often the fault strikes per revolution of the main shaft; 0: it does not strike."""
    part = fault.name.removeprefix("bearing_")
    if part in machine.bearing.orders():
        return machine.bearing.orders()[part]
    return {"tooth": 1.0, "rub": 1.0, "blade": 1.0, "looseness": 1.0, "imbalance": 1.0}.get(fault.name, 0.0)


def fault_voices(machine: Machine, fault: Fault, shaft_hz: float, rng: np.random.Generator) -> list[Voice]:
    """The fault's voices at a shaft's rate, their common level yet to be set."""
    details = np.random.default_rng([machine.seed, fault.seed])
    return FAULTS[fault.name](Broken(machine, shaft_hz, details, rng.spawn(2)))


@dataclass(frozen=True)
class Broken:
    """What a fault is made from."""

    machine: Machine
    shaft_hz: float  # under the clip's conditions
    details: np.random.Generator  # of the fault itself, the same in every clip
    children: list[np.random.Generator]  # of this sound

    def response(self, speed_power: float, level_db: float = 0.0) -> Response:
        """Louder with speed and, as a rule, with load; never quite steady."""
        load_db, unrest_db, unrest_s = self.details.uniform((0, 0.3, 0.3), (6, 2, 3))
        return Response(level_db, float(load_db), speed_power, float(unrest_db), float(unrest_s))

    def modes(self, count: int, hz: Range, quality: Range, gain_db: Range) -> tuple[Mode, ...]:
        """Resonances of the fault's own."""
        return tuple(draw_mode(self.details, hz, quality, gain_db) for _ in range(count))

    def lines(self, lines: Lines, ratio: float) -> Voice:
        """Lines of a part that turns `ratio` times per turn of the main shaft, heard through the body."""
        inside = paths(self.machine).inside
        lines = unit_lines(lines, self.machine.shaft_hz * ratio, inside)
        source = Turning(lines, ratio, self.shaft_hz * ratio, self.response(2.0), self.children[0])
        return Voice([source], Filter(inside))

    def strikes(self, knocks: Knocks, zone: tuple[float, float] = (0.0, 0.0)) -> Voice:
        """Impulses through resonances and the body."""
        response = ringing(knocks.modes, direct=0.0) * paths(self.machine).inside
        rate = self.machine.shaft_hz * knocks.order * len(knocks.offsets)
        return Voice([Impulses(knocks, self.children[1], zone)], Filter(unit_power(response, rate)))

    def noise(self, flow: Flow, width: float = 0.0) -> Voice:
        """Noise that is born outside the body."""
        source = Noise(flow.response, self.children[0], flow.order, flow.depth, width)
        return Voice([source], Filter(unit_power(hump(flow) * paths(self.machine).outside)))


def _bearing(part: str) -> Callable[[Broken], list[Voice]]:
    """Impulses at the rate of passes over a defect, through a resonance of the housing.

    The inner race and a roller carry their defect in and out of the load zone: once per revolution of shaft or cage.
    """

    def voices(broken: Broken) -> list[Voice]:
        orders, details = broken.machine.bearing.orders(), broken.details
        zone = {"outer": 0.0, "inner": 1.0, "ball": orders["cage"]}[part]
        depth = float(details.uniform(0.4, 0.9)) if zone else 0.0
        slip, spread_db = float(details.uniform(0.005, 0.02)), float(details.uniform(0.5, 2.5))
        modes = broken.modes(2, (1200, 6500), (5, 25), (0, 12))
        return [
            broken.strikes(Knocks(orders[part], (0.0,), slip, spread_db, modes, broken.response(1.5)), (zone, depth))
        ]

    return voices


def _imbalance(broken: Broken) -> list[Voice]:
    """The first order grows, the next ones a little; centrifugal force follows the square of the speed."""
    return [broken.lines(lines_of(np.arange(1, 13) ** -1.7, broken.details), 1.0)]


def _looseness(broken: Broken) -> list[Voice]:
    """Sub-harmonics (multiples of half the shaft's rate) and a rattle."""
    details = broken.details
    strengths = np.arange(1, 41) ** -0.7 * 10 ** (details.normal(0, 4, 40) / 20)
    offsets = (0.0, float(details.uniform(0.2, 0.8)))
    modes = broken.modes(3, (500, 4000), (4, 12), (0, 9))
    rattle = Knocks(1.0, offsets, 0.01, 4.0, modes, broken.response(1.5, -6.0))
    return [broken.lines(lines_of(strengths, details), 0.5), broken.strikes(rattle)]


def _tooth(broken: Broken) -> list[Voice]:
    """One tooth is damaged: the mesh sounds different at one angle (sidebands), and strikes once per revolution."""
    teeth, details = broken.machine.teeth, broken.details
    lines = once_per_turn(details, teeth, width=float(details.uniform(0.6, 1.5)) / teeth)
    modes = broken.modes(2, (600, 5000), (4, 15), (0, 9))
    strike = Knocks(1.0, (0.0,), 0.0005, 1.5, modes, broken.response(1.5, -3.0))
    return [broken.lines(lines, 1.0), broken.strikes(strike)]


def _blade(broken: Broken) -> list[Voice]:
    """One blade is bent or broken: every order of the shaft, and a rush once per revolution."""
    details = broken.details
    lines = once_per_turn(details, 0, width=float(details.uniform(0.01, 0.06)))
    rush = Flow(float(details.uniform(400, 2500)), (9.0, 9.0), (), 1.0, 1, broken.response(2.5, -2.0))
    voices = [broken.lines(lines, 1.0)]
    return [*voices, broken.noise(rush, width=0.12)]


def _rub(broken: Broken) -> list[Voice]:
    """Friction: a narrow band of noise that swells once per revolution, and half the time a squeal."""
    modes = broken.modes(2, (1500, 6000), (15, 40), (15, 25))
    flow = Flow(modes[0].hz, (6.0, 6.0), modes, 0.9, 1, broken.response(1.0))
    voices = [broken.noise(flow, width=0.25)]
    if broken.details.random() < 0.5:
        inside, hz = paths(broken.machine).inside, modes[1].hz / 1.5
        lines = unit_lines(lines_of([1.0, 0.3, 0.1], broken.details), hz, inside)
        squeal = Free(lines, hz, 0.004, broken.response(0.5, -3.0), broken.children[1])
        voices.append(Voice([squeal], Filter(inside)))
    return voices


def _cavitation(broken: Broken) -> list[Voice]:
    """Collapsing bubbles: broadband noise modulated by the vanes, and a crackle without a rate."""
    details = broken.details
    centre, depth = float(details.uniform(2500, 5500)), float(details.uniform(0.3, 0.8))
    hiss = Flow(centre, (6.0, 5.0), (), depth, broken.machine.passes, broken.response(1.5))
    modes = broken.modes(3, (2000, 7000), (2, 6), (0, 6))
    crackle = Knocks(float(details.uniform(2, 8)), (0.0,), 0.8, 6.0, modes, broken.response(1.0, -3.0))
    return [broken.noise(hiss), broken.strikes(crackle)]


def _leak(broken: Broken) -> list[Voice]:
    """Gas escapes: a steady hiss that the strokes modulate a little."""
    modes = broken.modes(2, (1500, 7000), (3, 10), (3, 9))
    centre, depth = float(broken.details.uniform(2500, 6000)), float(broken.details.uniform(0.05, 0.4))
    return [broken.noise(Flow(centre, (7.0, 4.0), modes, depth, broken.machine.passes, broken.response(0.2)))]


FAULTS: dict[str, Callable[[Broken], list[Voice]]] = {
    "bearing_outer": _bearing("outer"),
    "bearing_inner": _bearing("inner"),
    "bearing_ball": _bearing("ball"),
    "imbalance": _imbalance,
    "looseness": _looseness,
    "tooth": _tooth,
    "blade": _blade,
    "rub": _rub,
    "cavitation": _cavitation,
    "leak": _leak,
}
