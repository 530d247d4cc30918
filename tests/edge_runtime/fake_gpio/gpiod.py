"""A GPIO chip without one: as much of libgpiod's Python bindings (version 2) as is used, for the keeper's process.

The folder FAKE_GPIO stands for the board. `volts` is what a meter on the line would show, "high" or "low"; a line that
is freed keeps it, as on a Raspberry Pi. `fault` is what a test wants to go wrong: "raise", "hang", "gone" or "deaf"
(asks for SIGKILL), and `log` what was called.
"""

import dataclasses
import enum
import os
import signal
import time
from pathlib import Path

BOARD = Path(os.environ["FAKE_GPIO"])


class line:  # noqa: N801 - a module of the real one
    class Value(enum.Enum):
        INACTIVE = 0
        ACTIVE = 1

    class Direction(enum.Enum):
        OUTPUT = 3


@dataclasses.dataclass
class LineSettings:
    direction: line.Direction
    active_low: bool = False
    output_value: line.Value = line.Value.INACTIVE


def request_lines(path, config, consumer=None):
    fail()
    ((offset, settings),) = config.items()
    if offset == "nobody":
        raise FileNotFoundError(2, "No such file or directory")
    note(f"request {path} {offset!r} {consumer}")
    return LineRequest(offset, settings)


class LineRequest:
    def __init__(self, offset, settings):
        self.offset, self.settings, self.released = offset, settings, False
        self.drive(settings.output_value)

    def set_value(self, line, value):
        assert line == self.offset and not self.released
        fail()
        self.drive(value)

    def drive(self, value):
        high = (value is line.Value.ACTIVE) != self.settings.active_low
        partial = BOARD / "volts.partial"
        partial.write_text("high" if high else "low")
        partial.replace(BOARD / "volts")

    def release(self):
        self.released = True
        note("release")


def fail():
    fault = (BOARD / "fault").read_text() if (BOARD / "fault").exists() else ""
    if fault == "raise":
        raise OSError(16, "Device or resource busy")
    if fault == "gone":
        raise FileNotFoundError(2, "No such file or directory")
    if fault == "deaf":
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
    if fault in ("hang", "deaf"):
        note(fault)
        time.sleep(60)


def note(words):
    with (BOARD / "log").open("a") as stream:
        stream.write(words + "\n")
