"""The journal as other processes see it: they read, and write nothing but requests."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from edge_runtime import utc
from edge_runtime.alarm.words import Kept
from edge_runtime.errors import ConfigError
from edge_runtime.journal import live, lock, schema, spells
from edge_runtime.journal.rows import Beat, Entry, Listened, Notice, Recorded, Request, Sign, Spell

PATIENCE_S = 2.0  # seconds that a request waits until the file is free to write
QUIET_S, QUIET_DISK_S = 10.0, 75.0  # seconds without a sign of life in memory, in the file, that are worth a word
LOOK_S = 0.03  # seconds between looks for an answer


class Visitor:
    """Opens a journal that is there; never makes one."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._file = self._folder / schema.FILE
        if not self._file.exists():
            listener = self.listener()
            if listener is not None:
                words = f"process {listener} listens, and its journal is gone; it begins a new one within a minute"
                raise ConfigError(f"{self._folder}: {words}")
            raise ConfigError(f"{self._folder}: no {schema.FILE}: nothing has listened here; give the state folder")
        with self._readable():
            self._db, found = self._opened()
        if found != schema.VERSION:
            raise ConfigError(
                f"{self._file}: of version {found}, wanted {schema.VERSION}; let the listener open it first"
            )

    def listener(self) -> int | None:
        """The pid of the process that listens here; None: nobody does."""
        return lock.holder(self._folder)

    def states(self) -> list[Kept]:
        """Every alarm as it was last written."""
        with self._readable():
            rows = self._db.execute("SELECT kept FROM alarms ORDER BY machine, kind").fetchall()
            return [msgspec.json.decode(text, type=Kept) for (text,) in rows]

    def history(self, count: int, machine: str | None = None) -> list[Entry]:
        """The last changes, oldest first; of one machine where it is named."""
        return [Entry(*row) for row in self._last(Entry, "changes", "number", count, machine)]

    def beat(self) -> Beat | None:
        """The last sign of life in the journal."""
        with self._readable():
            row = self._db.execute("SELECT told FROM beat").fetchone()
            return None if row is None else msgspec.json.decode(row[0], type=Beat)

    def sign(self) -> Sign:
        """How everything is now, to the second; the last sign of life where nobody listens, or memory has none."""
        listener, now = self.listener(), live.read(self._folder)
        in_memory = now is not None and now.pid == listener
        beat = now if in_memory else self.beat()
        if listener is None or beat is None or beat.pid != listener:
            return Sign(listener, None, False, beat)
        quiet_s = time.monotonic() - beat.monotonic_s
        if quiet_s < 0.0:  # of before the computer began anew, and by chance of the same pid
            return Sign(listener, None, False, beat)
        return Sign(listener, quiet_s, quiet_s <= (QUIET_S if in_memory else QUIET_DISK_S), beat)

    def machines(self) -> list[Listened]:
        """What is listened to, or was last, by name."""
        with self._readable():
            rows = self._db.execute("SELECT told FROM machines ORDER BY machine").fetchall()
            return [msgspec.json.decode(text, type=Listened) for (text,) in rows]

    def scores(self, machine: str, since_s: float, until_s: float) -> list[Spell]:
        """What a machine's windows were between two times (UTC, seconds since 1970), oldest first.

        The minute that is not over is in `sign().beat.recent`.
        """
        with self._readable():
            return spells.select(self._db, machine, since_s, until_s)

    def thinned(self, machine: str, since_s: float, until_s: float, step_s: float) -> list[Spell]:
        """The same as one spell for each step that has any, however many there are."""
        with self._readable():
            return spells.thinned(self._db, machine, since_s, until_s, step_s)

    def notices(self, count: int) -> list[Notice]:
        """The last ones, oldest first."""
        return [Notice(*row) for row in self._last(Notice, "notices", "number", count)]

    def events(self, count: int, machine: str | None = None) -> list[Recorded]:
        """The last event folders, oldest first."""
        return [Recorded(*row) for row in self._last(Recorded, "events", "time", count, machine)]

    def events_total(self) -> tuple[int, int]:
        """How many event folders there are, and their bytes."""
        with self._readable():
            count, size = self._db.execute("SELECT count(*), total(bytes) FROM events").fetchone()
            return count, int(size)

    def _last(
        self, kind: type[msgspec.Struct], table: str, order: str, count: int, machine: str | None = None
    ) -> list[tuple[Any, ...]]:
        columns = ", ".join(kind.__struct_fields__)
        where, values = ("WHERE machine = ?", (machine, count)) if machine is not None else ("", (count,))
        with self._readable():
            found = self._db.execute(f"SELECT {columns} FROM {table} {where} ORDER BY {order} DESC LIMIT ?", values)
            return found.fetchall()[::-1]

    def ask(self, request: Request, wait_s: float) -> tuple[str, bool] | None:
        """Leave a request and wait -> (answer, refused); None: nobody answered, and the request is taken back."""
        made = utc.now()
        values = [request.action, request.machine, request.kind, request.who, request.why, request.seconds, made]
        with self._readable():
            number = self._db.execute(
                "INSERT INTO requests (action, machine, kind, who, why, seconds, made) VALUES (?, ?, ?, ?, ?, ?, ?)",
                values,
            ).lastrowid
            end = time.monotonic() + wait_s
            while time.monotonic() < end:
                time.sleep(LOOK_S)
                if (answer := self._answer(number)) is not None:
                    return answer
                if self.listener() is None:
                    break
            if self._db.execute("DELETE FROM requests WHERE number = ? AND taken = 0", (number,)).rowcount:
                return None
            return self._answer(number) or ("it was taken, but not answered; see what became of it with: alarms", True)

    def close(self) -> None:
        """Give the file back."""
        self._db.close()

    def _opened(self) -> tuple[sqlite3.Connection, int]:
        """Of the file, and its version. Where it is at rest, to read it takes no right to write."""
        place = f"{self._file.absolute().as_uri()}?mode=rw"
        db = sqlite3.connect(place, timeout=PATIENCE_S, isolation_level=None, uri=True)
        try:
            return db, schema.version(db)
        except sqlite3.OperationalError:
            db.close()
            if self.listener() is not None or self._file.with_name(f"{schema.FILE}-wal").exists():
                raise
        db = schema.connect_read_only(self._file)
        return db, schema.version(db)

    def _answer(self, number: int | None) -> tuple[str, bool] | None:
        row = self._db.execute("SELECT answer, refused FROM requests WHERE number = ?", (number,)).fetchone()
        return (row[0], bool(row[1])) if row and row[0] is not None else None

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise ConfigError(
                f"{self._file}: {error}; see that it can be read and written by you, and that its disk is not full"
            ) from None
