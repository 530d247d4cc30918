"""The queue of a webhook: bounded, in order, and on the disk whatever ends the process."""

import os
import shutil
import tempfile
import zlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime import safe_file
from edge_runtime.outputs.outbox import Outbox
from edge_runtime.outputs.outbox_folder import MOST_ASIDE
from edge_runtime.outputs.worker import OutputError
from tests.edge_runtime.outboxes import numbered, numbers
from tests.edge_runtime.telling import status


@pytest.fixture
def lines():
    return []


@pytest.fixture
def opened(tmp_path, lines):
    """An outbox that has read what was there."""

    def open_(most=100, folder=tmp_path / "box"):
        outbox = Outbox(folder, most, lines.append)
        outbox.save()
        return outbox

    return open_


def test_what_waits_outlives_a_restart_in_order_and_before_what_is_newer(opened):
    outbox = opened()
    for number in range(5):
        outbox.put(numbered(number))
    outbox.save()
    again = opened()
    again.put(numbered(5))
    again.save()
    assert numbers(again) == [(number, 0) for number in range(6)]
    assert numbers(opened()) == []


def test_a_message_that_is_sent_before_it_is_saved_leaves_no_file(opened, tmp_path):
    outbox = opened()
    outbox.put(numbered(0))
    outbox.done(outbox.first())
    outbox.save()
    assert list((tmp_path / "box").glob("[0-9]*.json")) == []


def test_every_alarm_is_remembered_as_the_messages_that_are_safe_have_it(opened, tmp_path, lines):
    outbox = opened()
    assert outbox.seen is None
    outbox.stand([status(machine="fan"), status("acknowledged", machine="pump")])
    outbox.save()
    outbox.put(numbered(0))  # of the fan, and nothing more is saved than the message
    outbox.stand([status("unacknowledged", machine="fan"), status("acknowledged", machine="pump")])
    outbox._standing = outbox._stood
    outbox.save()
    assert {one.machine: one.state for one in opened().seen} == {"fan": "unacknowledged", "pump": "acknowledged"}
    (tmp_path / "box" / "standing.json").write_text("[{")
    assert opened().seen is None and "is damaged" in lines[0]
    assert opened().seen is None and len(lines) == 1


def test_a_message_that_is_sent_while_it_is_saved_leaves_no_file(opened, tmp_path, monkeypatch):
    outbox, write = opened(), safe_file.write

    def slow(path, data):
        write(path, data)
        while entry := outbox.first():  # the other thread is faster
            outbox.done(entry)

    monkeypatch.setattr(safe_file, "write", slow)
    for number in range(3):
        outbox.put(numbered(number))
    outbox.save()
    assert list((tmp_path / "box").glob("[0-9]*.json")) == [] and len(outbox) == 0


def test_when_it_is_full_the_oldest_goes_and_the_next_one_says_how_many(opened, tmp_path):
    outbox = opened(most=3)
    for number in range(8):
        outbox.put(numbered(number))
        outbox.save()
    assert len(outbox) == 3 == len(list((tmp_path / "box").glob("[0-9]*.json")))
    assert numbers(opened(most=3)) == [(5, 5), (6, 0), (7, 0)]


def test_a_message_that_is_on_its_way_is_not_dropped(opened):
    outbox = opened(most=2)
    outbox.put(numbered(0))
    sent = outbox.first()
    for number in range(1, 5):
        outbox.put(numbered(number))
    outbox.done(sent)
    assert numbers(outbox) == [(4, 3)]


def test_a_smaller_queue_of_today_drops_what_is_too_much(opened):
    outbox = opened(most=10)
    for number in range(10):
        outbox.put(numbered(number))
    outbox.save()
    assert numbers(opened(most=4)) == [(6, 6), (7, 0), (8, 0), (9, 0)]


def spoil(file, how):
    data = file.read_bytes()
    if how == "removed":
        file.unlink()
    elif how == "a folder":
        file.unlink()
        file.mkdir()
    else:
        file.write_bytes({"empty": b"", "half": data[: len(data) // 2], "zeros": bytes(len(data)),
                          "a bit": data.replace(b"hiss", b"hisr"), "another": b"{}"}[how])  # fmt: skip


@pytest.mark.parametrize("how", ["empty", "half", "zeros", "a bit", "another", "a folder", "removed"])
def test_a_damaged_message_is_set_aside_with_a_line_and_the_others_go_on(opened, tmp_path, lines, how):
    outbox = opened()
    for number in range(3):
        outbox.put(numbered(number))
    outbox.save()
    spoil(sorted((tmp_path / "box").glob("[0-9]*.json"))[1], how)
    assert numbers(opened()) == [(0, 0), (2, 0)]
    if how == "removed":
        return
    assert ["is damaged or cannot be read; set aside as" in line for line in lines] == [True]
    assert len(list((tmp_path / "box" / "aside").iterdir())) == 1
    opened()
    assert len(lines) == 1


def test_a_message_with_a_check_of_its_own_that_is_no_message_is_damaged(opened, tmp_path, lines):
    (tmp_path / "box").mkdir()
    data = b'{"change": 1}'
    (tmp_path / "box" / f"0000000001-0-{zlib.crc32(data):08x}.json").write_bytes(data)
    assert numbers(opened()) == [] and len(lines) == 1


def test_files_of_others_are_left_alone_and_half_written_ones_of_its_own_go(opened, tmp_path):
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "notes.txt").write_text("mine")
    (tmp_path / "box" / "0000000001-0-00000000.json.partial").write_text("{")
    assert numbers(opened()) == []
    assert [file.name for file in (tmp_path / "box").iterdir()] == ["notes.txt"]


