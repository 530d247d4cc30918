"""Scores as they are kept: a row for each machine and minute with every score, after days without them, then an hour.

What a minute of four machines costs is one transaction of some kilobytes: SD cards live by what is not written.
"""

import array
import json
import math
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence

import msgspec

from edge_runtime.journal.rows import Spell

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0
SCORES_S = 2 * DAY_S  # age at which a minute keeps its lowest, mean and highest score alone
MINUTES_S = 30 * DAY_S  # age at which minutes become hours
HOURS_S = 5 * 365 * DAY_S  # age at which hours go
HOURS = 8  # of minutes of a machine, that are made one in a turn: the listening waits for them
ROWS = 500  # that are made shorter, or go, in a turn
COLUMNS = Spell.__struct_fields__
SELECT = f"SELECT {', '.join(COLUMNS)} FROM spells"
INSERT = f"INSERT INTO spells ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"

THINNED = """SELECT CAST((begin_s - ?1) / ?2 AS INTEGER) - (begin_s < ?1),
    sum(scored), sum(unfit), sum(lost), sum(above),
    min(lowest), sum(mean * scored) / nullif(sum(scored * (mean IS NOT NULL)), 0), max(highest),
    sum(level_dbfs * (scored + unfit)) / nullif(sum((scored + unfit) * (level_dbfs IS NOT NULL)), 0)
    FROM spells WHERE machine = ?3 AND begin_s > ?4 AND begin_s < ?5 GROUP BY 1 ORDER BY 1"""


