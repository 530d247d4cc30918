"""The journal on disks and files as they are: full, read-only, broken, replaced; the listening goes on."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import time

import msgspec
import pytest

from edge_runtime.alarm import Kept
from edge_runtime.journal import Listened, Recorded, Spell, Visitor, journal, schema
from tests.edge_runtime.journals import AT, BEAT, LOUD, RAISED, SEEN, ask, start

# Files that are no journal


def newer(file):
    db = sqlite3.connect(file)
    db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    db.close()


def of_something_else(file):
    db = sqlite3.connect(file)
    db.execute(f"PRAGMA user_version = {schema.VERSION}")
    db.close()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: file.write_bytes(b"not a database, by far" * 100), "file is not a database"),
        (lambda file: file.mkdir(), "it cannot be read"),
        (newer, f"it is of version {schema.VERSION + 1}"),
        (of_something_else, "no such table"),
    ],
)
def test_a_file_that_is_no_journal_is_set_aside_and_listening_goes_on(open_journal, tmp_path, said, spoil, words):
    spoil(tmp_path / "journal.db")
    opened = open_journal(tmp_path)
    assert (
        len(said) == 1 and words in said[0] and said[0].endswith("set aside as journal.db.aside-1, a new one is begun")
    )
    opened.record(LOUD, RAISED, AT)
    assert len(Visitor(tmp_path).history(9)) == 1 and (tmp_path / "journal.db.aside-1").exists()


@pytest.mark.parametrize("spared", [0, 4096])  # with its header, or without
def test_a_file_that_breaks_while_it_is_used_is_set_aside_and_every_state_is_in_the_new_one(
    open_journal, tmp_path, said, spared
):
    opened = open_journal(tmp_path)
    opened.record(LOUD, RAISED, AT)
    opened.beat(BEAT, [LOUD, Kept("pump", "anomaly")], AT.utc_s)
    opened._file.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = (tmp_path / "journal.db").stat().st_size
    with (tmp_path / "journal.db").open("r+b") as file:
        file.seek(spared)
        file.write(os.urandom(size - spared))
    opened.beat(BEAT, [LOUD], AT.utc_s)
    opened.record(Kept("fan", "anomaly", "acknowledged", "alarm"), SEEN, AT)
    assert ["set aside as journal.db.aside-1" in line for line in said] == [True]
    visitor = Visitor(tmp_path)
    assert visitor.states() == [Kept("fan", "anomaly", "acknowledged", "alarm"), Kept("pump", "anomaly")]
    assert [one.cause for one in visitor.history(9)] == ["acknowledge"]


def test_a_state_that_cannot_be_is_said_and_begins_as_normal(open_journal, tmp_path, said):
    first = open_journal(tmp_path)
    first.record(LOUD, RAISED, AT)
    first._file.db.execute(
        """UPDATE alarms SET kept = '{"machine": "fan", "kind": "anomaly", "state": "normal", "level": "alarm"}'"""
    )
    first.close()
    assert open_journal(tmp_path).states() == []
    assert len(said) == 1 and "normal with the level alarm" in said[0]


def test_an_older_file_becomes_one_of_today(open_journal, tmp_path, monkeypatch):
    first = open_journal(tmp_path)
    first.record(LOUD, RAISED, AT)
    first.close()
    more = [*schema.MIGRATIONS, "CREATE TABLE scores (at_s REAL);\nALTER TABLE alarms ADD COLUMN more TEXT;\n"]
    monkeypatch.setattr(schema, "MIGRATIONS", more)
    monkeypatch.setattr(schema, "VERSION", len(more))
    second = open_journal(tmp_path)
    assert second.states() == [LOUD]
    assert second._file.db.execute("SELECT count(*) FROM scores").fetchone() == (0,)
    assert schema.version(second._file.db) == len(more)


def test_a_file_of_version_1_keeps_its_alarms_their_history_and_what_people_asked(open_journal, tmp_path, said):
    db = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    for statement in schema.MIGRATIONS[0].split(";\n"):
        db.execute(statement)
    db.execute("PRAGMA user_version = 1")
    db.execute("INSERT INTO alarms VALUES ('fan', 'anomaly', ?)", (msgspec.json.encode(LOUD).decode(),))
    values = (AT.time, "", 1.0, *msgspec.structs.astuple(RAISED), 12.5, "a tone")
    db.execute(f"INSERT INTO changes VALUES (1, {', '.join('?' * len(values))})", values)
    db.execute("INSERT INTO beat VALUES (1, 7, '2026-01-01T00:00:00+00:00', 5.0, '[]')")
    db.close()
    ask(tmp_path)
    opened = open_journal(tmp_path)
    assert opened.states() == [LOUD] and said == []
    visitor = Visitor(tmp_path)
    assert [one.reason for one in visitor.history(9)] == ["a tone"]
    assert visitor.beat() is None  # of a process that is gone
    (answer,) = visitor._db.execute("SELECT answer FROM requests").fetchone()
    assert answer == "nobody listened: nothing is done"


def test_a_file_that_is_begun_anew_knows_what_is_listened_to_and_recorded(open_journal, tmp_path, said):
    machine = Listened("fan", "fan.bundle", "left", "usb:1:2", 3.0, None, "1 %", 9.98, 0.992)
    event = Recorded("20270115T080000Z-fan", "fan", "anomaly", "alarm", AT.time, "", 4.0, "a tone", 30.0, 100_000)
    opened = open_journal(tmp_path)
    opened.listened([machine], [event])
    opened.beat(BEAT, [LOUD], AT.utc_s)
    second = msgspec.structs.replace(event, id="20270115T090000Z-fan", time="2027-01-15T09:00:00+00:00")
    opened.recorded(second)
    opened.removed(event.id)
    opened.noted(AT.time, "microphone left", "it is heard again")
    opened.beat(BEAT, [LOUD], AT.utc_s)
    visitor = Visitor(tmp_path)
    assert visitor.events(9) == [second] and [one.words for one in visitor.notices(9)] == ["it is heard again"]
    for file in tmp_path.glob("journal.db*"):
        file.unlink()
    opened.beat(BEAT, [LOUD], AT.utc_s)
    visitor = Visitor(tmp_path)
    assert (visitor.machines(), visitor.events(9), visitor.states()) == ([machine], [second], [LOUD])


def test_what_is_recorded_and_told_outlives_an_outage_however_much_else_waits(
    open_journal, tmp_path, monkeypatch, said
):
    event = Recorded("20270115T080000Z-fan", "fan", "anomaly", "alarm", AT.time, "", 4.0, "a tone", 30.0, 100_000)
    others = [msgspec.structs.replace(event, id=f"20270115T{number:06d}Z-fan") for number in range(3)]
    opened = open_journal(tmp_path)
    opened.listened([], others[:2])
    assert opened.beat(BEAT, [], AT.utc_s)
    with monkeypatch.context() as until:
        until.setattr(opened._file, "transaction", lambda *_, **__: (_ for _ in ()).throw(OSError("no disk")))
        opened.recorded(event)
        opened.removed(others[0].id)
        opened.noted(AT.time, "disk", "it is full")
        opened.spells([Spell("fan", 60.0 * each, 60.0, 60) for each in range(2 * journal.WAITING)])
        assert not opened.beat(msgspec.structs.replace(BEAT, pid=7), [], AT.utc_s)
    opened.recorded(others[2])
    visitor = Visitor(tmp_path)
    assert {one.id for one in visitor.events(9)} == {event.id, others[1].id, others[2].id}
    assert [one.words for one in visitor.notices(9)] == ["it is full"] and visitor.beat().pid == 7
    assert len(visitor.scores("fan", 0.0, 1e9)) == journal.WAITING and not opened._spells


def test_a_migration_that_fails_changes_nothing(open_journal, tmp_path, monkeypatch, said):
    open_journal(tmp_path).close()
    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, "CREATE TABLE scores (at_s REAL);\nnonsense;\n"])
    before = schema.VERSION
    monkeypatch.setattr(schema, "VERSION", before + 1)
    open_journal(tmp_path)
    db = sqlite3.connect(tmp_path / "journal.db")
    assert schema.version(db) == before and "syntax error" in said[0]
    assert db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'scores'").fetchone() == (0,)


# Disks


def in_a_small_disk(folder, how):
    """Run the process with a disk of its own of 300 kB; skips where that is not allowed."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("a file system of one's own needs user namespaces")
    folder.mkdir()
    words = f'mount -t tmpfs -o size=300k none "{folder}" && exec "$0" "$@"'
    process = start(folder, how, "unshare", "-rm", "sh", "-c", words)
    return process, *process.communicate(timeout=60)


