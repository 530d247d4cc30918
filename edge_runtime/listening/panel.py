"""The alarms of every machine: conditions raise, people act, time passes, and all of it is in the journal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, get_args

from edge_runtime.alarm import Alarm, AlarmSettings, Change, Kind, Level, Status
from edge_runtime.alarm.words import Kept
from edge_runtime.journal import Moment, Request

if TYPE_CHECKING:
    from edge_runtime.journal import Journal

KINDS: tuple[Kind, ...] = get_args(Kind)


class Panel:
    """Every change is written before it is returned, and returned once. Without a journal nothing outlives it."""

    def __init__(self, machines: Mapping[str, AlarmSettings], journal: Journal | None, moment: Moment) -> None:
        self._journal = journal
        self._alarms = {(name, kind): Alarm(name, kind, one) for name, one in machines.items() for kind in KINDS}
        for kept in journal.states() if journal else []:
            alarm = self._alarms.get((kept.machine, kept.kind))
            if alarm is not None:
                alarm.restore(kept, moment.now_s, moment.utc_s)

    @property
    def statuses(self) -> list[Status]:
        """Of every alarm, machine by machine."""
        return [alarm.status for alarm in self._alarms.values()]

    def status(self, machine: str, kind: Kind = "anomaly") -> Status:
        """Of one alarm; its level is what a `Condition` begins with after a restart."""
        return self._alarms[machine, kind].status

    def kept(self, now_s: float) -> list[Kept]:
        """Every alarm as it would be restored; of a shelf: what is left."""
        return [alarm.kept(now_s) for alarm in self._alarms.values()]

    def raised(
        self,
        machine: str,
        kind: Kind,
        level: Level,
        moment: Moment,
        score: float | None = None,
        reason: str = "",
        why: str = "",
    ) -> Change | None:
        """The level of a condition now; None where that is nothing new. `reason`: how the window deviates."""
        alarm = self._alarms[machine, kind]
        change = alarm.raised(level, why)
        return change and self._written(alarm, change, moment, score, reason)

    def pass_time(self, moment: Moment) -> list[Change]:
        """Shelves that are over, then what people have asked. Each turn of the loop."""
        told = [
            self._written(alarm, change, moment)
            for alarm in self._alarms.values()
            if (change := alarm.tick(moment.now_s)) is not None
        ]
        if self._journal is None:
            return told
        for request in self._journal.requests():
            if (change := self._serve(request, moment, self._journal)) is not None:
                told.append(change)
        return told

    def _serve(self, request: Request, moment: Moment, journal: Journal) -> Change | None:
        alarm = self._alarms.get((request.machine, request.kind))
        if alarm is None:
            names = ", ".join(dict.fromkeys(machine for machine, _ in self._alarms))
            journal.answer(request, f"no machine {request.machine} is listened to; there is {names}", True)
            return None
        change = alarm.apply(request.action, request.who, request.why, moment.now_s, moment.utc_s, request.seconds)
        if isinstance(change, str):
            journal.answer(request, change, True)
            return None
        self._written(alarm, change, moment)
        journal.answer(request, in_words(change), False)
        return change

    def _written(
        self, alarm: Alarm, change: Change, moment: Moment, score: float | None = None, reason: str = ""
    ) -> Change:
        if self._journal is not None:
            self._journal.record(alarm.kept(moment.now_s), change, moment, score, reason)
        return change


def in_words(change: Change) -> str:
    """A change as one line for people."""
    states = [state.replace("_", " ") for state in (change.before, change.state)]
    done = f"{change.cause}: " if change.before == change.state else ""
    return f"{change.machine}, {change.kind}: {done}{' -> '.join(dict.fromkeys(states))}"
