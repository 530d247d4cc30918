"""The queue of a webhook: in memory, with a file for each message (`outbox_folder.py`).

The files mirror the memory: whoever puts or takes waits for no disk, and where the disk is full or read-only, the
memory goes on alone. Two threads use it: one sends (`first`, then `done`, `refuse` or `release`), one keeps the files
(`save`). A message may be gone by the time its file is written; whoever is second removes the file.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from edge_runtime import safe_file
from edge_runtime.alarm import Status
from edge_runtime.outputs.message import Message
from edge_runtime.outputs.outbox_folder import Entry, OutboxFolder
from edge_runtime.outputs.worker import OutputError


class Outbox:
    """At most `most` messages in order; `folder` None: in memory alone."""

    def __init__(self, folder: Path | None, most: int, say: Callable[[str], None]) -> None:
        self._folder, self._most = None if folder is None else OutboxFolder(folder, say), most
        self._lock = threading.Lock()
        self._waiting: deque[Entry] = deque()
        self._left: list[Path] = []  # files of what is gone
        self._number = 0  # of the last file
        self._standing: list[Status] = []  # what the file of that name will say, and what it says
        self._stood: list[Status] | None = None
        self.dirty = False  # whether the disk is not as it should be
        self._read = False
        with suppress(OSError):  # `save` tries again, and says it
            self._look()

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
            key = (change.machine, change.kind)
            seen[key] = Status(*key, change.state, change.level, silenced=False)
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
            self._remove_later(entry)
        with suppress(OSError):  # `save` tries again, and says it
            self._clear()

    def refuse(self, entry: Entry, why: str) -> Path | None:
        """Its receiver will never take it -> where it lies for people to see; None: nowhere."""
        aside = None if self._folder is None else self._folder.set_aside(f"{entry.message.id}.{why}", entry.data)
        self.done(entry)
        return aside

    def save(self) -> None:
        """Make the disk as the memory is; an OutputError says why not."""
        if self._folder is None:
            return
        self.dirty = False
        try:
            self._look()
            standing = self._standing  # of now: what is put from here on may not be safe when it is written
            self._clear()
            while due := self._due():
                for entry in due:
                    self._mirror(entry, self._folder.path)
                    self._clear()
            if standing and standing != self._stood:
                self._folder.keep_standing(standing)
                self._stood = standing
        except OSError as error:
            self.dirty, why = True, error.strerror or error
            raise OutputError(
                f"its queue {self._folder.path} cannot be written ({why}); it goes on in memory"
            ) from None

    def _look(self) -> None:
        """Once: what was left from before comes before all that is new."""
        if self._read or self._folder is None:
            return
        left = list(self._folder.left())
        stood = self._folder.standing()
        with self._lock:
            self._number = max([self._number, *(entry.number for entry in left)])
            self._waiting.extendleft(reversed(left))
            self._stood, self._read = stood, True
            self._trim()

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
        """Files of what is gone, in their order: after a restart none comes behind a newer one."""
        while (path := next(iter(self._left), None)) is not None:
            path.unlink(missing_ok=True)
            with self._lock, suppress(ValueError):  # the other thread was faster
                self._left.remove(path)

    def _mirror(self, entry: Entry, folder: Path) -> None:
        """Give it a file, or its file the right name."""
        if not entry.number:
            entry.number = self._number = self._number + 1
        with self._lock:
            if entry.gone:
                return
            dropped, path, old = entry.dropped, folder / entry.name, entry.path
        if old is None or not old.exists():  # somebody may have removed it
            safe_file.write(path, entry.data)
        else:
            old.replace(path)
        with self._lock:
            entry.path, entry.said = path, dropped
            if entry.gone:
                self._remove_later(entry)
