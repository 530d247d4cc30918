"""Which changes an output asks for, by level, kind and cause, whatever a shelf or a restart hides of them."""

from collections.abc import Iterable

from edge_runtime.alarm import Kind, Status
from edge_runtime.alarm.words import HIDDEN
from edge_runtime.outputs import Told
from edge_runtime.outputs.settings import CommandSettings, WebhookSettings

HIDES = ("shelve", "out_of_service")  # causes that hide an alarm, whatever it is then
RESUMES = ("expire", "unshelve", "in_service")  # causes that may show one that was hidden


class Asked:
    """Remembers the alarms that the output was told of, and not yet the end of."""

    def __init__(self, settings: CommandSettings | WebhookSettings) -> None:
        self._settings = settings
        self._open: set[tuple[str, Kind]] = set()
        self._first = True

    def see(self, now: Iterable[Status]) -> None:
        """Every alarm as it is; the first time, those of before a restart are taken as told of."""
        for status in now if self._first else ():
            over = status.level == "normal"  # how high it was, a restart has made us forget
            if status.state not in ("normal", *HIDDEN) and (over or self._settings.meant(status.kind, status.level)):
                self._open.add((status.machine, status.kind))
        self._first = False

    def for_it(self, told: Told) -> bool:
        """Whether it asks for that; what ends or changes an alarm that it was told of is, whatever its level then."""
        change = told.change
        alarm, cause = (change.machine, change.kind), change.cause
        if change.kind not in self._settings.kinds:
            return False
        if change.state not in HIDDEN and self._settings.meant(change.kind, change.level):
            if cause in RESUMES and alarm not in self._open:
                cause = "raise"
            self._open.add(alarm)
        elif cause in ("raise", "escalate"):
            return False
        known = alarm in self._open or cause in (*HIDES, *RESUMES)
        if change.state == "normal" or (change.state in HIDDEN and change.level == "normal"):
            self._open.discard(alarm)
        return known and (cause in self._settings.on or change.cause in self._settings.on)
