"""What the alarms of an output come to: is one standing, does one call for somebody?"""

from collections.abc import Iterable

from edge_runtime.alarm import Kind, Level, State, Status
from edge_runtime.alarm.words import ACTIVE, RANK
from edge_runtime.outputs.settings import Common

LATCHED: tuple[State, ...] = ("latched_unacknowledged", "latched_acknowledged")
CALLING: tuple[State, ...] = ("unacknowledged", "returned_unacknowledged", "latched_unacknowledged")


class Standing:
    """Remembers how high each alarm was: after the return its level is "normal", and it may yet be latched or call."""

    def __init__(self, settings: Common) -> None:
        self._settings = settings
        self._highest: dict[tuple[str, Kind], Level] = {}  # of the alarms that are not normal

    def see(self, now: Iterable[Status]) -> None:
        """Every alarm as it is."""
        for status in now:
            key = (status.machine, status.kind)
            if status.state == "normal":
                self._highest.pop(key, None)
            elif status.state in ACTIVE and RANK[status.level] > RANK[self._highest.get(key, "normal")]:
                self._highest[key] = status.level

    def stands(self, status: Status) -> bool:
        """Whether its cause is there, or was and is latched; no acknowledgement ends that."""
        if status.state in LATCHED:
            return self._settings.meant(status.kind, self._was(status))
        return status.state in ACTIVE and self._settings.meant(status.kind, status.level)

    def calls(self, status: Status) -> bool:
        """Whether nobody has acknowledged or silenced it."""
        wanted = self._settings.meant(status.kind, self._was(status))
        return wanted and status.state in CALLING and not status.silenced

    def _was(self, status: Status) -> Level:
        """Its highest level; "alarm" where a restart has made us forget."""
        return self._highest.get((status.machine, status.kind), "alarm")
