"""The thread of an output: what it does may hang or fail, and neither delays who told it.

An output is either told states, of which the newest alone matters, or events, each of which is done once. What fails is
said once, and again when it works.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
WAITING = 16  # events that wait for a slow output; then the newest is dropped, and said so
REPORTS = 16  # lines kept until somebody asks for them
PAUSES_S = (0.5, 1.0, 2.0, 5.0)  # seconds after the first failure, the second, ... before the next state is tried
HANG_S = 5.0  # seconds that a state may take, then it is said


class OutputError(Exception):
    """An output could not do what it was told; the message is one line."""


class Worker(Generic[T]):
    """Does one thing after another."""

    def __init__(
        self, name: str, do: Callable[[T], None], states: bool, hang_s: float = HANG_S, again: str = "works again"
    ) -> None:
        """`do` raises an OutputError; `states`: the newest replaces what waits, or else it waits its turn."""
        self._do, self._states, self._hang_s, self._again = do, states, hang_s, again
        self._waiting: deque[T] = deque()
        self._reports: deque[str] = deque(maxlen=REPORTS)
        self._wake = threading.Condition()
        self._began: float | None = None  # monotonic seconds, while it does something
        self._trouble = ""  # what was said last and is not over
        self._failures = 0  # in a row
        self._full = self._hangs = self._stop = False
        self._thread = threading.Thread(target=self._work, name=f"output {name}", daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        """To be done; returns at once."""
        with self._wake:
            if self._states:
                self._waiting.clear()
            elif len(self._waiting) >= WAITING:
                if not self._full:
                    self._say(f"still busy with {WAITING} earlier events; newer ones are not sent to it")
                self._full = True
                return
            self._waiting.append(item)
            self._wake.notify()

    def failures(self) -> Iterator[str]:
        """What is to be said since this was last asked."""
        with self._wake:
            began = self._began
            if began is not None and time.monotonic() - began > self._hang_s and not self._hangs:
                self._hangs = True
                self._say(f"hangs since {self._hang_s:g} s; listening goes on")
            reports = list(self._reports)
            self._reports.clear()
        yield from reports

    def say(self, words: str) -> None:
        """A line for whoever asks next."""
        with self._wake:
            self._say(words)

    def stop(self, within_s: float, finish: bool) -> bool:
        """Take no more; events that wait are done first where `finish`. Whether the thread has ended in time."""
        with self._wake:
            self._stop = True
            if not finish:
                self._waiting.clear()
            self._wake.notify()
        self._thread.join(max(0.0, within_s))
        return not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._stop:
                    self._wake.wait()
                if not self._waiting:
                    return
                item = self._waiting.popleft()
                self._began = time.monotonic()
            try:
                self._do(item)
                trouble = ""
            except OutputError as failure:
                trouble = str(failure)
            except Exception as error:  # whatever it is, the thread of an output must not end
                trouble = f"{type(error).__name__}: {error}"
            self._done(trouble)

    def _done(self, trouble: str) -> None:
        """Say what is new, and wait a little after a failure of a state."""
        with self._wake:
            self._began = None
            if trouble and trouble != self._trouble:
                self._say(trouble)
            elif not trouble and (self._trouble or self._hangs):
                self._say(self._again)
            if self._full and not self._waiting:
                self._full = False
            self._hangs, self._trouble = False, trouble
            self._failures = self._failures + 1 if trouble else 0
            if trouble and self._states:
                pause = PAUSES_S[min(self._failures, len(PAUSES_S)) - 1]
                self._wake.wait_for(lambda: self._stop, pause)

    def _say(self, words: str) -> None:
        self._reports.append(words)
