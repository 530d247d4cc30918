"""Listens with onnxruntime at once, with the engine from when it is ready, and with onnxruntime again when it fails.

No window waits for an engine and none is lost to one: what the engine raises at, or makes no numbers of, the CPU scores
in its place. Engines are opened and built in a thread beside the listening; the change-over is between two windows.
"""

import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

import msgspec
import numpy as np

from edge_runtime.backends import Arrays, Backend
from edge_runtime.errors import AuscultError, BackendError, MissingError, first_line

TRIES = 3  # engines that failed, to be opened, built or run, before the CPU listens for good
PAUSE_S = 10.0  # before the next try; twice that before the one after it
LONG = 1000  # windows without a failure, after which earlier failures no longer count
CPU, ENGINE = "onnxruntime", "tensorrt"


class Change(msgspec.Struct, frozen=True):
    """Who listens from here on, and why."""

    name: str
    reason: str


class Engines(Protocol):
    """Where engines come from: `edge_runtime.engine.ready`, or what a test brings."""

    def open(self, stop: threading.Event) -> Backend:
        """An engine that decides as the bundle does, built if need be; an AuscultError says why there is none."""
        ...

    def discard(self, backend: Backend) -> None:
        """This one failed while listening: the next must be another."""
        ...


class Standby:
    """Two backends as one."""

    def __init__(self, cpu: Backend, engines: Engines, tries: int = TRIES, pause_s: float = PAUSE_S) -> None:
        self._cpu, self._engines, self._tries, self._pause_s = cpu, engines, tries, pause_s
        self._engine: Backend | None = None  # what listens, where it is not the CPU
        self._ready: queue.SimpleQueue[Backend | Change] = queue.SimpleQueue()  # from the thread
        self._changes: list[Change] = [Change(CPU, "no engine is ready yet")]
        self._stop = threading.Event()
        self._failures = 0  # since an engine last listened for long
        self._good = 0  # windows of the engine that listens
        self._thread = self._prepare(0.0)

    def run(self, inputs: Arrays) -> Arrays:
        """Inputs by name -> outputs by name; by whoever listens now."""
        self._change_over()
        if self._engine is not None:
            try:
                outputs = finite(self._engine.run(inputs))
            except Exception as error:  # whatever it is, the window is not lost to it
                self._drop(self._engine, why(error))
            else:
                self._good += 1
                return outputs
        return self._cpu.run(inputs)

    @property
    def seconds(self) -> dict[str, float]:
        """The parts of the last run, where an engine made it."""
        return {} if self._engine is None else getattr(self._engine, "seconds", {})

    def changes(self) -> Iterator[Change]:
        """Who took over since this was last asked."""
        changes, self._changes = self._changes, []
        yield from changes

    def close(self) -> None:
        """End a build that is under way, then close both."""
        self._stop.set()
        self._thread.join()
        self._change_over()
        for backend in (self._engine, self._cpu):
            if backend is not None:
                backend.close()
        self._engine = None

    def _change_over(self) -> None:
        """Take what the thread has made, if it has made anything."""
        while not self._ready.empty():
            found = self._ready.get()
            if isinstance(found, Change):
                self._changes.append(found)
            else:
                self._engine, self._good = found, 0
                self._changes.append(Change(ENGINE, "its engine is ready and decides the golden clip as recorded"))

    def _drop(self, engine: Backend, reason: str) -> None:
        """The engine has failed: the CPU takes over for this very window, and another engine is tried."""
        self._engine = None
        with suppress(Exception):
            engine.close()
        self._failures = 1 if self._good >= LONG else self._failures + 1
        self._changes.append(Change(CPU, self._with_outlook(f"the engine failed: {reason}")))
        if self._failures < self._tries:
            self._thread = self._prepare(self._pause(), engine)

    def _prepare(self, pause_s: float, failed: Backend | None = None) -> threading.Thread:
        thread = threading.Thread(target=self._find, args=(pause_s, failed), name="engine", daemon=True)
        thread.start()
        return thread

    def _find(self, pause_s: float, failed: Backend | None) -> None:
        """The thread: try until there is an engine, or until enough has failed."""
        if failed is not None:
            with suppress(Exception):  # whatever it is, the next is tried
                self._engines.discard(failed)
        while not self._stop.wait(pause_s):
            try:
                self._ready.put(self._engines.open(self._stop))
                return
            except Exception as error:
                self._failures = self._tries if isinstance(error, MissingError) else self._failures + 1
                if not self._stop.is_set():
                    self._ready.put(Change(CPU, self._with_outlook(f"no engine: {why(error)}")))
            if self._failures >= self._tries:
                return
            pause_s = self._pause()

    def _pause(self) -> float:
        return self._pause_s * float(2 ** (self._failures - 1))

    def _with_outlook(self, reason: str) -> str:
        left = self._tries - self._failures
        return f"{reason}; {f'tried again, {left} times at most' if left > 0 else 'it is not tried again'}"


def why(error: Exception) -> str:
    """An error of ours in its words, any other with its name: that is a bug, but no reason not to listen."""
    return str(error) if isinstance(error, AuscultError) else f"{type(error).__name__}: {first_line(error)}"


def finite(outputs: Arrays) -> Arrays:
    """The same outputs; a BackendError where one is no number."""
    for name, array in outputs.items():
        if not np.isfinite(array).all():
            raise BackendError(f"output {name} is not finite")
    return outputs
