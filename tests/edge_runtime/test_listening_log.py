"""A log that says everything, and nothing twice."""

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.listening import log
from edge_runtime.listening.log import Log


class Clock:
    """Time that a test sets, in seconds."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def stream():
    return io.StringIO()


@pytest.fixture
def told(stream, clock):
    return Log(stream, clock, {})


def test_a_message_is_told_at_once_and_then_counted(told, stream, clock):
    for _ in range(50):
        told.say("microphone left", "no sound for 0.5 s")
        clock.now += 1.0
    assert stream.getvalue() == "warning microphone left: no sound for 0.5 s\n"


def test_what_goes_on_is_told_after_a_minute_ten_minutes_and_every_hour(told, stream, clock):
    when = []
    for second in range(4 * 3600):
        clock.now = float(second)
        lines = stream.getvalue().count("\n")
        told.say("disk", "full", "error")
        if stream.getvalue().count("\n") > lines:
            when.append(second)
    assert when == [0, 60, 600, 4200, 7800, 11400]
    assert stream.getvalue().splitlines()[1:3] == [
        "error disk: full (60 more in 60 s)",
        "error disk: full (540 more in 540 s)",
    ]


def test_another_message_tells_the_count_of_the_one_before(told, stream, clock):
    told.say("horn", "died")
    told.say("horn", "died")
    clock.now += 5.0
    told.say("horn", "hangs")
    assert stream.getvalue().splitlines() == [
        "warning horn: died",
        "warning horn: died (1 more in 5 s)",
        "warning horn: hangs",
    ]


def test_places_do_not_mix(told, stream):
    told.say("left", "silent")
    told.say("right", "silent")
    assert len(stream.getvalue().splitlines()) == 2


def test_the_end_of_a_trouble_is_told_once_and_only_where_there_was_one(told, stream, clock):
    told.over("left")
    told.say("left", "silent")
    told.say("left", "silent")
    clock.now += 75.0
    told.over("left")
    told.over("left")
    assert stream.getvalue().splitlines()[1:] == ["info left: over after 75 s (silent, 1 more)"]
    told.say("left", "silent")
    assert stream.getvalue().splitlines()[-1] == "warning left: silent"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.floats(0.0, 100.0)), max_size=200))
def test_after_a_flush_every_message_was_told_or_counted(messages):
    stream, clock = io.StringIO(), Clock()
    told = Log(stream, clock, {})
    told._write = lambda level, place, words: stream.write(f"{words}\n")  # all of it, however much
    for place, words, pause in messages:
        clock.now += pause
        told.say(place, words)
    told.flush()
    lines = stream.getvalue().splitlines()
    counted = sum(int(line.split("(")[1].split()[0]) for line in lines if "(" in line)
    assert sum("(" not in line for line in lines) + counted == len(messages)


def test_a_place_that_comes_and_goes_all_day_does_not_fill_the_disk(told, stream, clock):
    for _ in range(24 * 360):
        told.say("horn", "died")
        clock.now += 5.0
        told.over("horn")
        clock.now += 5.0
    lines = stream.getvalue().splitlines()
    assert len(lines) < 24 * (log.LINES + 3)
    untold = sum(int(line.split()[2]) for line in lines if "not told in" in line)
    assert untold > 24 * 600
    assert "20 lines within an hour" in stream.getvalue()


def test_a_reader_that_does_not_read_delays_nothing_and_the_loss_is_told(clock):
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "w") as stream:
        told = Log(stream, clock, {})
        for number in range(5000):
            told.say(f"place {number}", "x" * 300)  # a pipe holds 64 KiB
        assert told._lost > 4000
        while told._lost:
            os.read(ours, 1 << 16)
            told.say("last", f"hello {clock.now}")
            clock.now += 1.0
        assert b"lines before it were lost" in os.read(ours, 1 << 16)
    os.close(ours)


def test_it_remembers_a_bounded_number_of_places(told, stream):
    for number in range(10_000):
        told.say(f"place {number}", "hello")
    assert len(told._places) == log.PLACES


def test_one_message_is_one_line_of_bounded_length(told, stream):
    told.say("backend", "first\nsecond\t\x1b[2Jthird" + "x" * 10_000)
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("warning backend: first second ?[2Jthirdxxx")
    assert len(line) < 450


def test_the_journal_gets_priorities_and_nobody_else_does(tmp_path, clock):
    with (tmp_path / "journal").open("w") as stream:
        found = os.fstat(stream.fileno())
        Log(stream, clock, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}).say("disk", "full", "error")
        Log(stream, clock, {"JOURNAL_STREAM": "1:2"}).say("disk", "full")  # inherited, but redirected since
    assert (tmp_path / "journal").read_text() == "<3>disk: full\nwarning disk: full\n"


class Full:
    """A stream on a full disk."""

    def write(self, text):
        raise OSError(28, "No space left on device")

    def fileno(self):
        raise OSError


def test_a_full_disk_or_a_closed_terminal_does_not_stop_the_listening(clock):
    told = Log(Full(), clock, {})
    told.say("disk", "full")
    told.flush()
    stream = io.StringIO()
    told = Log(stream, clock, {})
    stream.close()
    told.say("disk", "full")
