"""Decisions of single windows -> the state that people see, in stream time; pure, no clock and no I/O."""

from typing import Literal

import msgspec

from edge_runtime.errors import ConfigError

LONGEST_S = 604_800.0  # seconds of the longest delay
State = Literal["normal", "alarm"]


class AlarmSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long a decision must hold before the state follows."""

    on_delay_s: float = 30.0  # seconds above the threshold before the alarm
    off_delay_s: float = 60.0  # seconds below it before the return to normal

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not 0.0 <= value <= LONGEST_S:
                raise ConfigError(f"{name} {value}: a delay is a number of seconds, 0 to {LONGEST_S:.0f} (a week)")


class Change(msgspec.Struct, frozen=True):
    """The state has changed."""

    state: State  # the new one
    at: int  # sample of the stream
    since: int  # sample at which the first decision that led here was made


class Alarm:
    """normal -> alarm after on_delay_s of decisions above the threshold, back after off_delay_s below it.

    A decision against the state starts a count, a decision for it ends the count. Time counts where it was heard: the
    stretch up to a window with a decision counts, the stretch up to one without (None: silence, a gap, the start of
    another recording) does not. So a window without a score neither confirms nor clears anything, it only pauses.
    """

    def __init__(self, settings: AlarmSettings, sample_rate: int) -> None:
        self.state: State = "normal"
        self._delays = {
            "normal": round(settings.on_delay_s * sample_rate),
            "alarm": round(settings.off_delay_s * sample_rate),
        }
        self._last = 0  # sample of the last update
        self._since: int | None = None  # sample at which the count began
        self._held = 0  # samples counted

    def update(self, at: int, decision: bool | None) -> Change | None:
        """The decision at that sample of the stream; samples never go back. The change that follows, if any."""
        heard, self._last = at - self._last, at
        if decision is None:
            return None
        if decision == (self.state == "alarm"):
            self._since = None
            return None
        if self._since is None:
            self._since, self._held = at, 0
        else:
            self._held += heard
        if self._held < self._delays[self.state]:
            return None
        self.state = "alarm" if decision else "normal"
        change, self._since = Change(self.state, at, self._since), None
        return change
