"""Scores over time, in steps that a screen can show: never more numbers than that, however long the time."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from edge_runtime.journal import Beat, Listened, Spell, Visitor
from edge_runtime.web.exchange import Refused

LIVE_S, LIVE_STEP_S = 300.0, 2.0  # seconds of the small chart, and of one of its points
WRITTEN_S = 600.0  # seconds after which every minute is written
SPANS: dict[str, tuple[float, float]] = {  # seconds shown, seconds of a step
    "1h": (3600.0, 10.0),
    "24h": (86_400.0, 300.0),
    "30d": (30 * 86_400.0, 7200.0),
}
Placed = tuple[float, float | None]  # second of UTC at which a window ended, its score


class Steps(msgspec.Struct, frozen=True):
    """Equal steps of time, oldest first; a step of which nothing is known has zeros and nulls."""

    begin_s: float  # UTC, seconds since 1970
    step_s: float
    lowest: list[float | None]
    mean: list[float | None]
    highest: list[float | None]
    scored: list[int]  # windows
    unfit: list[int]
    lost: list[int]
    above: list[int]


class Trace(msgspec.Struct, frozen=True):
    """The last minutes: the highest score of each step."""

    end_s: float  # UTC, seconds since 1970
    step_s: float
    scores: list[float | None]  # null: no window there that had a score


def live(visitor: Visitor, listened: Listened, beat: Beat | None, until_s: float) -> Trace:
    """The last minutes of a machine."""
    step_s = max(LIVE_STEP_S, 2.0 * listened.hop_s)
    end_s = math.ceil(until_s / step_s) * step_s
    count = round(LIVE_S / step_s)
    highest: list[float | None] = [None] * count
    for at_s, score in _windows(visitor, listened, beat, end_s - count * step_s, end_s):
        step = min(math.floor((at_s - end_s) / step_s) + count, count - 1)
        if score is not None and 0 <= step < count:
            highest[step] = max(score, before) if (before := highest[step]) is not None else score
    if highest[-1] is None and highest[-2] is not None:  # it has only begun
        highest, end_s = highest[:-1], end_s - step_s
    return Trace(end_s, step_s, [_short(score) for score in highest])


def over(visitor: Visitor, listened: Listened, beat: Beat | None, span: str, until_s: float | None = None) -> Steps:
    """A machine's scores over one of SPANS."""
    if span not in SPANS:
        raise Refused(404, f"span {span[:20]!r}: wanted {', '.join(SPANS)}")
    seconds, step_s = SPANS[span]
    step_s = max(step_s, listened.hop_s)
    now_s = time.time() if until_s is None else until_s
    end_s = math.ceil(now_s / step_s) * step_s
    count = round(seconds / step_s)
    begin_s = end_s - count * step_s
    if span == "1h":
        spells = list(_fine(visitor, listened, beat, begin_s, end_s, step_s))
    else:
        spells = visitor.thinned(listened.machine, begin_s, end_s, step_s)
        spells += _unwritten(listened.machine, beat, visitor.scores(listened.machine, now_s - WRITTEN_S, end_s))
    return _steps(spells, begin_s, step_s, count)


def _steps(spells: Iterable[Spell], begin_s: float, step_s: float, count: int) -> Steps:
    cells: list[Spell | None] = [None] * count
    for spell in spells:
        step = min(max(math.floor((spell.begin_s - begin_s) / step_s), 0), count - 1)
        before = cells[step]
        cells[step] = spell if before is None else _both(before, spell)
    return Steps(
        begin_s,
        step_s,
        [_short(cell.lowest) if cell else None for cell in cells],
        [_short(cell.mean) if cell else None for cell in cells],
        [_short(cell.highest) if cell else None for cell in cells],
        *([getattr(cell, name) if cell else 0 for cell in cells] for name in ("scored", "unfit", "lost", "above")),
    )


def _both(one: Spell, other: Spell) -> Spell:
    from edge_runtime.journal.spells import merged

    return merged([one, other], one.begin_s, one.span_s)


