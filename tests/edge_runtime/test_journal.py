"""The journal: whole after kill -9 at any moment, one listener a folder, and no disk that stops the listening."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_runtime.alarm import AlarmSettings, Change, Kept
from edge_runtime.errors import ConfigError
from edge_runtime.journal import Heard, Journal, Moment, Request, Visitor, journal, schema
from edge_runtime.panel import Panel

PROCESS = str(Path(__file__).with_name("journal_process.py"))
AT = Moment(100.0, 1.8e9, 12.5, "unset")
RAISED = Change("fan", "anomaly", "normal", "unacknowledged", "alarm", "raise", "auscult", "")
SEEN = Change("fan", "anomaly", "unacknowledged", "acknowledged", "alarm", "acknowledge", "ann", "on my way")
LOUD = Kept("fan", "anomaly", "unacknowledged", "alarm")


def start(folder, how, *before, **more):
    words = [*before, sys.executable, PROCESS, str(folder), how]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


@pytest.fixture
def said():
    return []


@pytest.fixture
def open_journal(said):
    """Opens journals and closes them with the test."""
    opened = []

    def give(folder):
        opened.append(Journal(folder, said.append))
        return opened[-1]

    yield give
    for one in opened:
        one.close()


def test_states_and_history_are_there_after_a_restart(open_journal, tmp_path, said):
    first = open_journal(tmp_path / "made" / "here")
    first.record(LOUD, RAISED, AT, 12.5, "1.9-2.3 kHz, 14 dB above normal")
    first.record(Kept("fan", "anomaly", "acknowledged", "alarm"), SEEN, AT)
    first.close()
    assert open_journal(tmp_path / "made" / "here").states() == [Kept("fan", "anomaly", "acknowledged", "alarm")]
    visitor = Visitor(tmp_path / "made" / "here")
    one, two = visitor.history(10)
    assert (one.number, one.time, one.clock, one.at_s) == (1, "2027-01-15T08:00:00.000+00:00", "unset", 12.5)
    assert (one.cause, one.who, one.score, one.reason) == ("raise", "auscult", 12.5, "1.9-2.3 kHz, 14 dB above normal")
    assert (two.before, two.state, two.level) == ("unacknowledged", "acknowledged", "alarm")
    assert (two.who, two.why, two.score) == ("ann", "on my way", None)
    assert visitor.history(1) == [two] and said == []


def test_after_kill_9_at_any_moment_every_change_that_was_told_is_there_with_its_state(tmp_path):
    """20 lives of one journal, each ended between 0 and 60 ms after its first change."""
    moments, changes = random.Random(6), 0
    for _ in range(20):
        process = start(tmp_path, "write")
        assert process.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0.0, 0.06))
        process.send_signal(signal.SIGKILL)
        told = len(process.communicate()[0].split())
        visitor = Visitor(tmp_path)
        history = visitor.history(1_000_000)
        assert told <= len(history) - changes <= told + 1  # the last may have been written and not told
        changes = len(history)
        if history:
            (kept,) = visitor.states()
            assert (kept.state, kept.level) == (history[-1].state, history[-1].level)
        assert [one.before for one in history[1:]] == [one.state for one in history[:-1]]
        assert visitor.listener() is None  # the lock went with the process
        visitor.close()
    assert changes > 50


def test_only_one_process_listens_for_a_folder_and_the_second_is_told_its_pid(tmp_path):
    first = start(tmp_path, "serve", stdin=subprocess.PIPE)
    assert first.stdout.readline() == "ready\n"
    assert Visitor(tmp_path).listener() == first.pid
    with pytest.raises(ConfigError, match=f"process {first.pid} listens here already"):
        Journal(tmp_path)
    second = start(tmp_path, "serve", stdin=subprocess.PIPE)
    _, error = second.communicate("", timeout=20)
    assert second.returncode == 2 and f"process {first.pid} listens here already" in error
    first.communicate("", timeout=20)
    assert Visitor(tmp_path).listener() is None
    Journal(tmp_path).close()


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


def test_a_file_that_breaks_while_it_is_used_is_set_aside_and_every_state_is_in_the_new_one(
    open_journal, tmp_path, said
):
    opened = open_journal(tmp_path)
    opened.record(LOUD, RAISED, AT)
    opened.beat(AT, [], [LOUD, Kept("pump", "anomaly")])
    opened._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = (tmp_path / "journal.db").stat().st_size
    with (tmp_path / "journal.db").open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    other = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    other.execute("PRAGMA user_version = 1")  # so that the listener reads the pages again
    other.close()
    opened.record(Kept("fan", "anomaly", "acknowledged", "alarm"), SEEN, AT)
    assert ["set aside as journal.db.aside-1" in line for line in said] == [True]
    visitor = Visitor(tmp_path)
    assert visitor.states() == [Kept("fan", "anomaly", "acknowledged", "alarm"), Kept("pump", "anomaly")]
    assert [one.cause for one in visitor.history(9)] == ["acknowledge"]


def test_a_state_that_cannot_be_is_said_and_begins_as_normal(open_journal, tmp_path, said):
    first = open_journal(tmp_path)
    first.record(LOUD, RAISED, AT)
    first._db.execute(
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
    assert second._db.execute("SELECT count(*) FROM scores").fetchone() == (0,)
    assert schema.version(second._db) == len(more)


def test_a_migration_that_fails_changes_nothing(open_journal, tmp_path, monkeypatch, said):
    open_journal(tmp_path).close()
    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, "CREATE TABLE scores (at_s REAL);\nnonsense;\n"])
    monkeypatch.setattr(schema, "VERSION", 2)
    open_journal(tmp_path)
    db = sqlite3.connect(tmp_path / "journal.db")
    assert schema.version(db) == 1 and "syntax error" in said[0]
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
    assert out.split() == ["unacknowledged", "unacknowledged"]
    assert ["cannot be written" in line for line in error.splitlines()] == [True]


def test_a_folder_that_cannot_be_made_does_not_stop_the_listening(open_journal, tmp_path, said):
    (tmp_path / "file").write_text("")
    opened = open_journal(tmp_path / "file" / "state")
    opened.record(LOUD, RAISED, AT)
    assert opened.requests() == [] and opened.states() == [LOUD]
    opened.beat(AT, [], [LOUD])
    assert len(said) == 1 and "cannot be written" in said[0]


def test_another_process_in_the_middle_of_a_transaction_holds_nothing_up(open_journal, tmp_path, said):
    opened = open_journal(tmp_path)
    other = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    opened.record(LOUD, RAISED, AT)
    assert time.monotonic() - began < 2 * schema.WAIT_S
    other.execute("ROLLBACK")
    opened.beat(AT, [], [LOUD])
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
    opened.beat(AT, [], [LOUD])
    visitor = Visitor(tmp_path)
    assert visitor.states() == [LOUD] and visitor.listener() == os.getpid()
    assert "somebody removed or replaced it" in said[0] and said[-1].endswith("the journal is written again")
    ask(tmp_path)
    assert len(opened.requests()) == 1


# Requests


def ask(folder, action="acknowledge", machine="fan"):
    db = sqlite3.connect(folder / "journal.db", isolation_level=None)
    db.execute(
        "INSERT INTO requests (action, machine, kind, who, why, made) VALUES (?, ?, 'anomaly', 'ann', '', '')",
        (action, machine),
    )
    db.close()


def test_a_request_is_told_once(open_journal, tmp_path):
    opened = open_journal(tmp_path)
    assert opened.requests() == []
    ask(tmp_path)
    ask(tmp_path, "reset")
    assert [(one.action, one.number) for one in opened.requests()] == [("acknowledge", 1), ("reset", 2)]
    assert opened.requests() == []


def test_what_was_asked_when_nobody_listened_is_never_done(open_journal, tmp_path):
    open_journal(tmp_path).close()
    ask(tmp_path)
    opened = open_journal(tmp_path)
    assert opened.requests() == []
    assert opened._db.execute("SELECT answer, refused FROM requests").fetchone() == (
        "nobody listened: nothing is done",
        1,
    )


def test_what_no_command_can_have_asked_is_refused(open_journal, tmp_path):
    opened = open_journal(tmp_path)
    ask(tmp_path, "explode")
    assert opened.requests() == []
    answer, refused = opened._db.execute("SELECT answer, refused FROM requests").fetchone()
    assert "explode" in answer and refused == 1


def test_a_request_that_cannot_be_taken_now_is_told_later_and_once(open_journal, tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "RETRY_S", 0.05)
    opened = open_journal(tmp_path)
    ask(tmp_path)
    other = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert opened.requests() == []
    other.execute("ROLLBACK")
    time.sleep(0.1)
    assert [len(opened.requests()) for _ in range(3)] == [1, 0, 0]


def test_a_request_that_nobody_answers_is_taken_back(open_journal, tmp_path):
    opened = open_journal(tmp_path)  # holds the lock, and does not look
    visitor = Visitor(tmp_path)
    assert visitor.ask(Request("acknowledge", "fan", "anomaly", "ann"), 0.2) is None
    assert opened.requests() == []


def test_looking_for_requests_costs_less_than_a_millisecond(open_journal, tmp_path):
    opened = open_journal(tmp_path)
    opened.requests()
    best = min(timed(opened.requests) for _ in range(50))
    assert best < 1e-3  # measured: 6e-6 s; it is done 20 times a second


def timed(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


# The sign of life and the panel


def test_a_sign_of_life_is_due_every_ten_seconds_and_keeps_what_is_left_of_a_shelf(open_journal, tmp_path):
    opened = open_journal(tmp_path)
    panel = Panel({"fan": AlarmSettings()}, opened, AT)
    panel.pass_time(AT)
    panel.heard("fan", True, 3.5)
    panel.raised("fan", "anomaly", "alarm", AT)
    visitor = Visitor(tmp_path)
    assert visitor.beat().machines == [Heard("fan", "normal", "normal", False, None)]  # of the first moment
    panel.pass_time(Moment(109.9, 1.8e9))
    assert not visitor.beat().machines[0].listening
    panel._alarms["fan", "anomaly"].apply("shelve", "ann", "", 110.0, 1.8e9, 60.0)
    panel.pass_time(Moment(120.0, 1.8e9))
    assert visitor.beat().machines == [Heard("fan", "shelved", "alarm", True, 3.5)]
    assert {kept.kind: kept.shelf_left_s for kept in visitor.states()} == {"anomaly": 50.0, "not_listening": None}


def test_a_latched_alarm_is_latched_after_kill_9_and_until_somebody_resets_it(tmp_path):
    for wanted in ("normal", "latched_unacknowledged"):
        process = start(tmp_path, "serve", stdin=subprocess.PIPE)
        assert process.stdout.readline() == "ready\n"
        (kept,) = [kept for kept in Visitor(tmp_path).states() if (kept.machine, kept.kind) == ("fan", "anomaly")]
        assert kept.state == wanted
        for level in ("alarm", "normal") if wanted == "normal" else ():
            process.stdin.write(f"fan anomaly {level}\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"fan anomaly {level}\n"
        process.kill()
        process.communicate()
