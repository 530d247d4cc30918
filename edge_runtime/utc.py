"""The wall clock as it is written: UTC, ISO 8601. It decides nothing."""

import datetime
import time
from typing import Literal

To = Literal["seconds", "milliseconds"]


def text(utc_s: float, to: To = "milliseconds") -> str:
    """Seconds since 1970 -> text."""
    return datetime.datetime.fromtimestamp(utc_s, datetime.timezone.utc).isoformat(timespec=to)


def now(to: To = "milliseconds") -> str:
    """What the clock says."""
    return text(time.time(), to)


def seconds(time_: str) -> float:
    """Text -> seconds since 1970; a ValueError where it is no time."""
    return datetime.datetime.fromisoformat(time_).timestamp()
