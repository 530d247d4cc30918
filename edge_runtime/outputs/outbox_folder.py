"""The files of an outbox: one for each message, so that a restart forgets none.

STATE/outbox/NAME/0000000012-0-9f3c01aa.json    its number, how many before it were dropped, CRC-32 of what is in it
                  standing.json                 every alarm as it was when all of its messages were safe
                  aside/                        what the receiver refused, and what was damaged; the last of them
"""

import re
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from edge_runtime import safe_file
from edge_runtime.alarm import Status
from edge_runtime.outputs.message import LONGEST, Message

FILE = re.compile(r"(\d{10})-(\d+)-([0-9a-f]{8})\.json")
STANDING = "standing.json"
ASIDE, MOST_ASIDE = "aside", 100


class Entry(msgspec.Struct, eq=False):
    """A message in the queue."""

    data: bytes  # JSON of the message, without `dropped`
    number: int = 0  # of its file; 0: it had none yet
    dropped: int = 0
    path: Path | None = None
    said: int = -1  # `dropped` as its file has it; -1: there is none
    taken: bool = False  # it is on its way
    gone: bool = False  # delivered, refused or dropped

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.number:010d}-{self.dropped}-{zlib.crc32(self.data):08x}.json"

    @property
    def message(self) -> Message:
        """As it is sent."""
        return msgspec.structs.replace(msgspec.json.decode(self.data, type=Message), dropped=self.dropped)


class OutboxFolder:
    """Nothing here is remembered; an OSError is whoever's who asks."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self.path, self._say = path, say

    def left(self) -> Iterator[Entry]:
        """Every message from before, the oldest first; what is damaged is set aside with a line."""
        for path in sorted(self.path.iterdir()) if self.path.exists() else ():
            if path.name.endswith(safe_file.PARTIAL) and FILE.fullmatch(path.name.removesuffix(safe_file.PARTIAL)):
                with suppress(OSError):
                    path.unlink()
            elif match := FILE.fullmatch(path.name):
                number, dropped, check = int(match[1]), int(match[2]), int(match[3], 16)
                data = _read(path)
                if data is None or zlib.crc32(data) != check:
                    self._damaged(path)
                else:
                    yield Entry(data, number, dropped, path, dropped)

    def standing(self) -> list[Status] | None:
        """None: there is none, or no longer one."""
        path = self.path / STANDING
        try:
            return msgspec.json.decode(path.read_bytes(), type=list[Status])
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError:
            self._damaged(path)
            return None

    def keep_standing(self, standing: Sequence[Status]) -> None:
        """On the disk when this returns."""
        safe_file.write(self.path / STANDING, msgspec.json.encode(standing))

    def set_aside(self, name: str, data: bytes) -> Path | None:
        """For people to see -> where it lies; None: it cannot be written."""
        try:
            path = self._aside(name)
            safe_file.write(path, data)
        except OSError:
            return None
        return path

    def _damaged(self, path: Path) -> None:
        where = "it cannot be set aside either"
        with suppress(OSError):
            where = f"set aside as {path.replace(self._aside(f'{path.name}.damaged'))}"
        self._say(f"its file {path} is damaged or cannot be read; {where}")

    def _aside(self, name: str) -> Path:
        """A new path there, with room for it."""
        folder = self.path / ASIDE
        folder.mkdir(parents=True, exist_ok=True)
        there = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        for path in there[: max(0, len(there) - MOST_ASIDE + 1)]:
            path.unlink()
        return folder / f"{time.time_ns()}-{name}"


def _read(path: Path) -> bytes | None:
    """What is in a file; None: no message."""
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST + 1)
        msgspec.json.decode(data, type=Message)
    except (OSError, msgspec.MsgspecError):
        return None
    return data
