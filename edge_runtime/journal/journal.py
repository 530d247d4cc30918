"""The journal of the process that listens. Nothing that goes wrong with it stops the listening."""

import contextlib
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from edge_runtime.alarm.words import Change, Kept
from edge_runtime.cli import say
from edge_runtime.errors import ConfigError
from edge_runtime.journal import lock, schema, spells
from edge_runtime.journal.rows import Beat, Entry, Listened, Moment, Recorded, Request, Spell

BEAT_S = 60.0  # seconds between signs of life, for SD cards live by what is not written; `live` tells the rest
THIN_S = 3600.0  # seconds between two looks for what has grown old
ASIDE_S = 60.0  # seconds before another file is set aside: a bad disk must not fill with them
RETRY_S = 1.0  # seconds before requests are looked for again, where that failed
WAITING = 1000  # changes that wait in memory while they cannot be written; then the oldest are not in the history
CHANGES, REQUESTS, NOTICES = 100_000, 1000, 1000  # rows that are kept
ENTRY = [name for name in Entry.__struct_fields__ if name != "number"]
INSERT = f"INSERT INTO changes ({', '.join(ENTRY)}) VALUES ({', '.join(':' + name for name in ENTRY)})"
KEEP = "INSERT OR REPLACE INTO alarms (machine, kind, kept) VALUES (?, ?, ?)"
RECORDED = f"INSERT OR REPLACE INTO events VALUES ({', '.join('?' * len(Recorded.__struct_fields__))})"
Values = tuple[object, ...]
ASKED = "SELECT action, machine, kind, who, why, seconds, number FROM requests WHERE taken = 0 ORDER BY number"
LEFT = """UPDATE requests SET refused = 1, taken = 1, answer = CASE taken
    WHEN 0 THEN 'nobody listened: nothing is done' ELSE 'the listener ended before it answered; see: alarms' END
    WHERE answer IS NULL"""


