"""What an output was not told of: whoever is killed between journal and queue leaves a change in the journal alone.

At the start every alarm, as it was when the last message was safe, is compared with what the journal says.
"""

from collections.abc import Iterable, Iterator

from edge_runtime.alarm import ITSELF, Change, State, Status
from edge_runtime.alarm.words import ACTIVE, HIDDEN, RANK
from edge_runtime.outputs import Told
from edge_runtime.outputs.settings import Cause

WHY = "found so after a restart"
CAUSES: dict[State, Cause] = {  # what leads to a state, as a rule
    "normal": "return",
    "unacknowledged": "raise",
    "acknowledged": "acknowledge",
    "returned_unacknowledged": "return",
    "latched_unacknowledged": "return",
    "latched_acknowledged": "acknowledge",
    "shelved": "shelve",
    "out_of_service": "out_of_service",
}


def missed(seen: Iterable[Status], now: Iterable[Status], time: str) -> Iterator[Told]:
    """A change for every alarm that is not as it was seen last; `time`: UTC, as nobody knows when it was."""
    before = {(status.machine, status.kind): status for status in seen}
    for status in now:
        normal = Status(status.machine, status.kind, "normal", "normal", silenced=False)
        was = before.get((status.machine, status.kind), normal)
        state, level = was.state, was.level
        if status.state == state and (status.level == level or state in HIDDEN):
            continue
        cause = CAUSES[status.state]
        if state in ACTIVE and status.state == state:
            cause = "escalate" if RANK[status.level] > RANK[level] else "ease"
        change = Change(status.machine, status.kind, state, status.state, status.level, cause, ITSELF, WHY)
        yield Told(change, 0.0, time)
