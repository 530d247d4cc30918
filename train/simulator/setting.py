"""Under what a machine is recorded: the setting that an operator knows, and one draw around it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class OperatingPoint:
    """A setting under which a machine is recorded: what a file name tells."""

    shaft_hz: float
    load: float  # 0 to 1
    place: str  # which background
    background_db: float  # relative to the machine at nominal speed and load

    def attributes(self) -> dict[str, str]:
        """Names and values as DCASE writes them."""
        return {"rpm": f"{60 * self.shaft_hz:.0f}", "load": f"{100 * self.load:.0f}", "noise": self.place}


@dataclass(frozen=True)
class Conditions:
    """One draw: what changes from clip to clip."""

    shaft_hz: float
    load: float  # 0 to 1, a little beyond is an overload
    gain_db: float
    place: str
    background_db: float
    drift: float  # standard deviation of the speed within the clip, relative
    speed_wander: float = 0.0  # the same over minutes, in a long stream
    load_wander: float = 0.0  # of full load, over minutes
    wander_s: float = 120.0  # time constant of both
