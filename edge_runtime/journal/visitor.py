"""The journal as other processes see it: they read, and write nothing but requests."""

import datetime
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edge_runtime.alarm.words import Kept
from edge_runtime.errors import ConfigError
from edge_runtime.journal import lock, schema
from edge_runtime.journal.rows import Beat, Entry, Heard, Request

PATIENCE_S = 2.0  # seconds that a request waits until the file is free to write
LOOK_S = 0.03  # seconds between looks for an answer


class Visitor:
    """Opens a journal that is there; never makes one."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._file = self._folder / schema.FILE
        if not self._file.exists():
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

    def history(self, count: int) -> list[Entry]:
        """The last changes, oldest first."""
        columns = ", ".join(Entry.__struct_fields__)
        with self._readable():
            rows = self._db.execute(f"SELECT {columns} FROM changes ORDER BY number DESC LIMIT ?", (count,)).fetchall()
        return [Entry(*row) for row in reversed(rows)]

    def beat(self) -> Beat | None:
        """The last sign of life."""
        with self._readable():
            row = self._db.execute("SELECT pid, time, monotonic_s, machines FROM beat").fetchone()
            if row is None:
                return None
            pid, told, monotonic_s, machines = row
            return Beat(pid, told, monotonic_s, msgspec.json.decode(machines, type=list[Heard]))

    def ask(self, request: Request, wait_s: float) -> tuple[str, bool] | None:
        """Leave a request and wait -> (answer, refused); None: nobody answered, and the request is taken back."""
        made = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
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
