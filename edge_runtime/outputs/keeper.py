"""Holds a relay's line in a process of its own, and lets it drop when the listener is gone or hangs.

    python -m edge_runtime.outputs.keeper CHIP LINE ACTIVE_LOW DEADMAN_S

A line of stdin: "1" energise, "0" drop; each is also a sign of life, and is answered. The line drops when deadman_s
pass without one, when stdin ends (the listener is dead, however it died) and on SIGTERM. gpiod is imported here alone.
"""

import os
import select
import signal
import sys
import time
from typing import Any

CONSUMER = "auscult"  # what gpioinfo shows
ANSWER_BYTES = 160


class Line:
    """A line of a chip, requested when first needed and again after it failed."""

    def __init__(self, chip: str, line: str, active_low: bool) -> None:
        self.chip, self._active_low = chip, active_low
        self.number: int | str = int(line) if line.isdecimal() else line
        self._request: Any = None

    def set(self, energised: bool) -> None:
        """Drive it; whatever fails leaves nothing requested."""
        import gpiod

        value = gpiod.line.Value.ACTIVE if energised else gpiod.line.Value.INACTIVE
        try:
            if self._request is None:
                settings = gpiod.LineSettings(
                    direction=gpiod.line.Direction.OUTPUT, active_low=self._active_low, output_value=value
                )
                self._request = gpiod.request_lines(self.chip, config={self.number: settings}, consumer=CONSUMER)
            self._request.set_value(self.number, value)
        except Exception:  # OSError of the kernel, ValueError of libgpiod: the line is requested anew
            self.release()
            raise

    def release(self) -> None:
        """Give it back to the kernel; what it then is depends on the board."""
        request, self._request = self._request, None
        if request is not None:
            request.release()


def keep(line: Line, deadman_s: float, ended: int) -> None:
    """Until stdin ends, or something can be read from `ended`."""
    energised, heard = False, time.monotonic()
    while True:
        left = heard + deadman_s - time.monotonic() if energised else None
        ready = select.select([0, ended], [], [], None if left is None else max(0.0, left))[0]
        if ended in ready:
            return
        if ready:
            told = os.read(0, 4096)
            if not told:
                return
            energised, heard = told.split()[-1:] == [b"1"], time.monotonic()
            for _ in range(told.count(b"\n")):
                answer(_try(line, energised))
        elif energised:  # the listener hangs
            energised = False
            _try(line, False)


def _try(line: Line, energised: bool) -> str:
    try:
        line.set(energised)
    except ImportError:
        return "the Python package gpiod is missing; pip install 'auscult[relay]'"
    except Exception as error:  # OSError of the kernel, ValueError of libgpiod: it is tried again, whatever it is
        why = " ".join(str(error).split())[:ANSWER_BYTES]
        return f"line {line.number} of {line.chip} cannot be driven ({why}); see gpioinfo"
    return "ok"


def answer(words: str) -> None:
    """One line on stdout; one that nobody reads any more is no reason to fail."""
    try:
        os.write(1, f"{words}\n".encode())
    except BrokenPipeError:
        raise SystemExit(0) from None


def signalled() -> int:
    """A file descriptor that can be read when a signal asks for the end: none interrupts the line's fall."""
    ended, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGABRT):
        signal.signal(number, lambda *_: None)
    return ended


def main(words: list[str]) -> None:
    """Hold the line until told otherwise, and let it drop however this ends (but for SIGKILL)."""
    ended = signalled()
    chip, line, active_low, deadman_s = words
    held = Line(chip, line, active_low == "1")
    try:
        keep(held, float(deadman_s), ended)
    finally:
        _try(held, False)
        held.release()


if __name__ == "__main__":
    main(sys.argv[1:])
