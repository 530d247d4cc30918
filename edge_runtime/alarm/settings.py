"""When scores become an alarm, and how long people may look away."""

import msgspec

from edge_runtime.errors import SettingError

LONGEST_S = 604_800.0  # seconds (a week) of the longest delay or shelf
LONGEST_OF = 1_000  # windows that a level may look back on: they are kept in memory


def _between(name: str, value: float, low: float, high: float, words: str) -> None:
    if not low <= value <= high:
        raise SettingError(f"{name} {value}: {words}, {low:g} to {high:g}")


class LevelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When one level begins and ends."""

    margin: float = 1.0  # where it begins, in distances from the median normal score (0) to the machine's threshold (1)
    threshold: float | None = None  # the same in the unit of the score, instead of a margin
    k: int = 1  # windows above it, …
    of: int = 1  # … of so many windows that had a score
    on_delay_s: float = 30.0  # seconds of sound that this holds before the level begins
    off_delay_s: float = 60.0  # seconds of sound that it no longer holds before the level ends
    deadband: float = 0.0  # how far below its beginning it ends, in the unit of margin

    def __post_init__(self) -> None:
        for name in ("on_delay_s", "off_delay_s"):
            _between(name, getattr(self, name), 0.0, LONGEST_S, "a delay is a number of seconds")
        _between("of", self.of, 1, LONGEST_OF, "a number of windows")
        _between("k", self.k, 1, self.of, "k of so many windows (of)")
        _between("margin", self.margin, 1e-3, 1e6, "1 is the machine's own threshold")
        _between("deadband", self.deadband, 0.0, 1e6, "a distance in the unit of margin")
        if self.threshold is None and self.deadband >= self.margin:
            raise SettingError(
                f"deadband {self.deadband}: wanted less than the margin ({self.margin}), or the median of normal sound "
                "would not end it"
            )
        if self.threshold is not None:
            _between("threshold", self.threshold, -1e300, 1e300, "a score")
            if self.margin != 1.0:
                raise SettingError(f"margin {self.margin} and threshold {self.threshold}: give one of them")


class AlarmSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One machine's levels, and what becomes of its alarms."""

    warning: LevelSettings | None = None
    alarm: LevelSettings = LevelSettings()
    latching: bool = False  # an anomaly stays until somebody resets it; not_listening never latches
    not_listening_s: float = 60.0  # seconds without a window that is fit, before that is an alarm of its own
    longest_shelve_s: float = 28_800.0  # seconds (8 h) that an alarm may be shelved for at once

    def __post_init__(self) -> None:
        _between("not_listening_s", self.not_listening_s, 1.0, LONGEST_S, "a number of seconds")
        _between("longest_shelve_s", self.longest_shelve_s, 1.0, LONGEST_S, "a number of seconds")
        if self.warning is None:
            return
        low, high = self.warning, self.alarm
        if low.threshold is None and high.threshold is None:
            below, unit = low.margin <= high.margin, f"margins {low.margin} and {high.margin}"
        elif low.threshold is not None and high.threshold is not None:
            below, unit = low.threshold <= high.threshold, f"thresholds {low.threshold} and {high.threshold}"
        else:
            return  # it takes the machine to compare a margin with a threshold: `condition.Condition`
        if not below:
            raise SettingError(f"warning above alarm ({unit}); wanted the warning no higher than the alarm")