def test_a_full_disk_is_said_once_and_again_when_it_is_over(tmp_path):
    process, out, error = in_a_small_disk(tmp_path / "disk", "full")
    assert process.returncode == 0 and out == "listening goes on\n"
    one, two = error.splitlines()
    assert "the journal cannot be written (database or disk is full); listening goes on" in one
    assert two.endswith("the journal is written again")


def test_what_could_not_be_written_is_written_when_it_can(tmp_path):
    process = start(tmp_path, "limit")
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0 and out == "listening goes on\n"
    assert ["cannot be written" in line for line in error.splitlines()] == [True, False]
    visitor = Visitor(tmp_path)
    states = {(kept.machine, kept.kind): kept.state for kept in visitor.states()}
    assert states == {
        ("fan", "anomaly"): "latched_unacknowledged",
        ("pump", "not_listening"): "returned_unacknowledged",
        ("pump", "anomaly"): "unacknowledged",
    } | {("fan", "not_listening"): "normal"}
    history = visitor.history(1000)
    assert len(history) == 1 + 80 + 2  # none is lost, and none is there twice
    assert [one.level for one in history[-2:]] == ["warning", "alarm"]


def test_a_journal_that_can_only_be_read_gives_its_states(tmp_path, open_journal):
    folder = tmp_path / "before"
    first = open_journal(folder)
    first.record(LOUD, RAISED, AT)
    first.close()
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("a file system of one's own needs user namespaces")
    disk = tmp_path / "disk"
    disk.mkdir()
    words = f'mount -t tmpfs -o size=900k none "{disk}" && cp "{folder}"/* "{disk}" && exec "$0" "$@"'
    out, error = start(disk, "locked", "unshare", "-rm", "sh", "-c", words).communicate(timeout=60)
    assert out.split() == ["unacknowledged"] * 3  # of before, raised since, and as another process reads it
    assert ["cannot be written" in line for line in error.splitlines()] == [True]


