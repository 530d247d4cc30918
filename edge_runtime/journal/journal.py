"""The journal of the process that listens. Nothing that goes wrong with it stops the listening."""

import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from edge_runtime.alarm.words import Change, Kept
from edge_runtime.cli import say
from edge_runtime.journal import spells
from edge_runtime.journal.file import File
from edge_runtime.journal.rows import Beat, Entry, Listened, Moment, Recorded, Request, Spell
from edge_runtime.journal.steady import Steady

BEAT_S = 60.0  # seconds between signs of life, for SD cards live by what is not written; `live` tells the rest
RETRY_S = 1.0  # seconds before requests are looked for again, where that failed
WAITING = 1000  # changes, and minutes, that wait in memory while they cannot be written; then the oldest are lost
CHANGES, REQUESTS, NOTICES = 100_000, 1000, 1000  # rows that are kept
ENTRY = [name for name in Entry.__struct_fields__ if name != "number"]
INSERT = f"INSERT INTO changes ({', '.join(ENTRY)}) VALUES ({', '.join(':' + name for name in ENTRY)})"
KEEP = "INSERT OR REPLACE INTO alarms (machine, kind, kept) VALUES (?, ?, ?)"
RECORDED = f"INSERT OR REPLACE INTO events VALUES ({', '.join('?' * len(Recorded.__struct_fields__))})"
Values = tuple[object, ...]
ASKED = "SELECT action, machine, kind, who, why, seconds, number FROM requests WHERE taken = 0 ORDER BY number"


