"""How every alarm stands: from the journal, and from memory where a full disk keeps the journal behind."""

from typing import get_args

import msgspec

from edge_runtime import utc
from edge_runtime.alarm.states import TABLE
from edge_runtime.alarm.words import Kept, Kind, Level
from edge_runtime.journal.rows import Heard, Sign
from edge_runtime.journal.visitor import Visitor

BACK = 100  # changes of a machine that are looked through for the last one of an alarm
BEHIND_S = 2.0  # seconds that what is in memory may be older than a change in the journal


def standing(visitor: Visitor, sign: Sign) -> list[Kept]:
    """Every alarm of what is listened to; of machines that no longer are the states stay in the journal alone."""
    beat = sign.beat
    here = {one.machine for one in beat.machines} if beat else set()
    here |= {one.machine for one in visitor.machines()}
    found = {(one.machine, one.kind): one for one in visitor.states() if one.machine in here or not here}
    if sign.fresh and beat is not None:
        since_s = utc.seconds(beat.time) - BEHIND_S
        for heard in beat.machines:
            for kind in get_args(Kind):
                written = found.get((heard.machine, kind), Kept(heard.machine, kind))
                found[heard.machine, kind] = _now(visitor, written, heard, since_s)
    return [found[one] for one in sorted(found)]


def _now(visitor: Visitor, written: Kept, heard: Heard, since_s: float) -> Kept:
    now = _anomaly(written, heard) if written.kind == "anomaly" else _not_listening(written, heard)
    if now is written:
        return written
    last = [entry for entry in visitor.history(BACK, written.machine) if entry.kind == written.kind][-1:]
    changed_since = bool(last) and utc.seconds(last[0].time) > since_s
    return written if changed_since else now


def _anomaly(written: Kept, heard: Heard) -> Kept:
    """Memory does not say how long an alarm is shelved: of a shelf that is not written nothing is told."""
    if (written.state, written.level) == (heard.state, heard.level) or heard.state == "shelved":
        return written
    silenced = written.silenced and heard.state != "normal"
    latched = written.latched or heard.state.startswith("latched")
    return Kept(written.machine, written.kind, heard.state, heard.level, silenced, latched)


def _not_listening(written: Kept, heard: Heard) -> Kept:
    """Before its first score it is not heard yet, and whether that is an alarm the journal alone says."""
    known = heard.listening or heard.scored > 0
    level: Level = "normal" if heard.listening else "alarm"
    if not known or (written.level == "normal") == heard.listening:
        return written
    state = TABLE[written.state, "return" if heard.listening else "raise"]
    return msgspec.structs.replace(written, state=state, level=level)