def test_a_folder_that_cannot_be_made_does_not_stop_the_listening(open_journal, tmp_path, said):
    (tmp_path / "file").write_text("")
    opened = open_journal(tmp_path / "file" / "state")
    opened.record(LOUD, RAISED, AT)
    assert opened.requests() == [] and opened.states() == [LOUD]
    opened.beat(BEAT, [LOUD], AT.utc_s)
    assert len(said) == 1 and "cannot be written" in said[0]


def test_another_process_in_the_middle_of_a_transaction_holds_nothing_up(open_journal, tmp_path, said):
    opened = open_journal(tmp_path)
    other = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    opened.record(LOUD, RAISED, AT)
    assert time.monotonic() - began < 2.0  # WAIT_S is 0.2
    other.execute("ROLLBACK")
    opened.beat(BEAT, [LOUD], AT.utc_s)
    assert len(Visitor(tmp_path).history(9)) == 1
    assert ["database is locked" in line for line in said] == [True, False]


def test_changes_that_wait_and_rows_that_are_kept_are_bounded(open_journal, tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "CHANGES", 30)
    opened = open_journal(tmp_path)
    opened.close()  # nothing can be written any more …
    monkeypatch.setattr(schema, "connect", lambda file: (_ for _ in ()).throw(OSError("no disk")))
    for _ in range(journal.WAITING + 50):
        opened.record(LOUD, RAISED, AT)
    monkeypatch.undo()
    monkeypatch.setattr(journal, "CHANGES", 30)
    assert len(opened._waiting) == journal.WAITING
    opened.record(LOUD, SEEN, AT)  # … and now it can
    history = Visitor(tmp_path).history(10_000)
    assert len(history) == 30 and history[-1].cause == "acknowledge" and not opened._waiting


@pytest.mark.parametrize("replaced", [False, True])
def test_a_folder_that_is_emptied_under_the_listener_is_filled_again_with_the_next_beat(
    open_journal, tmp_path, said, replaced
):
    opened = open_journal(tmp_path)
    opened.record(LOUD, RAISED, AT)
    for file in tmp_path.iterdir():
        file.unlink()
    if replaced:
        of_something_else(tmp_path / "journal.db")
    opened.beat(BEAT, [LOUD], AT.utc_s)
    visitor = Visitor(tmp_path)
    assert visitor.states() == [LOUD] and visitor.listener() == os.getpid()
    assert "somebody removed or replaced it" in said[0] and said[-1].endswith("the journal is written again")
    ask(tmp_path)
    assert len(opened.requests()) == 1


def test_what_only_the_log_holds_is_read_where_nothing_can_be_written(open_journal, tmp_path):
    """As after a lost supply: the log is there, the file that readers share is not, and the disk is read-only."""
    open_journal(tmp_path).record(LOUD, RAISED, AT)
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("journal.db", "journal.db-wal"):
        shutil.copyfile(tmp_path / name, copy / name)
    with contextlib.closing(schema.connect_read_only(copy / "journal.db")) as db:
        assert db.execute("SELECT state FROM changes").fetchall() == [("unacknowledged",)]
