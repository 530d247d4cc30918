"""The journal's file: its tables, and how an older file becomes one of today."""

import contextlib
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

FILE = "journal.db"
WAIT_S = 0.2  # seconds that a transaction waits for another process; the listening loop waits no longer than that

# Each brings a file from the version that is its place in this list to the next. Never change one; add another.
MIGRATIONS = [
    """
    CREATE TABLE alarms (
        machine TEXT NOT NULL, kind TEXT NOT NULL,
        kept TEXT NOT NULL,               -- JSON of edge_runtime.alarm.Kept
        PRIMARY KEY (machine, kind)
    );
    CREATE TABLE changes (
        number INTEGER PRIMARY KEY,
        time TEXT NOT NULL,               -- UTC, ISO 8601
        clock TEXT NOT NULL,              -- what is wrong with the wall clock, or ''
        at_s REAL NOT NULL,               -- seconds of sound since the start
        machine TEXT NOT NULL, kind TEXT NOT NULL,
        before TEXT NOT NULL, state TEXT NOT NULL, level TEXT NOT NULL,
        cause TEXT NOT NULL, who TEXT NOT NULL, why TEXT NOT NULL,
        score REAL, reason TEXT NOT NULL
    );
    CREATE TABLE requests (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        action TEXT NOT NULL, machine TEXT NOT NULL, kind TEXT NOT NULL, who TEXT NOT NULL, why TEXT NOT NULL,
        seconds REAL,                     -- to shelve for
        made TEXT NOT NULL,               -- UTC, ISO 8601
        taken INTEGER NOT NULL DEFAULT 0, -- 1: by the process that listens, nobody withdraws it any more
        refused INTEGER, answer TEXT      -- NULL: not answered
    );
    CREATE TABLE beat (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        pid INTEGER NOT NULL, time TEXT NOT NULL, monotonic_s REAL NOT NULL,
        machines TEXT NOT NULL            -- JSON array of edge_runtime.journal.Heard
    );
    """,
    """
    DROP TABLE beat;
    CREATE TABLE beat (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        told TEXT NOT NULL                -- JSON of edge_runtime.journal.Beat
    );
    CREATE TABLE machines (
        machine TEXT PRIMARY KEY,
        told TEXT NOT NULL                -- JSON of edge_runtime.journal.Listened
    );
    CREATE TABLE spells (
        number INTEGER PRIMARY KEY,
        machine TEXT NOT NULL,
        begin_s REAL NOT NULL,            -- UTC, seconds since 1970
        span_s REAL NOT NULL,
        scored INTEGER NOT NULL, unfit INTEGER NOT NULL, lost INTEGER NOT NULL, above INTEGER NOT NULL,
        lowest REAL, mean REAL, highest REAL,
        level_dbfs REAL,
        faults TEXT NOT NULL,             -- JSON: word -> windows
        scores BLOB NOT NULL              -- float32 little-endian of each window, NaN for one without; empty once old
    );
    CREATE INDEX spells_of ON spells (machine, begin_s);
    CREATE INDEX spells_age ON spells (span_s, begin_s);
    CREATE TABLE notices (
        number INTEGER PRIMARY KEY,
        time TEXT NOT NULL, about TEXT NOT NULL, words TEXT NOT NULL
    );
    CREATE TABLE events (
        id TEXT PRIMARY KEY,              -- name of the folder
        machine TEXT NOT NULL, kind TEXT NOT NULL, level TEXT NOT NULL,
        time TEXT NOT NULL, clock TEXT NOT NULL,
        score REAL, reason TEXT NOT NULL, seconds REAL NOT NULL, bytes INTEGER NOT NULL
    );
    """,
    """
    CREATE INDEX spells_whole ON spells (begin_s) WHERE scores != x'';
    CREATE INDEX changes_of ON changes (machine, number);
    """,
]
VERSION = len(MIGRATIONS)


class UnfitError(Exception):
    """A file that is no journal, or of a version that is not known here."""


def connect(file: Path) -> sqlite3.Connection:
    """Open or make a journal to write to; every commit is on the disk when it returns."""
    if file.exists() and not (file.is_file() and os.access(file, os.R_OK)):
        raise UnfitError("it cannot be read")
    db = sqlite3.connect(file, timeout=WAIT_S, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA journal_size_limit = 1000000")  # bytes of the log that are kept after it was worked off
        migrate(db)
    except BaseException:  # an interrupt too: nobody else knows of it yet
        db.close()
        raise
    return db


def connect_read_only(file: Path) -> sqlite3.Connection:
    """Open a journal where nothing can be written, not even the files beside it that readers need.

    A log beside it holds what is newer, and SQLite would pass it over: both are read from a copy, into memory.
    """
    log = file.with_name(f"{file.name}-wal")
    if not log.exists():
        return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    with tempfile.TemporaryDirectory() as folder:
        for one in (file, log):
            shutil.copyfile(one, Path(folder) / one.name)
        found = sqlite3.connect(":memory:", isolation_level=None)
        with contextlib.closing(sqlite3.connect(Path(folder) / file.name)) as copy:
            copy.backup(found)
    return found


def migrate(db: sqlite3.Connection) -> None:
    """From whatever version to today's, whole or not at all."""
    if version(db) == VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        found = version(db)
        if found > VERSION:
            raise UnfitError(f"it is of version {found}, this program knows {VERSION}")
        for script in MIGRATIONS[found:]:
            for statement in script.split(";\n"):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except BaseException:  # an interrupt too: half a migration is none
        db.execute("ROLLBACK")
        raise


def version(db: sqlite3.Connection) -> int:
    """Of the tables in a file; 0: none yet."""
    found: int = db.execute("PRAGMA user_version").fetchone()[0]
    return found


def unfit(error: Exception) -> bool:
    """Is it the file itself that cannot be used, rather than the disk or another process that is in the way?"""
    if isinstance(error, sqlite3.OperationalError):
        return "no such" in str(error) or "already exists" in str(error)  # tables of something else
    return type(error) is sqlite3.DatabaseError or isinstance(error, UnfitError)  # its children blame us, not the file


def set_aside(file: Path) -> Path:
    """Give a file and its log another name, so that a new one can be made."""
    number = 1
    while (aside := file.with_name(f"{file.name}.aside-{number}")).exists():
        number += 1
    file.rename(aside)
    for end in ("-wal", "-shm"):
        beside = file.with_name(file.name + end)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + end))
    return aside
