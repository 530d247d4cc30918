"""The outputs of a site file: a union that the field `kind` decides."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge_runtime.alarm import Kind, Level
from edge_runtime.alarm.words import RANK

Cause = Literal[
    "raise", "escalate", "ease", "return", "expire",
    "acknowledge", "reset", "silence", "shelve", "unshelve", "out_of_service", "in_service",
]  # fmt: skip
Seconds = Annotated[float, Meta(gt=0.0, le=3600.0)]


class Common(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which alarms an output acts on."""

    level: Literal["warning", "alarm"] = "alarm"  # the least level that it acts on
    kinds: Annotated[tuple[Kind, ...], Meta(min_length=1)] = ("anomaly", "not_listening")  # of alarms that it acts on

    def meant(self, kind: Kind, level: Level) -> bool:
        """Whether an alarm of that kind and level is for this output."""
        return kind in self.kinds and RANK[level] >= RANK[self.level]


class RelaySettings(Common, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="relay"):
    """A line of a GPIO chip: energised while all is well."""

    chip: str  # device file: /dev/gpiochip0
    line: int | str  # its offset on the chip, counted from 0, or its name
    active_low: bool = False  # True: the relay is energised by 0 volts
    deadman_s: Seconds = 10.0  # seconds without a sign of life of the listening loop, then it drops


class SoundSettings(Common, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="sound"):
    """A sound, over and over while an alarm is neither acknowledged nor silenced."""

    file: str  # WAV, PCM, 60 s at most
    device: str = ""  # PortAudio's name or part of it; "": the default loudspeaker
    pause_s: Annotated[float, Meta(ge=0.0, le=60.0)] = 1.0  # seconds of silence between one time and the next


class CommandSettings(Common, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="command"):
    """A program, run at changes of an alarm; a shelf that ends while the cause is there counts as a raise."""

    command: str  # split into words, run without a shell
    on: Annotated[tuple[Cause, ...], Meta(min_length=1)] = ("raise", "escalate", "return")  # causes of changes
    timeout_s: Seconds = 30.0  # seconds it may take, then it is killed with all that it started


Settings = RelaySettings | SoundSettings | CommandSettings
