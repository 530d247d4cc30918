"""The states of an alarm, as one table; after ANSI/ISA-18.2-2016 (for people: docs/alarms.md). No clock and no I/O.

Three things that people mix up: to acknowledge says "I have seen it", to reset gives a latch free, to silence stops the
noise and changes no state.
"""

from typing import get_args

import msgspec

from edge_runtime.alarm.settings import AlarmSettings
from edge_runtime.alarm.words import HIDDEN, ITSELF, RANK, Action, Change, Event, Kept, Kind, Level, State, Status

TABLE: dict[tuple[State, Event], State] = {
    ("normal", "raise"): "unacknowledged",
    ("unacknowledged", "escalate"): "unacknowledged",
    ("unacknowledged", "ease"): "unacknowledged",
    ("unacknowledged", "return"): "returned_unacknowledged",
    ("unacknowledged", "latch"): "latched_unacknowledged",
    ("unacknowledged", "acknowledge"): "acknowledged",
    ("unacknowledged", "silence"): "unacknowledged",
    ("acknowledged", "escalate"): "unacknowledged",
    ("acknowledged", "ease"): "acknowledged",
    ("acknowledged", "return"): "normal",
    ("acknowledged", "latch"): "latched_acknowledged",
    ("acknowledged", "silence"): "acknowledged",
    ("returned_unacknowledged", "raise"): "unacknowledged",
    ("returned_unacknowledged", "acknowledge"): "normal",
    ("returned_unacknowledged", "silence"): "returned_unacknowledged",
    ("latched_unacknowledged", "raise"): "unacknowledged",
    ("latched_unacknowledged", "acknowledge"): "latched_acknowledged",
    ("latched_unacknowledged", "reset"): "returned_unacknowledged",
    ("latched_unacknowledged", "silence"): "latched_unacknowledged",
    ("latched_acknowledged", "raise"): "unacknowledged",
    ("latched_acknowledged", "reset"): "normal",
    ("latched_acknowledged", "silence"): "latched_acknowledged",
}
SHOWN: tuple[State, ...] = tuple(state for state in get_args(State) if state not in HIDDEN)
CONDITIONS: tuple[Event, ...] = ("raise", "escalate", "ease", "return", "latch")
TABLE |= {(state, "shelve"): "shelved" for state in (*SHOWN, "shelved")}
TABLE |= {(state, "out_of_service"): "out_of_service" for state in (*SHOWN, "shelved")}
for _hidden in HIDDEN:
    TABLE |= {(_hidden, event): _hidden for event in CONDITIONS}
    TABLE |= {
        (_hidden, "resume_active"): "unacknowledged",
        (_hidden, "resume_latched"): "latched_unacknowledged",
        (_hidden, "resume_clear"): "normal",
    }
LEAVES: dict[Action, State] = {"unshelve": "shelved", "in_service": "out_of_service"}  # what ends what
ASKS: dict[Action, Event] = {
    "acknowledge": "acknowledge",
    "reset": "reset",
    "silence": "silence",
    "shelve": "shelve",
    "out_of_service": "out_of_service",
}
ALSO: dict[Event, dict[str, bool]] = {  # what an event changes beside state and level
    "raise": {"silenced": False},
    "escalate": {"silenced": False},
    "silence": {"silenced": True},
    "reset": {"latched": False},
    "resume_active": {"silenced": False},
    "resume_latched": {"silenced": False},
    "resume_clear": {"silenced": False},
}

NOTHING: dict[Action, str] = {
    "acknowledge": "there is nothing to acknowledge",
    "reset": "nothing is latched",
    "silence": "nothing sounds",
    "shelve": "put it in service first",
    "unshelve": "it is not shelved",
    "out_of_service": "it is out of service already",
    "in_service": "it is in service",
}
REFUSED: dict[tuple[State, Action], str] = {
    ("acknowledged", "acknowledge"): "it is acknowledged already",
    ("latched_acknowledged", "acknowledge"): "it is acknowledged already; reset it",
    ("unacknowledged", "reset"): "what raised it goes on; acknowledge it, and reset it when that is over",
    ("acknowledged", "reset"): "what raised it goes on; reset it when that is over",
    ("returned_unacknowledged", "reset"): "nothing is latched; acknowledge it",
    ("shelved", "acknowledge"): "unshelve it first",
    ("shelved", "reset"): "unshelve it first",
    ("out_of_service", "acknowledge"): "put it in service first",
    ("out_of_service", "reset"): "put it in service first",
}


