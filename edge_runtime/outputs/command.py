"""Runs a command of the user's when the alarm is raised and when it is over.

The command is split into words once and run without a shell. It gets the event as JSON on stdin, and AUSCULT_EVENT
("alarm" or "normal"), AUSCULT_MACHINE and AUSCULT_SCORE in its environment. What it prints goes to stderr.
"""

import os
import queue
import shlex
import shutil
import signal
import subprocess
import sys
import threading

import msgspec

from edge_runtime.cli import say
from edge_runtime.errors import ConfigError
from edge_runtime.events import Alarm, Normal

TIMEOUT_S = 30.0  # seconds a command may take, then it is killed with everything it started
WAITING = 16  # events that may wait for a slow command; then the newest is dropped, and said so


class Command:
    """One thread runs the command, one event after another."""

    def __init__(self, words: str, machine: str, timeout_s: float = TIMEOUT_S) -> None:
        self._argv = _split(words)
        self._machine, self._timeout_s = machine, timeout_s
        self._events: queue.Queue[Alarm | Normal | None] = queue.Queue(WAITING)
        self._running: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def send(self, event: Alarm | Normal) -> None:
        """Queue the event; returns at once."""
        try:
            self._events.put_nowait(event)
        except queue.Full:
            say(f"warning: --command is still busy with {WAITING} earlier events; this one is not sent to it")

    def close(self) -> None:
        """Let what was sent finish within the time of one command, then kill what still runs."""
        try:
            self._events.put(None, timeout=self._timeout_s)
            self._thread.join(self._timeout_s)
        except queue.Full:
            pass
        if self._thread.is_alive():
            say("warning: --command has not finished; it is stopped")
            if self._running is not None:
                _kill(self._running)

    def _work(self) -> None:
        while (event := self._events.get()) is not None:
            failure = self._run(event)
            if failure:
                say(f"warning: --command {self._argv[0]}: {failure}")

    def _run(self, event: Alarm | Normal) -> str:
        """Run it to its end -> what went wrong, in words, or nothing."""
        try:
            self._running = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE,
                stdout=sys.__stderr__,
                env={**os.environ, **self._environment(event)},
                start_new_session=True,  # Ctrl-C is for the listener, and all that it starts can be killed at once
            )
        except OSError as error:
            return error.strerror or str(error)
        try:
            self._running.communicate(msgspec.json.encode(event) + b"\n", timeout=self._timeout_s)
        except subprocess.TimeoutExpired:
            _kill(self._running)
            return f"killed after {self._timeout_s:g} s"
        code = self._running.returncode
        return f"exit code {code}" if code else ""

    def _environment(self, event: Alarm | Normal) -> dict[str, str]:
        name = type(event).__name__.lower()
        return {"AUSCULT_EVENT": name, "AUSCULT_MACHINE": self._machine, "AUSCULT_SCORE": repr(event.score)}


def _split(words: str) -> list[str]:
    try:
        argv = shlex.split(words)
    except ValueError as error:
        raise ConfigError(f"--command {words}: {error}; check the quotes") from None
    if not argv or shutil.which(argv[0]) is None:
        raise ConfigError(f"--command {words!r}: no such program; give its path")
    return argv


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """End a command and everything in its session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()
