"""A capturing child process as its parent sees it: started, read without waiting, killed."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from edge_runtime.capture import wire

COMMAND = (sys.executable, "-m", "edge_runtime.capture.child")
PIPE_BYTES = 1 << 20  # of the kernel, between child and listener: 16 s of one channel at 16 kHz, 5 s at 48 kHz
READ_BYTES = 1 << 16  # at once
HOME = str(Path(__file__).resolve().parents[2])  # where the child finds this package


class Child:
    """One attempt at capturing a microphone."""

    def __init__(self, wanted: wire.Wanted, command: Sequence[str] | None) -> None:
        """OSError where no process can be started."""
        path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), HOME]))
        self._process = subprocess.Popen(
            [*(command or COMMAND), msgspec.json.encode(wanted).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # ALSA and PortAudio print there whatever they please
            env={**os.environ, "PYTHONPATH": path},
            bufsize=0,
        )
        assert self._process.stdout is not None
        self._out = self._process.stdout
        self._reader = wire.Reader()
        os.set_blocking(self._out.fileno(), False)
        _enlarge(self._out.fileno())

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def fileno(self) -> int:
        """To wait on."""
        return self._out.fileno()

    def messages(self) -> Iterator[wire.Message]:
        """What has come, a pipe full at most; the last is `Failed` where nothing more will come."""
        for _ in range(PIPE_BYTES // READ_BYTES):
            try:
                data = os.read(self.fileno(), READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                yield wire.Failed(f"the capturing process has ended ({self._how()})")
                return
            try:
                yield from self._reader.feed(data)
            except (ValueError, msgspec.DecodeError) as error:
                yield wire.Failed(f"the capturing process said what cannot be understood ({error})")
                return

    def kill(self) -> None:
        """At once; a process that hangs inside PortAudio goes too. `gone` tells when it has."""
        with suppress(OSError):
            self._process.kill()
        for pipe in (self._process.stdin, self._out):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def gone(self, within_s: float = 0.0) -> bool:
        """Whether the process is no more; one that hangs inside a driver stays until the driver lets go."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(within_s)
        return self._process.returncode is not None

    def _how(self) -> str:
        if not self.gone(0.02):  # its end of the pipe closes a moment before it is gone
            return "no exit code yet"
        code = self._process.returncode
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def _enlarge(pipe: int) -> None:
    """What the kernel allows; where it refuses, the child's own queue has to do."""
    with suppress(OSError, AttributeError):  # Linux alone has it
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
