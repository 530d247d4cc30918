"""What of the sound is kept, for how long, and how much of the disk it may take."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge_runtime.errors import SettingError

DEFAULT_LONGEST_S = 120.0
Seconds = Annotated[float, Meta(ge=0.0, le=600.0)]


class RecorderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `recorder:` of a site file; without it no sound is kept."""

    privacy: Literal["sound", "features-only"] = "sound"  # features-only: nothing is kept that can be played
    level: Literal["warning", "alarm"] = "alarm"  # the least level of an anomaly that is recorded
    before_s: Seconds = 15.0  # seconds of sound before the first window that led to the alarm
    after_s: Seconds = 10.0  # seconds of sound after the return to normal
    longest_s: Annotated[float, Meta(ge=10.0, le=600.0)] = DEFAULT_LONGEST_S  # seconds of one event's sound
    keep_days: Annotated[float, Meta(gt=0.0)] = 90.0  # days after which an event is removed, unless a person marked it
    budget_mb: Annotated[float, Meta(ge=1.0)] = 1000.0  # megabytes of all events; the least interesting go first
    free_mb: Annotated[float, Meta(ge=0.0)] = 200.0  # megabytes of the disk that stay free whatever the budget says

    def __post_init__(self) -> None:
        if self.before_s >= self.longest_s:
            raise SettingError(
                f"before_s {self.before_s:g}: wanted less than longest_s ({self.longest_s:g}), or an alarm is not in it"
            )
