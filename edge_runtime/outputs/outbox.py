"""Messages that are not delivered yet: in memory, and each in a file of its own, so that a restart forgets none.

    STATE/outbox/NAME/0000000012-0-9f3c01aa.json    its number, how many before it were dropped, CRC-32 of what is in it
                      standing.json                 every alarm as it was when all of its messages were safe
                      aside/                        what the receiver refused, and what was damaged; the last of them

A file is written under another name, synced and renamed. Files mirror the memory: whoever puts or takes waits for no
disk, and where the disk is full, read-only or hangs, the memory goes on alone. Two threads use it: one sends, the other
keeps the files.
"""

import os
import re
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from edge_runtime.alarm import Status
from edge_runtime.outputs import Told
from edge_runtime.outputs.worker import OutputError

FILE = re.compile(r"(\d{10})-(\d+)-([0-9a-f]{8})\.json")
PARTIAL = ".partial"  # what is being written
STANDING = "standing.json"
ASIDE, MOST_ASIDE = "aside", 100
LONGEST = 65_536  # bytes of a message; its words are cut far below


class Message(Told, frozen=True, kw_only=True):
    """What a receiver gets: a change of an alarm, as all outputs are told of it, and what tells messages apart."""

    id: str  # of this message, the same at every try
    site: str  # its name in the site file
    queued: str  # UTC, ISO 8601: when it was queued; `time` is when it was heard
    dropped: int = 0  # messages right before it that the queue had no room for


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