def test_what_was_refused_is_kept_for_people_and_bounded(opened, tmp_path):
    outbox = opened()
    for number in range(MOST_ASIDE + 5):
        outbox.put(numbered(number))
        outbox.save()
        where = outbox.refuse(outbox.first(), "refused-422")
    aside = sorted((tmp_path / "box" / "aside").iterdir())
    assert len(aside) == MOST_ASIDE and where == aside[-1]
    assert msgspec.json.decode(where.read_bytes())["id"] == f"{MOST_ASIDE + 4:032d}"
    assert where.name.endswith(".refused-422") and len(outbox) == 0


def test_a_folder_that_is_removed_under_it_is_made_again_and_nothing_is_lost(opened, tmp_path):
    outbox = opened(most=3)
    for number in range(3):
        outbox.put(numbered(number))
    outbox.save()
    shutil.rmtree(tmp_path / "box")
    outbox.put(numbered(3))
    outbox.save()
    assert [number for number, _ in numbers(outbox)] == [1, 2, 3]


def test_a_place_that_is_none_is_an_error_of_the_disk_and_what_was_left_there_comes_first_when_it_is_one(tmp_path):
    before = Outbox(tmp_path / "kept", 10, print)
    before.save()
    before.put(numbered(0))
    before.save()
    (tmp_path / "box").write_text("a file")
    outbox = Outbox(tmp_path / "box", 10, print)
    outbox.put(numbered(1))
    with pytest.raises(OutputError, match="cannot be written"):
        outbox.save()
    assert outbox.first().message.id.endswith("1")  # it is not waited for
    outbox.release(outbox._waiting[0])
    (tmp_path / "box").unlink()
    (tmp_path / "kept").rename(tmp_path / "box")
    outbox.save()
    assert numbers(outbox) == [(0, 0), (1, 0)]


def test_a_file_is_synced_before_it_has_its_name_and_its_folder_after_it(opened, monkeypatch):
    outbox, done = opened(), []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: done.append(Path(f"/proc/self/fd/{fd}").readlink().suffix) or fsync(fd))
    monkeypatch.setattr(Path, "replace", lambda one, other: done.append(f"-> {other.suffix}") or replace(one, other))
    outbox.put(numbered(0))
    outbox.save()
    assert done[-3:] == [".partial", "-> .json", ""]


ACTIONS = st.lists(st.sampled_from(["put", "put", "put", "save", "sent", "failed", "refused", "crash"]), max_size=60)


@settings(max_examples=150, deadline=None)
@given(ACTIONS, st.integers(2, 5))
def test_any_sequence_keeps_order_bounds_and_the_count_of_what_is_missing(actions, most):
    """What is saved comes exactly once, or is counted as dropped right where it is missing."""
    with tempfile.TemporaryDirectory() as folder:
        outbox = Outbox(Path(folder), most, lambda line: pytest.fail(line))
        outbox.save()
        made, came, lost = 0, [], set()  # lost: with the memory, in a crash
        unsaved = set()
        for action in [*actions, "save", "crash", *["sent"] * most]:
            if action == "put":
                outbox.put(numbered(made))
                unsaved.add(made)
                made += 1
            elif action == "save":
                outbox.save()
                unsaved.clear()
            elif action == "crash":
                lost |= unsaved
                unsaved.clear()
                outbox = Outbox(Path(folder), most, lambda line: pytest.fail(line))
                outbox.save()
            elif entry := outbox.first():
                number = int(entry.message.id)
                if action == "failed":
                    outbox.release(entry)
                    continue
                came.append((number, entry.message.dropped))
                lost.discard(number)
                unsaved.discard(number)
                outbox.refuse(entry, "422") if action == "refused" else outbox.done(entry)
            assert len(outbox) <= most
            assert len(list(Path(folder).glob("[0-9]*.json"))) <= most + len(outbox._left)
        order = [number for number, _ in came]
        assert order == sorted(set(order))  # in order, none twice
        dropped = sum(count for _, count in came)
        assert dropped <= made - len(came) <= dropped + len(lost)
        if "crash" not in actions:
            assert dropped == made - len(came)
