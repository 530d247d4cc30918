"""Runs a command of the user's at the changes of an alarm that it asks for.

The command is split into words once and run without a shell. It gets the change as JSON on stdin, and in its
environment AUSCULT_EVENT ("alarm", or "normal" when it is over), AUSCULT_MACHINE, AUSCULT_SCORE ("" where there is
none), AUSCULT_STATE, AUSCULT_LEVEL, AUSCULT_KIND and AUSCULT_REASON. Where it fails,
the last line that it printed is told.
"""

import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

import msgspec

from edge_runtime.alarm import Status
from edge_runtime.alarm.words import HIDDEN
from edge_runtime.errors import ConfigError
from edge_runtime.outputs import Told
from edge_runtime.outputs.asked import Asked
from edge_runtime.outputs.settings import CommandSettings
from edge_runtime.outputs.worker import OutputError, Worker

KILL_S = 0.3  # seconds that are kept for killing what does not end
SAID_BYTES, SAID_CHARACTERS = 65_536, 200  # of what it prints: the end, of which the last line is told where it fails
POLL_S = 0.02  # seconds between looks at one that runs


class Command:
    """One change after another."""

    def __init__(self, name: str, settings: CommandSettings) -> None:
        self.name, self._settings = name, settings
        self._argv = split(name, settings.command)
        self._running: subprocess.Popen[bytes] | None = None
        self._closing = threading.Event()
        self._worker: Worker[Told] = Worker(name, self._run, states=False, hang_s=settings.timeout_s + 1.0)
        self._asked = Asked(settings)

    def update(self, changes: Sequence[Told], now: Sequence[Status]) -> None:
        """Queue the changes that it asks for."""
        for told in changes:
            if self._asked.for_it(told):
                self._worker.put(told)
        self._asked.see(now)

    def feed(self, judged: bool) -> None:
        """Nothing to do."""

    def failures(self) -> Iterator[str]:
        """What went wrong since last asked."""
        yield from self._worker.failures()

    def close(self, within_s: float) -> None:
        """Let what was told finish, then kill what still runs."""
        if self._worker.stop(within_s - KILL_S, finish=True):
            return
        self._worker.say("has not finished; it is stopped")
        self._closing.set()
        if self._running is not None:
            _kill(self._running)
        self._worker.stop(KILL_S, finish=False)

    def _run(self, told: Told) -> None:
        """Run it to its end; an OutputError says what went wrong."""
        if self._closing.is_set():
            return
        try:
            process = self._running = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                env={**os.environ, **environment(told)},
                start_new_session=True,  # Ctrl-C is for the listener, and all that it starts can be killed at once
            )
        except OSError as error:
            raise OutputError(f"{self._argv[0]}: {error.strerror or error}") from None
        try:
            if self._closing.is_set():  # since it was asked above
                _kill(process)
            said = _converse(process, msgspec.json.encode(told) + b"\n", self._settings.timeout_s)
        except subprocess.TimeoutExpired:
            _kill(process)
            raise OutputError(f"{self._argv[0]}: killed after {self._settings.timeout_s:g} s") from None
        finally:
            self._running = None
        if process.returncode and not self._closing.is_set():
            raise OutputError(f"{self._argv[0]}: exit code {process.returncode}{said and f': {said}'}")


def stands(told: Told) -> bool:
    """Whether the cause of an alarm is there after the change."""
    change = told.change
    return change.level != "normal" and change.state not in HIDDEN


def environment(told: Told) -> dict[str, str]:
    """What a command sees of a change."""
    change = told.change
    return {
        "AUSCULT_EVENT": "alarm" if stands(told) else "normal",
        "AUSCULT_MACHINE": change.machine,
        "AUSCULT_SCORE": "" if told.score is None else repr(told.score),
        "AUSCULT_STATE": change.state,
        "AUSCULT_LEVEL": change.level,
        "AUSCULT_KIND": change.kind,
        "AUSCULT_REASON": told.reason.replace("\0", ""),
    }


def split(name: str, words: str) -> list[str]:
    """A command as its words; it must be there."""
    try:
        argv = shlex.split(words)
    except ValueError as error:
        raise ConfigError(f"output {name}: command {words}: {error}; check the quotes") from None
    if not argv or shutil.which(argv[0]) is None:
        raise ConfigError(f"output {name}: command {words!r}: no such program; give its path")
    return argv


def _converse(process: "subprocess.Popen[bytes]", message: bytes, within_s: float) -> str:
    """Give it the message and wait for its end -> the last line that it said; TimeoutExpired where it does not end."""
    assert process.stdin is not None and process.stdout is not None
    with process.stdin, process.stdout:
        with suppress(OSError):  # it need not read
            process.stdin.write(message)
        process.stdin.close()
        os.set_blocking(process.stdout.fileno(), False)
        said, deadline = b"", time.monotonic() + within_s
        while process.poll() is None:
            if time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(process.args, within_s)
            data = process.stdout.read(SAID_BYTES)  # all is taken, or it would wait; little of it is kept
            said = (said + (data or b""))[-SAID_BYTES:]
            if not data:
                time.sleep(POLL_S)
        said = (said + (process.stdout.read(SAID_BYTES) or b""))[-SAID_BYTES:]
    lines = said.decode(errors="replace").splitlines()
    return next((line.strip()[:SAID_CHARACTERS] for line in reversed(lines) if line.strip()), "")


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """End a command and everything in its session, without waiting for what hangs in the kernel."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(KILL_S / 2.0)