class Outbox:
    """At most `most` messages in order; `folder` None: in memory alone."""

    def __init__(self, folder: Path | None, most: int, say: Callable[[str], None]) -> None:
        self._folder, self._most, self._say = folder, most, say
        self._lock = threading.Lock()
        self._waiting: deque[Entry] = deque()
        self._left: list[Path] = []  # files of what is gone
        self._number = 0  # of the last file
        self._standing: list[Status] = []  # what the file of that name will say, and what it says
        self._stood: list[Status] | None = None
        self.dirty = False  # whether the disk is not as it should be
        self._scanned = folder is None
        with suppress(OSError):  # `save` tries again, and says it
            self._scan()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def kept(self) -> int:
        """How many of them lie on the disk."""
        with self._lock:
            return sum(entry.path is not None for entry in self._waiting)

    @property
    def seen(self) -> list[Status] | None:
        """Every alarm as the messages have it that are safe or were delivered; None: nobody knows."""
        if self._stood is None:
            return None
        seen = {(status.machine, status.kind): status for status in self._stood}
        for entry in self._waiting:
            change = entry.message.change
            seen[change.machine, change.kind] = Status(
                change.machine, change.kind, change.state, change.level, silenced=False
            )
        return list(seen.values())

    def stand(self, now: Sequence[Status]) -> None:
        """Every alarm as it is, after all of its messages were put."""
        with self._lock:
            self._standing = [msgspec.structs.replace(status, silenced=False) for status in now]
            self.dirty = self.dirty or (self._folder is not None and self._standing != self._stood)

    def put(self, message: Message) -> bool:
        """The newest, in memory -> whether another had to go for it."""
        with self._lock:
            self._waiting.append(Entry(msgspec.json.encode(message)))
            self.dirty = self._folder is not None
            return self._trim()

    def first(self) -> Entry | None:
        """The oldest, which is now on its way."""
        with self._lock:
            if not self._waiting:
                return None
            self._waiting[0].taken = True
            return self._waiting[0]

    def release(self, entry: Entry) -> None:
        """It did not arrive, and stays the oldest."""
        entry.taken = False

    def done(self, entry: Entry) -> None:
        """It arrived."""
        with self._lock:
            self._waiting.remove(entry)
            entry.gone = True
        try:
            if entry.path is not None:
                entry.path.unlink(missing_ok=True)
        except OSError:
            with self._lock:
                self._remove_later(entry)

    def refuse(self, entry: Entry, why: str) -> Path | None:
        """Its receiver will never take it -> where it lies for people to see; None: nowhere."""
        aside = None
        with suppress(OSError):
            if self._folder is not None:
                aside = self._aside(f"{entry.message.id}.{why}")
                _write(aside, entry.data)
        self.done(entry)
        return aside

    def save(self) -> None:
        """Make the disk as the memory is; an OutputError says why not."""
        if self._folder is None:
            return
        self.dirty = False
        try:
            if not self._scanned:
                self._scan()
            self._clear()
            standing = self._standing  # of now: what is put meanwhile may not be safe when it is written
            while due := self._due():
                for entry in due:
                    self._mirror(entry, self._folder)
                    self._clear()
            if standing and standing != self._stood:
                _write(self._folder / STANDING, msgspec.json.encode(standing))
                self._stood = standing
        except OSError as error:
            self.dirty, why = True, error.strerror or error
            raise OutputError(f"its queue {self._folder} cannot be written ({why}); it goes on in memory") from None

    def _due(self) -> list[Entry]:
        """What has no file yet, or one that says less than is known."""
        with self._lock:
            return [entry for entry in self._waiting if entry.said != entry.dropped]

    def _trim(self) -> bool:
        """The oldest goes, but for one that is on its way; the one behind it says so."""
        full = len(self._waiting) > self._most
        while len(self._waiting) > self._most:
            lost = next(entry for entry in self._waiting if not entry.taken)
            place = self._waiting.index(lost)
            del self._waiting[place]
            lost.gone = True
            self._waiting[place].dropped += lost.dropped + 1
            self._remove_later(lost)
        return full

    def _remove_later(self, entry: Entry) -> None:
        if entry.path is not None:
            self._left.append(entry.path)
            self.dirty = True

    def _clear(self) -> None:
        """Files of what is gone."""
        while self._left:
            self._left[0].unlink(missing_ok=True)
            with self._lock:
                del self._left[0]

    def _mirror(self, entry: Entry, folder: Path) -> None:
        """Give it a file, or its file the right name. It may be gone when that is done."""
        if not entry.number:
            entry.number = self._number = self._number + 1
        with self._lock:
            if entry.gone:
                return
            dropped, path, old = entry.dropped, folder / entry.name, entry.path
        if old is None or not old.exists():  # somebody may have removed it
            _write(path, entry.data)
        else:
            old.replace(path)
        with self._lock:
            entry.path, entry.said = path, dropped
            if entry.gone:
                self._remove_later(entry)

    def _scan(self) -> None:
        """What was left from before comes before all that is new."""
        folder, found = self._folder, []
        if folder is None:
            return
        for path in sorted(folder.iterdir()) if folder.exists() else ():
            if FILE.fullmatch(path.name.removesuffix(PARTIAL)) and path.name.endswith(PARTIAL):
                with suppress(OSError):
                    path.unlink()
            elif match := FILE.fullmatch(path.name):
                number, dropped, check = int(match[1]), int(match[2]), int(match[3], 16)
                self._number = max(self._number, number)
                data = _read(path)
                if data is None or zlib.crc32(data) != check:
                    self._damaged(path)
                else:
                    found.append(Entry(data, number, dropped, path, dropped))
        with self._lock:
            self._waiting.extendleft(reversed(found))
            self._scanned = True
            self._trim()
        self._stood = self._stood or self._read_standing(folder / STANDING)

    def _read_standing(self, path: Path) -> list[Status] | None:
        """None: there is none, or no longer one; what stands then is told anew."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=list[Status])
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError:
            self._damaged(path)
            return None

    def _damaged(self, path: Path) -> None:
        where = "it cannot be set aside either"
        with suppress(OSError):
            where = f"set aside as {path.replace(self._aside(f'{path.name}.damaged'))}"
        self._say(f"its file {path} is damaged or cannot be read; {where}")

    def _aside(self, name: str) -> Path:
        """A new path there, with room for it."""
        assert self._folder is not None
        folder = self._folder / ASIDE
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


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, and on the disk when this returns."""
    if not path.parent.exists():
        path.parent.mkdir(parents=True)
        for folder in path.parent.parents[:2]:
            _sync(folder)
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