class Alarm:
    """One alarm of one machine: what the condition and people make of it, one change at a time."""

    def __init__(self, machine: str, kind: Kind, settings: AlarmSettings) -> None:
        self._settings, self._latching = settings, settings.latching and kind == "anomaly"
        self._now = Kept(machine, kind)
        self._ends: float | None = None  # monotonic seconds at which a shelf ends

    @property
    def status(self) -> Status:
        """What people and outputs see."""
        now = self._now
        return Status(now.machine, now.kind, now.state, now.level, now.silenced)

    def kept(self, now_s: float) -> Kept:
        """All that a restart needs, at that monotonic second."""
        if self._ends is None:
            return self._now
        return msgspec.structs.replace(self._now, shelf_left_s=max(0.0, self._ends - now_s))

    def restore(self, kept: Kept, now_s: float, utc_s: float) -> None:
        """Be what was kept. Neither a clock set back nor one set forward makes a shelf longer than it was."""
        left, until = kept.shelf_left_s, kept.shelf_until
        self._now, self._ends = kept, None
        if left is not None and until is not None:
            self._ends = now_s + max(0.0, min(left, until - utc_s))

    def raised(self, level: Level, why: str = "") -> Change | None:
        """The level of the condition now; None where that is nothing new."""
        before = self._now.level
        if level == before:
            return None
        if before == "normal":
            return self._go("raise", "raise", ITSELF, why, level=level, latched=self._now.latched or self._latching)
        if level == "normal":
            return self._go("latch" if self._now.latched else "return", "return", ITSELF, why, level=level)
        event: Event = "escalate" if RANK[level] > RANK[before] else "ease"
        return self._go(event, event, ITSELF, why, level=level)

    def apply(
        self,
        action: Action,
        who: str,
        why: str = "",
        now_s: float = 0.0,
        utc_s: float = 0.0,
        seconds: float | None = None,
    ) -> Change | str:
        """What a person does -> the change, or in words why it is refused. `seconds`: how long to shelve."""
        if not who.strip() or who == ITSELF:
            return f"who: {who!r} is not a person; give a name"
        if action in LEAVES:
            left = self._now.state == LEAVES[action]
            return self._resume(action, who, why) if left else self._refusal(action)
        event = ASKS[action]
        if (self._now.state, event) not in TABLE:
            return self._refusal(action)
        if action != "shelve":
            return self._go(event, action, who, why)
        longest = self._settings.longest_shelve_s
        if seconds is None or not 0.0 < seconds <= longest:
            asked = "without an end" if seconds is None else f"{seconds / 60:g} minutes"
            return f"shelve {asked}: wanted more than 0 minutes and at most {longest / 60:g} (longest_shelve_s)"
        self._ends = now_s + seconds
        return self._go("shelve", "shelve", who, why, shelf_left_s=seconds, shelf_until=utc_s + seconds)

    def tick(self, now_s: float) -> Change | None:
        """Time has passed, on a clock that nobody sets: the end of a shelf that is over."""
        if self._ends is None or now_s < self._ends:
            return None
        return self._resume("expire", ITSELF, "")

    def _resume(self, cause: str, who: str, why: str) -> Change:
        """Back among the alarms: a shelf is no way around a latch."""
        quiet: Event = "resume_latched" if self._now.latched else "resume_clear"
        return self._go("resume_active" if self._now.level != "normal" else quiet, cause, who, why)

    def _go(self, event: Event, cause: str, who: str, why: str, **new: object) -> Change:
        before = self._now
        state = TABLE[before.state, event]
        new |= ALSO.get(event, {})
        if state != "shelved":
            new |= {"shelf_left_s": None, "shelf_until": None}
            self._ends = None
        if state == "normal":
            new["silenced"] = False
        self._now = now = msgspec.structs.replace(before, state=state, **new)
        return Change(now.machine, now.kind, before.state, state, now.level, cause, who, why)

    def _refusal(self, action: Action) -> str:
        state = self._now.state
        words = REFUSED.get((state, action), NOTHING[action])
        return f"{self._now.machine}, {self._now.kind}: {state.replace('_', ' ')}: {words}"
