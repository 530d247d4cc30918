"""How much of the disk events may take, for how long, and which goes first. Pure but for `standing`."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from edge_runtime import utc
from edge_runtime.alarm.words import RANK, Level
from edge_runtime.errors import DataError
from edge_runtime.journal.rows import Recorded
from edge_runtime.recorder import event
from edge_runtime.recorder.event import Event, State

HALF_S = 30 * 86_400.0  # seconds after which an event is half as interesting
MOST = 10.0  # distances above the threshold, beyond which a score says no more
MB = 1_000_000  # bytes


class Standing(msgspec.Struct, frozen=True):
    """What decides whether an event stays."""

    id: str
    bytes: int
    level: Level
    excess: float  # the highest score above the threshold, in distances from the normal median to the threshold
    utc_s: float | None  # of the raise, seconds since 1970; None: the clock was not set
    labelled: bool = False
    marked: bool = False
    state: State = "whole"


def interest(one: Standing, now_s: float | None) -> tuple[bool, float]:
    """How much an event is worth keeping, greater is more; `now_s`: UTC, None where the clock is not set.

    What a person labelled is above what nobody did. Then a number: an alarm counts twice a warning; times one plus the
    distances that its score was above the threshold; halved with each 30 days. An event of unknown age counts as 30
    days old. What a person marked is never asked for.
    """
    age_s = HALF_S if one.utc_s is None or now_s is None else max(0.0, now_s - one.utc_s)
    weight = max(1, RANK[one.level]) * (1.0 + min(max(one.excess, 0.0), MOST))
    return one.labelled, weight * 0.5 ** (age_s / HALF_S)


def removals(events: Iterable[Standing], most_bytes: float, keep_s: float, now_s: float | None) -> list[str]:
    """Events that go, in order: those that are too old, then the least interesting until the rest fits.

    `now_s`: UTC; None: the clock is not to be trusted, and nothing is old by it.
    """
    staying = list(events)
    free = [one for one in staying if not one.marked and one.state != "open"]
    old = [one for one in free if now_s is not None and one.utc_s is not None and now_s - one.utc_s > keep_s]
    gone = {one.id for one in old}
    rest = sorted((one for one in free if one.id not in gone), key=lambda one: (*interest(one, now_s), one.id))
    left = sum(one.bytes for one in staying if one.id not in gone)
    going_on = sum(one.bytes for one in staying if one.state == "open")  # for which nothing goes that people labelled
    for one in rest:
        if left - (going_on if one.labelled else 0) <= most_bytes:
            break
        gone.add(one.id)
        old.append(one)
        left -= one.bytes
    return [one.id for one in old]


def giving_way(events: Iterable[Standing], now_s: float | None) -> list[Standing]:
    """Events that may go where the disk has no room, least interesting first: none that a person said a word of.

    Others fill a disk, too, and go on when the room is made: what people labelled is not for them.
    """
    may = [one for one in events if not one.marked and not one.labelled and one.state != "open"]
    return sorted(may, key=lambda one: (*interest(one, now_s), one.id))


def standing(folder: Path) -> tuple[Standing, Recorded] | None:
    """An event folder as it is now; None where it is none, or gone meanwhile."""
    try:
        found = event.read(folder)
    except DataError:
        return None
    try:
        said = event.said(folder)
    except DataError:  # it cannot be read: somebody may have wished to keep it
        said = event.Said(marked=True)
    size = found.bytes + (folder / event.MANIFEST).stat().st_size
    one = Standing(
        folder.name,
        size,
        found.level,
        found.excess,
        None if found.clock else seconds(found.time),
        bool(said.labels),
        said.marked,
        found.state,
    )
    return one, row(found, size)


def row(found: Event, size: int) -> Recorded:
    """For the list of events in the journal."""
    return Recorded(
        found.id,
        found.machine,
        found.kind,
        found.level,
        found.time,
        found.clock,
        found.score,
        found.reason.words,
        found.seconds,
        size,
    )


def seconds(time: str) -> float | None:
    """ISO 8601 -> seconds since 1970; None where it is no time."""
    try:
        return utc.seconds(time)
    except (ValueError, OverflowError):
        return None
