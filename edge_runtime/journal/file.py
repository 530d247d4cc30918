"""The journal's file in the hands of the process that listens: locked, opened, followed, set aside when it breaks."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_runtime.errors import ConfigError
from edge_runtime.journal import lock, schema

ASIDE_S = 60.0  # seconds before another file is set aside: a bad disk must not fill with them
LEFT = """UPDATE requests SET refused = 1, taken = 1, answer = CASE taken
    WHEN 0 THEN 'nobody listened: nothing is done' ELSE 'the listener ended before it answered; see: alarms' END
    WHERE answer IS NULL"""  # who asked a process that is gone is told so


class File:
    """One file at a time, under one lock. Whatever the disk does is said once, and raises nothing."""

    def __init__(
        self,
        folder: Path,
        warn: Callable[[str], None],
        read: Callable[[sqlite3.Connection], None],
        begun: Callable[[], None],
    ) -> None:
        """`read`: what it holds, once opened; `begun`: a file was set aside, and the new one is empty."""
        self.folder, self._warn, self._read, self._begun = folder, warn, read, begun
        self.db: sqlite3.Connection | None = None
        self.opened = 0  # files so far
        self.broken = False  # something could not be written, and nothing has been since
        self._lock: int | None = None
        self._inode = 0
        self._aside_s = float("-inf")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = lock.hold(self.folder)
        except OSError as error:
            self._outage(error)

    def open(self) -> None:
        """The folder, the lock, the file; errors are raised, for `trying` to take."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._lock is None:
            self._lock = lock.hold(self.folder)
        db = schema.connect(self.folder / schema.FILE)
        try:
            self._read(db)
            db.execute(LEFT)
        except BaseException:  # an interrupt too: nobody else knows of it yet
            db.close()
            raise
        self.db, self._inode = db, (self.folder / schema.FILE).stat().st_ino
        self.opened += 1

    def remember(self) -> None:
        """Where it can be read and not written: what is in it."""
        file = self.folder / schema.FILE
        with contextlib.suppress(sqlite3.Error, OSError), contextlib.closing(schema.connect_read_only(file)) as db:
            self._read(db)

    @contextlib.contextmanager
    def trying(self) -> Iterator[None]:
        """Whatever the disk does, listening goes on; it is said once."""
        try:
            yield
        except (OSError, sqlite3.Error, schema.UnfitError, ConfigError) as error:
            if schema.unfit(error) and time.monotonic() >= self._aside_s + ASIDE_S:
                self._begin_anew(error)
            else:
                self._outage(error)

    @contextlib.contextmanager
    def transaction(self, safe: bool = True) -> Iterator[sqlite3.Connection]:
        """All or nothing. What is not `safe` may be lost with the power, but leaves the file whole."""
        db = self.db
        assert db is not None
        db.execute(f"PRAGMA synchronous = {'FULL' if safe else 'NORMAL'}")
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:  # an interrupt too: no transaction stays open
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def refresh(self) -> None:
        """Notice a file that was removed or replaced, or has broken under us, before others need it.

        What was read before is read anew. Of one that is gone a new one begins with the next `open`.
        """
        if self.db is None:
            return
        with self.trying():
            self.db.execute("PRAGMA shrink_memory")
        with contextlib.suppress(OSError):
            if (self.folder / schema.FILE).stat().st_ino == self._inode:
                return
        self._outage(FileNotFoundError("somebody removed or replaced it"))
        self.close()

    def written(self) -> None:
        """It was: an outage is over."""
        if self.broken:
            self.broken = False
            self._warn(f"{self.folder}: the journal is written again")

    def close(self) -> None:
        """Give file and folder back."""
        if self.db is not None:
            with contextlib.suppress(sqlite3.Error):
                self.db.close()
        if self._lock is not None:
            os.close(self._lock)
        self.db = self._lock = None

    def _outage(self, error: Exception) -> None:
        if not self.broken:
            self._warn(f"warning: {self.folder}: the journal cannot be written ({error}); listening goes on without it")
        self.broken = True

    def _begin_anew(self, error: Exception) -> None:
        """A file that cannot be used makes room for another."""
        self._aside_s = time.monotonic()
        if self.db is not None:
            self.db.close()
            self.db = None
        with self.trying():
            aside = schema.set_aside(self.folder / schema.FILE)
            self._warn(f"warning: {self.folder / schema.FILE}: {error}; set aside as {aside.name}, a new one is begun")
            self.open()
            self._begun()