class Journal:
    """Alarm states and their history, written before anything else is told; requests of people.

    What cannot be written (a full disk, a read-only folder) waits in memory and is tried again with the next change
    and the next beat. A file that is no journal is set aside and a new one begun from what is known.
    """

    def __init__(self, folder: str | Path, warn: Callable[[str], None] = say) -> None:
        self._folder, self._warn = Path(folder), warn
        self._db: sqlite3.Connection | None = None
        self._lock: int | None = None
        self._known: dict[tuple[str, str], Kept] = {}
        self._waiting: deque[dict[str, object]] = deque(maxlen=WAITING)
        self._later: deque[tuple[str, Values]] = deque(maxlen=WAITING)  # what the next transaction writes, too
        self._machines: list[Listened] = []
        self._events: dict[str, Recorded] = {}
        self._broken = False
        self._new = True  # the file has not been told everything that is known yet
        self._version = -1  # of the file, as other processes have changed it
        self._inode = 0  # of the file
        self._asked_s = self._beat_s = self._thin_s = self._aside_s = float("-inf")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = lock.hold(self._folder)
        except OSError as error:
            self._outage(error)
        with self._trying():
            self._open()
        if self._db is None:
            self._remember()

    def states(self) -> list[Kept]:
        """What every alarm was when it was last written."""
        return list(self._known.values())

    def record(self, kept: Kept, change: Change, moment: Moment, score: float | None = None, reason: str = "") -> None:
        """A change and the state after it, in one transaction that is on the disk when this returns."""
        told = msgspec.structs.asdict(change)
        told |= {"time": moment.time, "clock": moment.clock, "at_s": moment.at_s, "score": score, "reason": reason}
        self._waiting.append(told)
        self._known[kept.machine, kept.kind] = kept
        self._flush([kept])

    def requests(self) -> list[Request]:
        """What people have asked since this was last called; each is told once. Costs microseconds where nobody has."""
        if self._db is None or time.monotonic() < self._asked_s:
            return []
        self._asked_s = time.monotonic() + RETRY_S
        taken: list[Request] = []
        with self._trying():
            version = self._db.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version:
                taken, self._version = self._take(), version
            self._asked_s = float("-inf")
        return taken

    def answer(self, request: Request, words: str, refused: bool) -> None:
        """Tell who asked what has become of it."""
        if self._db is None:
            return
        with self._trying(), self._transaction() as db:
            db.execute("UPDATE requests SET answer = ?, refused = ? WHERE number = ?", (words, refused, request.number))
            db.execute("DELETE FROM requests WHERE number <= ?", (request.number - REQUESTS,))

    def listened(self, machines: Sequence[Listened], events: Sequence[Recorded] = ()) -> None:
        """What is listened to from now on, and every event folder that there is."""
        self._machines, self._events, self._new = list(machines), {one.id: one for one in events}, True

    def spells(self, over: Sequence[Spell]) -> None:
        """What was heard; with the next sign of life it is written, and the last minute may be lost with the power."""
        self._later.extend((spells.INSERT, spells.row(spell)) for spell in over)

    def noted(self, time: str, about: str, words: str) -> None:
        """One line for people; written with the next sign of life."""
        self._later.append(("INSERT INTO notices (time, about, words) VALUES (?, ?, ?)", (time, about, words)))

    def recorded(self, one: Recorded) -> None:
        """An event folder that is new, or has changed."""
        self._events[one.id] = one
        self._later.append((RECORDED, msgspec.structs.astuple(one)))
        self._flush([])

    def removed(self, event: str) -> None:
        """An event folder that is gone."""
        self._events.pop(event, None)
        self._later.append(("DELETE FROM events WHERE id = ?", (event,)))

    def due(self, now_s: float) -> bool:
        """Is it time for a sign of life?"""
        return now_s >= self._beat_s + BEAT_S

    def beat(self, beat: Beat, kept: Sequence[Kept], utc_s: float) -> None:
        """A sign of life and every alarm as it is now (of a shelf: what is left); what waits is tried again."""
        self._beat_s = beat.monotonic_s
        self._follow()
        self._forget_pages()
        self._known |= {(one.machine, one.kind): one for one in kept}
        self._later.append(("INSERT OR REPLACE INTO beat VALUES (1, ?)", (_json(beat),)))
        newest = "(SELECT max(number) FROM notices)"
        self._later.append((f"DELETE FROM notices WHERE number <= {newest} - {NOTICES}", ()))
        self._flush(kept)
        by_clock = not beat.clock  # by one that is not set nothing is old
        if by_clock and self._db is not None and beat.monotonic_s >= self._thin_s + THIN_S:
            self._thin_s = beat.monotonic_s
            with self._trying(), self._transaction(safe=False) as db:
                spells.thin(db, utc_s)

    def close(self) -> None:
        """Try once more to write what waits; give file and folder back."""
        if self._waiting or self._later:
            self._flush(self.states())
        self._let_go()

    def _take(self) -> list[Request]:
        """Requests that nobody withdraws any more; one that no visitor of ours can have written is refused."""
        found: list[Request] = []
        with self._transaction() as db:
            for row in db.execute(ASKED).fetchall():
                number, answer = row[-1], None
                try:
                    found.append(msgspec.convert(dict(zip(Request.__struct_fields__, row, strict=True)), Request))
                except msgspec.ValidationError as error:
                    answer = f"not understood: {error}"
                db.execute(
                    "UPDATE requests SET taken = 1, answer = ?1, refused = ?1 IS NOT NULL WHERE number = ?2",
                    (answer, number),
                )
        return found

    def _follow(self) -> None:
        """Where somebody removed or replaced the file, begin a new one, under a new lock, with every state."""
        if self._db is None:
            return
        with contextlib.suppress(OSError):
            if (self._folder / schema.FILE).stat().st_ino == self._inode:
                return
        self._outage(FileNotFoundError("somebody removed or replaced it"))
        self._let_go()

    def _forget_pages(self) -> None:
        """What was read before is read anew: a file that has broken under us is noticed before others need it."""
        if self._db is not None:
            with self._trying():
                self._db.execute("PRAGMA shrink_memory")

    def _flush(self, kept: Sequence[Kept]) -> None:
        """One transaction: the changes that wait, states, and what may come later. After an outage every state."""
        with self._trying():
            if self._db is None:
                self._open()
            with self._transaction(safe=bool(self._waiting)) as db:
                db.executemany(INSERT, self._waiting)
                everything = self.states() if self._broken or self._new else kept
                db.executemany(KEEP, [(one.machine, one.kind, _json(one)) for one in everything])
                if self._new:
                    self._restate(db)
                if self._waiting:
                    newest = "SELECT max(number) FROM changes"
                    db.execute(f"DELETE FROM changes WHERE number <= ({newest}) - ?", (CHANGES,))
                for statement, values in self._later:
                    db.execute(statement, values)
            self._waiting.clear()
            self._later.clear()
            self._new = False
            if self._broken:
                self._broken = False
                self._warn(f"{self._folder}: the journal is written again")

    def _restate(self, db: sqlite3.Connection) -> None:
        """What is listened to and recorded, to a file that may know something else, or nothing."""
        db.execute("DELETE FROM machines")
        db.executemany("INSERT INTO machines VALUES (?, ?)", [(one.machine, _json(one)) for one in self._machines])
        db.execute("DELETE FROM events")
        db.executemany(RECORDED, [msgspec.structs.astuple(one) for one in self._events.values()])

    @contextlib.contextmanager
    def _transaction(self, safe: bool = True) -> Iterator[sqlite3.Connection]:
        """All or nothing. What is not `safe` may be lost with the power, but leaves the file whole."""
        db = self._db
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

    @contextlib.contextmanager
    def _trying(self) -> Iterator[None]:
        """Whatever the disk does, listening goes on; it is said once."""
        try:
            yield
        except (OSError, sqlite3.Error, schema.UnfitError, ConfigError) as error:
            if schema.unfit(error) and time.monotonic() >= self._aside_s + ASIDE_S:
                self._begin_anew(error)
            else:
                self._outage(error)

    def _outage(self, error: Exception) -> None:
        if not self._broken:
            self._warn(
                f"warning: {self._folder}: the journal cannot be written ({error}); listening goes on without it"
            )
        self._broken = True

    def _begin_anew(self, error: Exception) -> None:
        """A file that cannot be used makes room for another."""
        self._aside_s = time.monotonic()
        if self._db is not None:
            self._db.close()
            self._db = None
        with self._trying():
            aside = schema.set_aside(self._folder / schema.FILE)
            self._warn(f"warning: {self._folder / schema.FILE}: {error}; set aside as {aside.name}, a new one is begun")
            self._open()
            self._flush(self.states())

    def _let_go(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
        if self._lock is not None:
            os.close(self._lock)
        self._db = self._lock = None

    def _open(self) -> None:
        """The folder, the lock, the file; what is in it where nothing is known yet."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._lock is None:
            self._lock = lock.hold(self._folder)
        db = schema.connect(self._folder / schema.FILE)
        try:
            self._read(db)
            db.execute(LEFT)
        except BaseException:  # an interrupt too: nobody else knows of it yet
            db.close()
            raise
        self._db, self._version, self._inode = db, -1, (self._folder / schema.FILE).stat().st_ino
        self._new = True

    def _remember(self) -> None:
        """Of a journal that can be read and not written, the states."""
        file = self._folder / schema.FILE
        with contextlib.suppress(sqlite3.Error, OSError), contextlib.closing(schema.connect_read_only(file)) as db:
            self._read(db)

    def _read(self, db: sqlite3.Connection) -> None:
        """The states; what is known already is newer than what is in a file."""
        for machine, kind, text in db.execute("SELECT machine, kind, kept FROM alarms"):
            try:
                self._known.setdefault((machine, kind), msgspec.json.decode(text, type=Kept))
            except msgspec.MsgspecError as error:
                self._warn(f"warning: {self._folder}: {machine}, {kind}: {error}; it begins as normal")


def _json(told: Kept | Beat | Listened) -> str:
    return msgspec.json.encode(told).decode()
