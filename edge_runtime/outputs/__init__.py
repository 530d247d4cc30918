"""Where an alarm goes. An output never delays the scoring and never raises: what fails is said on stderr."""

from typing import Protocol

from edge_runtime.events import Alarm, Normal


class Output(Protocol):
    """Told of every change of state."""

    def send(self, event: Alarm | Normal) -> None:
        """Pass it on, later and elsewhere; returns at once."""
        ...

    def close(self) -> None:
        """Finish what was sent, within a bounded time."""
        ...
