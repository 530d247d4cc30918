"""What makes a fan a fan: the ranges that the machines of a kind are drawn from."""

from dataclasses import dataclass

from edge_runtime.errors import ConfigError

Range = tuple[float, float]


@dataclass(frozen=True)
class Kind:
    """Ranges for one draw of a machine; levels in dB relative to the machine's whole sound unless said otherwise."""

    shaft_hz: Range  # revolutions of the main shaft per second
    faults: tuple[str, ...]  # what can go wrong, the typical fault first
    shafts: tuple[int, int] = (1, 1)
    passes: tuple[int, int] = (0, 0)  # blades, vanes or pistons that pass in one revolution; 0: none
    geared: bool = False  # the shafts mesh
    tones_db: Range = (-14.0, 2.0)  # all tones of the shafts
    pulsation: Range = (0.0, 0.3)  # depth of the flow noise's modulation by the passes, 0 to 1
    hum_db: Range = (-45.0, -15.0)  # mains hum
    whines: tuple[int, int] = (0, 1)  # free whines: inverters, bearings that sing
    knocks: tuple[int, int] = (0, 1)  # trains of impulses that belong to normal operation
    knocks_db: Range = (-25.0, -8.0)
    cycle_s: Range | None = None  # the machine moves to and fro with this period
    severities_db: tuple[float, ...] = (-15.0, -9.0, -3.0, 3.0)  # of a data set's anomalies, the first barely audible


KINDS: dict[str, Kind] = {
    "fan": Kind(
        shaft_hz=(10, 60),
        passes=(3, 12),
        tones_db=(-14, 0),
        pulsation=(0.0, 0.4),
        faults=("blade", "bearing_outer", "imbalance", "rub", "looseness"),
    ),
    "pump": Kind(
        shaft_hz=(15, 50),
        passes=(3, 7),
        tones_db=(-12, 2),
        pulsation=(0.2, 0.8),
        knocks=(0, 2),
        faults=("cavitation", "bearing_inner", "looseness", "bearing_outer"),
    ),
    "gearbox": Kind(
        shaft_hz=(8, 50),
        shafts=(2, 3),
        geared=True,
        tones_db=(-6, 6),
        faults=("tooth", "bearing_outer", "looseness", "rub"),
    ),
    "bearing": Kind(
        shaft_hz=(8, 100),
        tones_db=(-20, -4),
        knocks=(0, 2),
        faults=("bearing_outer", "bearing_inner", "bearing_ball", "looseness"),
    ),
    "motor": Kind(
        shaft_hz=(15, 100),
        tones_db=(-10, 3),
        hum_db=(-25, -3),
        whines=(1, 2),
        faults=("bearing_outer", "imbalance", "rub", "bearing_ball"),
    ),
    "compressor": Kind(
        shaft_hz=(12, 60),
        shafts=(1, 2),
        passes=(1, 6),
        tones_db=(-8, 4),
        pulsation=(0.3, 0.9),
        hum_db=(-30, -10),
        knocks=(1, 2),
        faults=("leak", "bearing_inner", "looseness", "bearing_outer"),
    ),
    "slider": Kind(
        shaft_hz=(8, 40),
        tones_db=(-16, 0),
        pulsation=(0.0, 0.2),
        knocks=(0, 2),
        cycle_s=(1.0, 4.0),
        severities_db=(-18.0, -12.0, -6.0, 0.0),
        faults=("rub", "bearing_outer", "looseness"),
    ),
    "valve": Kind(
        shaft_hz=(0.6, 3.0),
        passes=(1, 2),
        tones_db=(-60, -40),
        pulsation=(0.6, 0.95),
        knocks=(1, 2),
        knocks_db=(-8, 0),
        severities_db=(-27.0, -21.0, -15.0, -9.0),  # it is silent most of the time
        faults=("leak", "rub"),
    ),
}


def kind_named(name: str) -> Kind:
    """The ranges of a kind; an unknown name is the user's mistake."""
    if name not in KINDS:
        raise ConfigError(f"machine {name}: the simulator knows {', '.join(KINDS)}")
    return KINDS[name]
