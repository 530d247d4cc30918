"""The words that alarms are told in."""

import math
from typing import Literal

import msgspec

Kind = Literal["anomaly", "not_listening"]
Level = Literal["normal", "warning", "alarm"]  # of the condition: is the machine abnormal now, and how much
State = Literal[  # of the alarm: what people have to do with it
    "normal",
    "unacknowledged",
    "acknowledged",
    "returned_unacknowledged",
    "latched_unacknowledged",
    "latched_acknowledged",
    "shelved",
    "out_of_service",
]
Action = Literal["acknowledge", "reset", "silence", "shelve", "unshelve", "out_of_service", "in_service"]
Event = Literal[  # what the table of `states.py` is asked for
    "raise", "escalate", "ease", "return", "latch",
    "acknowledge", "reset", "silence", "shelve", "out_of_service",
    "resume_active", "resume_latched", "resume_clear",
]  # fmt: skip
RANK: dict[Level, int] = {"normal": 0, "warning": 1, "alarm": 2}
ACTIVE: tuple[State, ...] = ("unacknowledged", "acknowledged")  # the condition is there
HIDDEN: tuple[State, ...] = ("shelved", "out_of_service")  # there or not, nobody is told
ITSELF = "auscult"  # who, where it was the process


class Status(msgspec.Struct, frozen=True):
    """What people and outputs see of one alarm."""

    machine: str
    kind: Kind
    state: State
    level: Level
    silenced: bool


class Change(msgspec.Struct, frozen=True):
    """One transition, or something that was done and left the state as it was (a level, a silence)."""

    machine: str
    kind: Kind
    before: State
    state: State
    level: Level  # after it
    cause: str  # raise, escalate, ease, return, expire, or the action of a person
    who: str  # "auscult" for the process itself
    why: str  # what they said, or ""


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of one alarm that a restart needs."""

    machine: str
    kind: Kind
    state: State = "normal"
    level: Level = "normal"
    silenced: bool = False
    latched: bool = False  # it was active since the last reset, and it latches
    shelf_left_s: float | None = None  # seconds until a shelf ends, when this was written; None: not shelved
    shelf_until: float | None = None  # the same moment as seconds of UTC since 1970

    def __post_init__(self) -> None:
        """Only what can be: nobody may find an alarm that no event leads out of."""
        there = self.level != "normal"
        if self.state not in HIDDEN and there != (self.state in ACTIVE):
            raise ValueError(f"{self.state} with the level {self.level}")
        if self.state.startswith("latched") and not self.latched:
            raise ValueError(f"{self.state}, yet nothing latched")
        ends = [self.shelf_left_s, self.shelf_until]
        if any((end is None) != (self.state != "shelved") or (end is not None and math.isnan(end)) for end in ends):
            raise ValueError(f"{self.state} with a shelf of {self.shelf_left_s} s until {self.shelf_until}")
