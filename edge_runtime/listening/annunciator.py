"""Who is told of which alarm: every output hears of its own machines, whatever happens to the others."""

import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from edge_runtime.alarm import Status
from edge_runtime.outputs import Output, Told


class Annunciator:
    """All outputs of a site. Nothing here waits or raises."""

    def __init__(self, outputs: Mapping[str, Output] = {}, machines: Mapping[str, Sequence[str]] = {}) -> None:
        """Outputs by name; for each of them the machines that it is for."""
        self._lines = [_Line(output, frozenset(machines[name])) for name, output in outputs.items()]

    def update(self, told: Sequence[Told], now: Sequence[Status]) -> None:
        """What has changed, and how all alarms stand."""
        for line in self._lines:
            own = [one for one in told if one.change.machine in line.machines]
            if own or not told:
                line.output.update(own, [status for status in now if status.machine in line.machines])

    def feed(self, judged: Collection[str]) -> None:
        """The loop lives, and those machines were judged, or are known not to be listened to."""
        for line in self._lines:
            line.output.feed(line.machines <= set(judged))

    def failures(self) -> Iterator[tuple[str, str]]:
        """(output, what failed) since this was last asked."""
        for line in self._lines:
            for failure in line.output.failures():
                yield line.output.name, failure

    def close(self, within_s: float) -> None:
        """End all within that time, side by side: one that hangs takes nothing of the others'."""
        ends = [threading.Thread(target=line.output.close, args=(within_s,), daemon=True) for line in self._lines]
        for end in ends:
            end.start()
        deadline = time.monotonic() + within_s
        for end in ends:
            end.join(max(0.0, deadline - time.monotonic()))


class _Line(NamedTuple):
    output: Output
    machines: frozenset[str]
