"""A process of ours for what may hang or die: one line on its stdin, one line back.

It answers "ok", or else what is wrong. One that answers nothing in time is killed; the next line starts another.
"""

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from edge_runtime.outputs.worker import OutputError, T, Worker

ROOT = Path(__file__).resolve().parents[2]
START_S = 15.0  # seconds to the first answer: Python starts from an SD card
UNKILLED = 4  # processes that hang inside a driver, and so outlive their killing, before no more are started
CALM = "0"  # what a new one is told first
LONGEST = 4096  # bytes of an answer


class Child:
    """Started when first told something."""

    def __init__(self, module: str, words: list[str], patience_s: float) -> None:
        self._argv = [sys.executable, "-m", module, *words]
        self._patience_s = patience_s
        self._process: subprocess.Popen[bytes] | None = None
        self._hung: list[subprocess.Popen[bytes]] = []  # killed, and not yet gone
        self._well = True  # its last answer was "ok"; where it was not, its end is no news

    def tell(self, line: str) -> None:
        """One line, answered; an OutputError says why not."""
        if self._process is not None and self._process.poll() is not None:
            words = _last_words(self._process) or _end(self._process)
            self.close(0.0)
            if self._well:
                self._well = False
                raise OutputError(words)
        self._well = False
        if self._process is None:
            self._process = self._start()
            self._ask(self._process, CALM, START_S)
        self._ask(self._process, line, self._patience_s)
        self._well = True

    def close(self, within_s: float) -> None:
        """Its stdin ends, SIGTERM asks again, and it is killed where it does not end in time."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None
        with suppress(OSError):
            process.stdin.close()
        process.terminate()  # some other process may have inherited the pipe
        try:
            process.wait(max(0.0, within_s))
        except subprocess.TimeoutExpired:
            _kill(process)
        process.stdout.close()
        if process.poll() is None:
            self._hung.append(process)

    def kill(self) -> None:
        """At once, from any thread: whoever waits for its answer is told that it has ended."""
        process = self._process
        if process is not None:
            _kill(process)

    def _start(self) -> "subprocess.Popen[bytes]":
        self._hung = [process for process in self._hung if process.poll() is None]
        if len(self._hung) >= UNKILLED:
            raise OutputError(
                f"{UNKILLED} of its processes hang in a driver; see dmesg, no more are started until then"
            )
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        try:
            return subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # ALSA and PortAudio are talkative; what matters is in the answer
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for the listener, which then ends it
            )
        except OSError as error:
            raise OutputError(f"its process cannot be started ({error.strerror})") from None

    def _ask(self, process: "subprocess.Popen[bytes]", line: str, patience_s: float) -> None:
        assert process.stdin is not None and process.stdout is not None
        answer, deadline = b"", time.monotonic() + patience_s
        try:
            os.write(process.stdin.fileno(), line.encode() + b"\n")
            while not answer.endswith(b"\n") and len(answer) < LONGEST:
                left = deadline - time.monotonic()
                if left <= 0.0 or not select.select([process.stdout], [], [], left)[0]:
                    self.close(0.0)
                    raise OutputError(f"no answer for {patience_s:g} s; its process is killed and started again")
                part = os.read(process.stdout.fileno(), LONGEST)
                if not part:
                    raise OutputError(_end(process))
                answer += part
        except (BrokenPipeError, ValueError):  # it died, or was closed, before it read
            raise OutputError(_end(process)) from None
        words = answer.decode(errors="replace").strip()
        if words != "ok":
            raise OutputError(words)


def end(worker: Worker[T], child: Child, within_s: float) -> None:
    """The thread, then its process, within that time; what hangs is killed."""
    deadline = time.monotonic() + within_s
    if not worker.stop(within_s / 2.0, finish=False):
        child.kill()
        return
    child.close(deadline - time.monotonic())


def _last_words(process: "subprocess.Popen[bytes]") -> str:
    """What one that has ended said without being asked, if anything."""
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], 0.0)[0]:
        return ""
    return os.read(process.stdout.fileno(), LONGEST).decode(errors="replace").strip()


def _end(process: "subprocess.Popen[bytes]") -> str:
    with suppress(subprocess.TimeoutExpired):
        process.wait(0.5)
    code = process.returncode
    why = "closed its pipe" if code is None else f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    return f"its process died ({why}); it is started again"


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """In order where it can; not waited for long, because what hangs in the kernel does not end either."""
    for end in (process.terminate, process.kill):
        end()
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
