"""A machine: everything that stays the same from clip to clip.

A level is in dB relative to the machine's whole sound at nominal speed and load; a voice's `Response` says how that
level follows speed and load, so that every machine varies in its own few ways.
"""

from dataclasses import dataclass

from train.simulator.kinds import Range
from train.simulator.lines import Lines


@dataclass(frozen=True)
class Response:
    """How a voice's level moves."""

    level_db: float
    load_db: float  # dB from no load to full load
    speed_power: float  # level follows speed to this power: 20 * speed_power dB per decade
    unrest_db: float  # standard deviation of the voice's own slow wander within a clip
    unrest_s: float  # time constant of that wander
    settle_db: float = (
        0.0  # standard deviation of a constant, from clip to clip: temperature, wear, how it was put together
    )


@dataclass(frozen=True)
class Shaft:
    """A rotating part and the lines of its spectrum, in orders of its own rate."""

    ratio: float  # revolutions per revolution of the main shaft
    lines: Lines
    response: Response


@dataclass(frozen=True)
class Flow:
    """Broadband noise: a hump with slopes, resonances, modulated by the rotation."""

    centre_hz: float
    slopes_db: Range  # dB per octave below and above the centre
    resonances: tuple["Mode", ...]
    depth: float  # of the amplitude modulation, 0 to 1
    order: int  # modulations per revolution of the main shaft
    response: Response


@dataclass(frozen=True)
class Mode:
    """A resonance."""

    hz: float
    quality: float
    gain_db: float  # at the peak, relative to the direct path


@dataclass(frozen=True)
class Knocks:
    """A train of impulses that rings a resonance."""

    order: float  # trains per revolution of the main shaft
    offsets: tuple[float, ...]  # where in the train the impulses fall, 0 to 1
    slip: float  # random walk of the spacing, relative to it
    spread_db: float  # standard deviation from impulse to impulse
    modes: tuple[Mode, ...]
    response: Response


@dataclass(frozen=True)
class Whine:
    """A tone that does not follow the shaft."""

    hz: float
    response: Response


@dataclass(frozen=True)
class Bearing:
    """Geometry of a rolling bearing; rates in orders of the shaft (Randall and Antoni 2011, section 2)."""

    rollers: int
    size: float  # roller diameter over pitch diameter, times the cosine of the contact angle

    def orders(self) -> dict[str, float]:
        """Passes over a defect per revolution, and the cage's revolutions."""
        near, far = 1 - self.size, 1 + self.size
        return {
            "outer": self.rollers / 2 * near,
            "inner": self.rollers / 2 * far,
            "ball": near * far / self.size,  # twice the spin: the defect meets both races
            "cage": near / 2,
        }


@dataclass(frozen=True)
class Room:
    """Where the machine stands and what hears it."""

    decay_s: float  # reverberation time to -60 dB
    wet_db: float  # reverberation relative to the direct sound
    mic_cut_hz: float  # the microphone's lower corner
    mic_db: tuple[float, ...]  # its ripple at points spread evenly over log frequency
    seed: int


@dataclass(frozen=True, eq=False)
class Machine:
    """One machine in its place."""

    kind: str
    seed: int
    shaft_hz: float
    shafts: tuple[Shaft, ...]
    teeth: int  # on the main shaft's gear; 0: no gear
    flows: tuple[Flow, ...]
    knocks: tuple[Knocks, ...]
    whines: tuple[Whine, ...]
    hum: Whine
    body: tuple[Mode, ...]
    bearing: Bearing
    room: Room
    cycle_s: float  # period of a to-and-fro movement; 0: it turns on and on
    speed_spread: float  # relative, from clip to clip under one setting
    drift: float  # relative, within a clip
    load_spread: float  # of full load, from clip to clip
    background_db: float  # the place's background relative to the machine
    level_dbfs: float  # RMS of the machine at the microphone, re full scale

    @property
    def passes(self) -> int:
        """Blades, vanes or pistons that pass in one revolution."""
        return self.flows[0].order
