"""Intervals beside one another, on one scale."""

import math
from collections.abc import Sequence

import msgspec

from calib.bootstrap import Interval


class Bar(msgspec.Struct, frozen=True):
    """An interval on a scale: per cent across."""

    low: float
    value: float
    high: float


def bar(found: Interval, low: float, high: float) -> Bar:
    """An interval on a scale from low to high."""
    return Bar(*[round(100 * (part - low) / (high - low), 2) for part in (found.low, found.value, found.high)])


def scale(found: Sequence[Interval]) -> tuple[float, float]:
    """Round ends, multiples of 0.1, that hold all intervals."""
    low, high = min(one.low for one in found), max(one.high for one in found)
    return math.floor(10 * low) / 10, max(math.ceil(10 * high) / 10, math.floor(10 * low) / 10 + 0.1)