def _fine(
    visitor: Visitor, listened: Listened, beat: Beat | None, begin_s: float, end_s: float, step_s: float
) -> Iterator[Spell]:
    """Window by window; what of a minute was lost lies where its windows are not."""
    machine = listened.machine
    for spell, placed in _minutes(visitor, listened, beat, begin_s, end_s):
        for at_s, score in placed:
            if begin_s <= at_s <= end_s:
                above = int(score is not None and score > listened.threshold)
                one = (1, 0, 0, above, score, score, score) if score is not None else (0, 1, 0, 0)
                yield Spell(machine, at_s, 0.0, *one)
        steps = [spell.begin_s + first * step_s for first in range(max(1, round(spell.span_s / step_s)))]
        taken = {math.floor((at_s - spell.begin_s) / step_s) for at_s, _ in placed}
        free = [begin for number, begin in enumerate(steps) if number not in taken] or steps[-1:]
        if spell.lost and begin_s <= free[0]:
            for number, at_s in enumerate(free):
                share = spell.lost // len(free) + (number < spell.lost % len(free))
                yield Spell(machine, at_s, 0.0, 0, 0, share)


def _windows(visitor: Visitor, listened: Listened, beat: Beat | None, begin_s: float, end_s: float) -> Iterator[Placed]:
    for _, placed in _minutes(visitor, listened, beat, begin_s, end_s):
        yield from placed


def _minutes(
    visitor: Visitor, listened: Listened, beat: Beat | None, begin_s: float, end_s: float
) -> Iterator[tuple[Spell, list[Placed]]]:
    spells = visitor.scores(listened.machine, begin_s - 60.0, end_s)
    recent = _unwritten(listened.machine, beat, spells)
    last_s = next((one.valid_s for one in beat.machines if one.machine == listened.machine), None) if beat else None
    before_s = float("-inf")
    for spell in [*spells, *recent]:
        yield spell, placed(spell, listened.hop_s, spell.begin_s - before_s <= spell.span_s, last_s)
        before_s = spell.begin_s


def placed(spell: Spell, hop_s: float, goes_on: bool, last_s: float | None) -> list[Placed]:
    """When each window of a minute ended. `goes_on`: there is a minute before it; `last_s`: of the very last window.

    Only their order is kept. A minute that others come before begins full; the first one ends full; where sound was
    lost in the middle of a minute it is off by as much.
    """
    count = len(spell.scores)
    end_s = spell.begin_s + spell.span_s
    if last_s is not None and spell.begin_s <= last_s < end_s:
        first_s = max(spell.begin_s, last_s - (count - 1) * hop_s)
    else:
        first_s = spell.begin_s if goes_on else max(spell.begin_s, end_s - count * hop_s)
    return [(min(first_s + number * hop_s, end_s - 1e-3), score) for number, score in enumerate(spell.scores)]


def _unwritten(machine: str, beat: Beat | None, written: Sequence[Spell]) -> list[Spell]:
    """What is in memory alone: the minute that is not over, and those before it that no disk has yet."""
    known = {(spell.begin_s, spell.scored, spell.unfit, spell.mean) for spell in written}
    recent = [spell for spell in beat.recent if spell.machine == machine] if beat else []
    return [spell for spell in recent if (spell.begin_s, spell.scored, spell.unfit, spell.mean) not in known]


def _short(score: float | None) -> float | None:
    """Four digits: more cannot be seen, and each is sent."""
    return None if score is None else float(f"{score:.4g}")


def alarms(times: Sequence[tuple[float, bool]], begin_s: float) -> list[tuple[float, float | None]]:
    """Raises (true) and returns in order -> stretches from when to when; null: it goes on."""
    found: list[tuple[float, float | None]] = []
    since: float | None = None
    for at_s, raised in times:
        if raised and since is None:
            since = at_s
        elif not raised:
            found.append((begin_s if since is None else since, at_s))
            since = None
    return [*found, (since, None)] if since is not None else found
