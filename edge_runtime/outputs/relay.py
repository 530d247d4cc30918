"""A relay on a line of a GPIO chip, energised while all is well: what fails looks like an alarm.

It drops on an alarm, on NOT LISTENING, while nothing is known yet, after an orderly end, when power fails, when the
listener dies (kill -9 too) and when its loop hangs for deadman_s.

The line is held by a process of its own (`keeper.py`), because the kernel does not drop it for us: it frees the line
of a dead process, and what the line is then depends on the board. Raspberry Pi's kernels leave the output as it was
(raspberrypi/linux#6117; `dtparam=strict_gpiod` makes it an input), and the same is told of Jetsons with JetPack 6.2.1.
A line that becomes an input falls only where something pulls it down: wire the driver of the relay with a pull-down (a
pull-up with active_low), for the time before start-up too. What is left: both processes killed at once by SIGKILL.
"""

import time
from collections.abc import Iterator, Sequence

from edge_runtime.alarm import Status
from edge_runtime.outputs import Told
from edge_runtime.outputs.child import Child, end
from edge_runtime.outputs.settings import RelaySettings
from edge_runtime.outputs.standing import Standing
from edge_runtime.outputs.worker import Worker

KEEPER = "edge_runtime.outputs.keeper"
PATIENCE_S = 3.0  # seconds to an answer of the keeper; its start takes part of that
FEED_S = 1.0  # seconds between signs of life at most; a fifth of deadman_s where that is less


class Relay:
    """Energised while every alarm that it is told of is well."""

    def __init__(self, name: str, settings: RelaySettings) -> None:
        self.name, self._settings, self._standing = name, settings, Standing(settings)
        low = "1" if settings.active_low else "0"
        words = [settings.chip, str(settings.line), low, repr(settings.deadman_s)]
        self._child = Child(KEEPER, words, PATIENCE_S)
        self._worker: Worker[tuple[bool, float]] = Worker(name, self._do, states=True)
        self._well, self._judged, self._fed = False, False, 0.0
        self._pass_on()

    def update(self, changes: Sequence[Told], now: Sequence[Status]) -> None:
        """The state of every alarm; without any, nothing is known to be well."""
        self._standing.see(now)
        well = bool(now) and not any(self._standing.stands(status) for status in now)
        if well != self._well:
            self._well = well
            self._pass_on()

    def feed(self, judged: bool) -> None:
        """A sign of life, passed on now and then; energised not before every machine was judged.

        A listener that dies again and again must not look well in between.
        """
        first, self._judged = judged and not self._judged, judged or self._judged
        if first or time.monotonic() - self._fed >= min(FEED_S, self._settings.deadman_s / 5.0):
            self._pass_on()

    def failures(self) -> Iterator[str]:
        """What went wrong since last asked."""
        yield from self._worker.failures()

    def close(self, within_s: float) -> None:
        """De-energised: nobody listens any more."""
        end(self._worker, self._child, within_s)

    def _pass_on(self) -> None:
        self._fed = time.monotonic()
        self._worker.put((self._well and self._judged, self._fed))

    def _do(self, told: tuple[bool, float]) -> None:
        """What waited for too long is no sign of life."""
        well, at = told
        fresh = time.monotonic() - at < self._settings.deadman_s
        self._child.tell("1" if well and fresh else "0")