class Journal:
    """Alarm states and their history, written before anything else is told; requests of people.

    What cannot be written (a full disk, a read-only folder) waits in memory and is tried again with the next change
    and the next beat. A file that is no journal is set aside and a new one begun from what is known.
    """

    def __init__(self, folder: str | Path, warn: Callable[[str], None] = say) -> None:
        self._warn = warn
        self._known: dict[tuple[str, str], Kept] = {}
        self._waiting: deque[dict[str, object]] = deque(maxlen=WAITING)
        self._spells: deque[Values] = deque(maxlen=WAITING)  # rows that the next transaction writes, too
        self._notices: deque[Values] = deque(maxlen=NOTICES)
        self._sign: Beat | None = None  # the last one, until it is written
        self._machines: list[Listened] = []
        self._events: dict[str, Recorded] = {}
        self._changed: set[str] = set()  # events whose row is not as it should be
        self._told = 0  # which of the files has been told everything that is known
        self._version = -1  # of the file, as other processes have changed it
        self._steady = Steady()
        self._asked_s = self._beat_s = float("-inf")
        self._file = File(Path(folder), warn, self._read, lambda: self._flush([]))
        with self._file.trying():
            self._file.open()
        if self._file.db is None:
            self._file.remember()

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
        db = self._file.db
        if db is None or time.monotonic() < self._asked_s:
            return []
        self._asked_s = time.monotonic() + RETRY_S
        taken: list[Request] = []
        with self._file.trying():
            version = db.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version:
                taken, self._version = self._take(), version
            self._asked_s = float("-inf")
        return taken

    def answer(self, request: Request, words: str, refused: bool) -> None:
        """Tell who asked what has become of it."""
        if self._file.db is None:
            return
        with self._file.trying(), self._file.transaction() as db:
            db.execute("UPDATE requests SET answer = ?, refused = ? WHERE number = ?", (words, refused, request.number))
            db.execute("DELETE FROM requests WHERE number <= ?", (request.number - REQUESTS,))

    def listened(self, machines: Sequence[Listened], events: Sequence[Recorded] = ()) -> None:
        """What is listened to from now on, and every event folder that there is."""
        self._machines, self._events, self._told = list(machines), {one.id: one for one in events}, 0

    def spells(self, over: Sequence[Spell]) -> None:
        """What was heard; with the next sign of life it is written, and the last minute may be lost with the power."""
        self._spells.extend(spells.row(spell) for spell in over)

    def noted(self, time: str, about: str, words: str) -> None:
        """One line for people; written with the next sign of life."""
        self._notices.append((time, about, words))

    def recorded(self, one: Recorded) -> None:
        """An event folder that is new, or has changed."""
        self._events[one.id] = one
        self._changed.add(one.id)
        self._flush([])

    def removed(self, event: str) -> None:
        """An event folder that is gone."""
        self._events.pop(event, None)
        if not self._file.broken:  # else all of them are written anew, once something is
            self._changed.add(event)

    def due(self, now_s: float) -> bool:
        """Is it time for a sign of life?"""
        return now_s >= self._beat_s + BEAT_S

    def beat(self, beat: Beat, kept: Sequence[Kept], utc_s: float) -> bool:
        """A sign of life and every alarm as it is now (of a shelf: what is left); what waits is tried again.

        -> whether it is written, and all that was told before it.
        """
        self._beat_s = beat.monotonic_s
        self._file.refresh()
        self._known |= {(one.machine, one.kind): one for one in kept}
        self._sign = beat
        self._flush(kept)
        trusted = self._steady.at(beat.monotonic_s, utc_s, beat.clock)
        if trusted is not None and self._file.db is not None:
            with self._file.trying(), self._file.transaction(safe=False) as db:
                spells.thin(db, trusted)
        return self._sign is None

    def close(self) -> None:
        """Try once more to write what waits; give file and folder back."""
        if self._waiting or self._spells or self._notices or self._changed or self._sign:
            self._flush(self.states())
        self._file.close()

    def _take(self) -> list[Request]:
        """Requests that nobody withdraws any more; one that no visitor of ours can have written is refused."""
        found: list[Request] = []
        with self._file.transaction() as db:
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

    def _flush(self, kept: Sequence[Kept]) -> None:
        """One transaction: the changes that wait, states, and what may come later. A new file is told everything."""
        with self._file.trying():
            if self._file.db is None:
                self._file.open()
            new = self._told != self._file.opened or self._file.broken
            with self._file.transaction(safe=bool(self._waiting)) as db:
                db.executemany(INSERT, self._waiting)
                everything = self.states() if new else kept
                db.executemany(KEEP, [(one.machine, one.kind, _json(one)) for one in everything])
                if new:
                    self._restate(db)
                self._write(db)
            for written in (self._waiting, self._spells, self._notices, self._changed):
                written.clear()
            self._sign, self._told = None, self._file.opened
            self._file.written()

    def _write(self, db: sqlite3.Connection) -> None:
        """All that waits but the changes, within what is kept."""
        if self._waiting:
            db.execute("DELETE FROM changes WHERE number <= (SELECT max(number) FROM changes) - ?", (CHANGES,))
        db.executemany(spells.INSERT, self._spells)
        db.executemany("INSERT INTO notices (time, about, words) VALUES (?, ?, ?)", self._notices)
        db.execute("DELETE FROM notices WHERE number <= (SELECT max(number) FROM notices) - ?", (NOTICES,))
        db.executemany("DELETE FROM events WHERE id = ?", [(one,) for one in self._changed - self._events.keys()])
        rows = [msgspec.structs.astuple(self._events[one]) for one in self._changed & self._events.keys()]
        db.executemany(RECORDED, rows)
        if self._sign is not None:
            db.execute("INSERT OR REPLACE INTO beat VALUES (1, ?)", (_json(self._sign),))

    def _restate(self, db: sqlite3.Connection) -> None:
        """What is listened to and recorded, to a file that may know something else, or nothing."""
        db.execute("DELETE FROM machines")
        db.executemany("INSERT INTO machines VALUES (?, ?)", [(one.machine, _json(one)) for one in self._machines])
        db.execute("DELETE FROM events")
        db.executemany(RECORDED, [msgspec.structs.astuple(one) for one in self._events.values()])

    def _read(self, db: sqlite3.Connection) -> None:
        """The states; what is known already is newer than what is in a file. Nobody waits for an answer any more."""
        for machine, kind, text in db.execute("SELECT machine, kind, kept FROM alarms"):
            try:
                self._known.setdefault((machine, kind), msgspec.json.decode(text, type=Kept))
            except msgspec.MsgspecError as error:
                self._warn(f"warning: {self._file.folder}: {machine}, {kind}: {error}; it begins as normal")
        self._version = -1


def _json(told: Kept | Beat | Listened) -> str:
    return msgspec.json.encode(told).decode()