class Spells:
    """Collects the windows of a minute, machine by machine."""

    def __init__(self) -> None:
        self._open: dict[str, Spell] = {}
        self._levels: dict[str, int] = {}  # windows of the spell that have a level

    def add(
        self,
        machine: str,
        utc_s: float,
        score: float | None = None,
        decision: bool | None = None,
        level_dbfs: float | None = None,
        faults: Sequence[str] = (),
    ) -> Iterator[Spell]:
        """A window -> the spell before it, where that is over."""
        yield from self._turned(machine, utc_s)
        before = self._open[machine]
        self._levels[machine] += level_dbfs is not None
        self._open[machine] = msgspec.structs.replace(
            before,
            scored=before.scored + (score is not None),
            unfit=before.unfit + (score is None),
            above=before.above + bool(decision),
            lowest=_of(min, before.lowest, score),
            mean=_mean(before.mean, score, before.scored + 1),
            highest=_of(max, before.highest, score),
            level_dbfs=_mean(before.level_dbfs, level_dbfs, self._levels[machine]),
            faults=_counted(before.faults, dict.fromkeys(faults, 1)),
            scores=[*before.scores, score],
        )

    def lost(self, machine: str, utc_s: float, windows: int) -> Iterator[Spell]:
        """Windows that lost sound made impossible -> the spell before them, where that is over."""
        yield from self._turned(machine, utc_s)
        before = self._open[machine]
        self._open[machine] = msgspec.structs.replace(before, lost=before.lost + windows)

    def over(self, utc_s: float) -> list[Spell]:
        """Those whose minute is over, whatever comes after them; also where the clock was set back."""
        return [self._open.pop(one) for one, spell in list(self._open.items()) if not _within(spell, utc_s)]

    def rest(self) -> list[Spell]:
        """All that there is; nothing is left."""
        rest, self._open = list(self._open.values()), {}
        return rest

    @property
    def recent(self) -> list[Spell]:
        """Those that are not over."""
        return list(self._open.values())

    def _turned(self, machine: str, utc_s: float) -> Iterator[Spell]:
        before = self._open.get(machine)
        if before is not None and _within(before, utc_s):
            return
        self._open[machine] = Spell(machine, utc_s // MINUTE_S * MINUTE_S, MINUTE_S)
        self._levels[machine] = 0
        if before is not None:
            yield before


def insert(db: sqlite3.Connection, spells: Sequence[Spell]) -> None:
    """Write them as they are."""
    db.executemany(INSERT, [row(spell) for spell in spells])


def select(db: sqlite3.Connection, machine: str, since_s: float, until_s: float) -> list[Spell]:
    """Of a machine, those that touch the time between, oldest first."""
    where = "WHERE machine = ? AND begin_s > ? AND begin_s <= ? ORDER BY begin_s, number"
    rows = db.execute(f"{SELECT} {where}", (machine, since_s - HOUR_S, until_s))
    return [spell for spell in map(_spell, rows) if spell.begin_s + spell.span_s > since_s]


def thinned(db: sqlite3.Connection, machine: str, since_s: float, until_s: float, step_s: float) -> list[Spell]:
    """The same in steps, a spell for each that has any, without faults and single scores."""
    rows = db.execute(THINNED, (since_s, step_s, machine, since_s - HOUR_S, until_s))
    found = [Spell(machine, since_s + step * step_s, step_s, *values) for step, *values in rows]
    return [spell for spell in found if spell.begin_s + spell.span_s > since_s]


SHORTER = f"""UPDATE spells SET scores = x'' WHERE number IN
    (SELECT number FROM spells WHERE begin_s < ? AND scores != x'' LIMIT {ROWS})"""
GONE = (
    f"DELETE FROM spells WHERE number IN (SELECT number FROM spells WHERE span_s = 3600 AND begin_s < ? LIMIT {ROWS})"
)
OLDEST = "SELECT machine, begin_s FROM spells WHERE span_s = 60 AND begin_s < ? ORDER BY begin_s LIMIT 1"
OF_HOUR = "span_s = 60 AND machine = ? AND begin_s >= ? AND begin_s < ?"


def thin(db: sqlite3.Connection, utc_s: float) -> None:
    """What has grown old takes less room: a little with each minute, which keeps up with 480 machines."""
    db.execute(SHORTER, (utc_s - SCORES_S,))
    until_s = (utc_s - MINUTES_S) // HOUR_S * HOUR_S  # whole hours only
    for _ in range(HOURS):
        oldest = db.execute(OLDEST, (until_s,)).fetchone()
        if oldest is None:
            break
        machine, begin_s = oldest[0], oldest[1] // HOUR_S * HOUR_S
        hour = machine, begin_s, begin_s + HOUR_S
        minutes = [_spell(row) for row in db.execute(f"{SELECT} WHERE {OF_HOUR}", hour)]
        db.execute(f"DELETE FROM spells WHERE {OF_HOUR}", hour)
        insert(db, [merged(minutes, begin_s, HOUR_S)])
    db.execute(GONE, (utc_s - HOURS_S,))


def merged(spells: Sequence[Spell], begin_s: float, span_s: float) -> Spell:
    """Several of one machine as one, without their single scores."""
    scored = sum(one.scored for one in spells)
    faults: dict[str, int] = {}
    for one in spells:
        faults = _counted(faults, one.faults)
    lowest = [one.lowest for one in spells if one.lowest is not None]
    highest = [one.highest for one in spells if one.highest is not None]
    total = math.fsum(one.mean * one.scored for one in spells if one.mean is not None)
    levels = [(one.level_dbfs, one.scored + one.unfit) for one in spells if one.level_dbfs is not None]
    return Spell(
        spells[0].machine,
        begin_s,
        span_s,
        scored,
        sum(one.unfit for one in spells),
        sum(one.lost for one in spells),
        sum(one.above for one in spells),
        min(lowest, default=None),
        total / scored if scored else None,
        max(highest, default=None),
        math.fsum(level * windows for level, windows in levels) / sum(many for _, many in levels) if levels else None,
        faults,
    )


def _within(spell: Spell, utc_s: float) -> bool:
    return spell.begin_s <= utc_s < spell.begin_s + spell.span_s


def _of(pick: Callable[[list[float]], float], before: float | None, now: float | None) -> float | None:
    known = [one for one in (before, now) if one is not None]
    return pick(known) if known else None


def _mean(before: float | None, now: float | None, count: int) -> float | None:
    """The mean of `count` values, the last of which is `now`."""
    if now is None:
        return before
    return now if before is None else before + (now - before) / count


def _counted(before: dict[str, int], now: dict[str, int]) -> dict[str, int]:
    return {word: before.get(word, 0) + now.get(word, 0) for word in {**before, **now}}


def row(spell: Spell) -> tuple[object, ...]:
    """As the table has it."""
    values = [getattr(spell, name) for name in COLUMNS]
    scores = array.array("f", [math.nan if score is None else score for score in spell.scores])
    if sys.byteorder == "big":
        scores.byteswap()
    return (*values[:-2], json.dumps(spell.faults), scores.tobytes())


def _spell(row: Sequence[object]) -> Spell:
    *values, faults, blob = row
    scores = array.array("f")
    scores.frombytes(blob)  # type: ignore[arg-type]
    if sys.byteorder == "big":
        scores.byteswap()
    kept = [None if math.isnan(score) else score for score in scores]
    return Spell(*values, json.loads(faults), kept)  # type: ignore[call-arg,arg-type]
