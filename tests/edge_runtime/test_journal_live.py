"""How everything is right now: in memory, whole at any moment, and honest when nobody writes it any more."""

import os
import subprocess
import threading
import time

import msgspec
import pytest

from edge_runtime.journal import Visitor, live
from edge_runtime.journal.live import Live
from tests.edge_runtime.journals import AT, BEAT, start

HERE = msgspec.structs.replace(BEAT, pid=os.getpid())


@pytest.fixture
def shown(tmp_path):
    one = Live(tmp_path)
    yield one
    one.close()


def test_it_lies_in_memory_and_the_state_folder_leads_to_it(shown, tmp_path):
    assert shown.due(0.0)
    shown.show(BEAT)
    assert live.read(tmp_path) == BEAT
    assert (tmp_path / "live.json").resolve().parent == live.MEMORY
    assert not shown.due(BEAT.monotonic_s + 0.9) and shown.due(BEAT.monotonic_s + 1.0)


def test_under_systemd_it_lies_in_the_runtime_directory(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    one = Live(tmp_path)
    one.show(BEAT)
    assert (tmp_path / "live.json").resolve().parent == tmp_path / "run" and live.read(tmp_path) == BEAT
    one.close()
    assert list((tmp_path / "run").iterdir()) == [] and not (tmp_path / "live.json").is_symlink()


def test_where_memory_cannot_be_used_there_is_none_and_the_journal_tells(open_journal, tmp_path, monkeypatch):
    monkeypatch.setattr(live, "MEMORY", tmp_path / "not there")
    one = Live(tmp_path)
    one.show(HERE)
    assert not one.due(1e9) and live.read(tmp_path) is None
    beat = msgspec.structs.replace(HERE, monotonic_s=time.monotonic() - 70.0)
    open_journal(tmp_path).beat(beat, [], AT.utc_s)
    sign = Visitor(tmp_path).sign()
    assert sign.fresh and sign.beat == beat  # a minute may pass between two on the disk


def test_a_reader_never_sees_half_of_it(shown, tmp_path):
    many = msgspec.structs.replace(BEAT, machines=BEAT.machines * 500)
    shown.show(many)
    over = threading.Event()
    writer = threading.Thread(target=lambda: [shown.show(many) for _ in iter(over.is_set, True)])
    writer.start()
    found = [live.read(tmp_path) for _ in range(200)]
    over.set()
    writer.join()
    assert all(one == many for one in found)


def test_who_hangs_for_ten_seconds_is_not_taken_for_somebody_who_listens(open_journal, shown, tmp_path):
    open_journal(tmp_path)
    for quiet_s, fresh in ((9.0, True), (11.0, False)):
        shown.show(msgspec.structs.replace(HERE, monotonic_s=time.monotonic() - quiet_s))
        sign = Visitor(tmp_path).sign()
        assert sign.listener == os.getpid() and sign.fresh is fresh and sign.quiet_s >= quiet_s


def test_a_sign_of_life_of_before_the_computer_began_anew_is_not_taken_for_now(open_journal, shown, tmp_path):
    beat = msgspec.structs.replace(HERE, monotonic_s=time.monotonic() + 5000.0)
    open_journal(tmp_path).beat(beat, [], AT.utc_s)
    sign = Visitor(tmp_path).sign()
    assert (sign.listener, sign.quiet_s, sign.fresh) == (os.getpid(), None, False)


def test_what_a_dead_process_left_in_memory_is_not_taken_for_now(shown, tmp_path):
    process = start(tmp_path, "serve", stdin=subprocess.PIPE)
    assert process.stdout.readline() == "ready\n"
    shown.show(HERE)  # of another than the one that listens
    sign = Visitor(tmp_path).sign()
    assert sign.fresh and sign.beat.pid == process.pid
    process.kill()
    process.communicate()
    sign = Visitor(tmp_path).sign()
    assert (sign.listener, sign.fresh, sign.quiet_s) == (None, False, None) and sign.beat.pid == process.pid


@pytest.mark.parametrize("left", [b"", b"{", b"[]", b'{"pid": 1}'])
def test_a_file_that_is_none_of_ours_is_none(tmp_path, left):
    (tmp_path / "live.json").write_bytes(left)
    assert live.read(tmp_path) is None
