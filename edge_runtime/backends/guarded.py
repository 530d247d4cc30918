"""A backend that may fail while it listens: whatever it raises costs the windows it was asked for, and no others.

After `RENEW` failures in a row it is closed and opened anew, at most once in `PAUSE_S`. What is not a number counts as
a failure: it is above no threshold, and would look like health.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from edge_runtime.backends import Arrays, Backend
from edge_runtime.backends.standby import Change, finite, why
from edge_runtime.errors import UnscoredError

RENEW = 3  # failures in a row before it is opened anew
PAUSE_S = 10.0  # between two openings


class Guarded:
    """Around the backend of one bundle."""

    def __init__(self, opened: Callable[[], Backend], clock: Callable[[], float] = time.monotonic) -> None:
        """`opened`: opens it; the first error is the caller's."""
        self._open, self._clock = opened, clock
        self._backend: Backend | None = opened()
        self._failures, self._tried = 0, clock()
        self._changes: list[Change] = []

    def run(self, inputs: Arrays) -> Arrays:
        """Inputs by name -> outputs by name; an UnscoredError says why there are none."""
        try:
            outputs = finite(self._opened().run(inputs))
        except Exception as error:  # whatever it is, the next windows are listened to
            self._failed(why(error))
            raise UnscoredError(why(error)) from error
        if self._failures:
            self._changes.append(Change("network", f"computes again after {self._failures} failures"))
        self._failures = 0
        return outputs

    @property
    def seconds(self) -> dict[str, float]:
        """The parts of the last run, where the backend tells them."""
        return getattr(self._backend, "seconds", {})

    def changes(self) -> Iterator[Change]:
        """What happened since this was last asked."""
        changes, self._changes = self._changes, []
        yield from changes

    def close(self) -> None:
        """Close the backend."""
        if self._backend is not None:
            self._backend.close()

    def _failed(self, reason: str) -> None:
        self._failures += 1
        if self._failures == 1:
            self._changes.append(Change("network", f"fails, windows go without a score: {reason}"))

    def _opened(self) -> Backend:
        due = self._failures >= RENEW and self._clock() - self._tried >= PAUSE_S
        if self._backend is None or due:
            self._renew()
        if self._backend is None:
            raise UnscoredError("the network cannot be opened again")
        return self._backend

    def _renew(self) -> None:
        """Close what fails, then open it again; where that fails too the next try comes later."""
        if self._clock() - self._tried < PAUSE_S:
            return
        self._tried = self._clock()
        if self._backend is not None:
            threading.Thread(target=_close, args=(self._backend,), daemon=True).start()  # it may wait for an engine
            self._backend = None
        self._backend = self._open()


def _close(backend: Backend) -> None:
    with suppress(Exception):  # it failed already
        backend.close()
