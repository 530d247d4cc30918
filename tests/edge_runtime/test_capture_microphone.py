"""A microphone that fails in every way a process can: told, timed, and tried again; no card, no sound server."""

import os
import select
import signal
import time

import numpy as np
import pytest

from edge_runtime.capture import microphone
from edge_runtime.capture.microphone import pause_s
from edge_runtime.errors import DeviceError
from tests.edge_runtime.fake_microphone import Heard, scripted

STEADY = [["open", ""], ["sound", 60.0]]


@pytest.fixture
def hear(tmp_path):
    """Listen to a scripted microphone; it is closed when the test ends."""
    open_ones = []

    def heard(*attempts, **options):
        open_ones.append(Heard(scripted(tmp_path, *attempts, **options)))
        return open_ones[-1]

    yield heard
    for one in open_ones:
        one.close()


def reasons(heard):
    return [change.reason for change in heard.changes]


def test_the_constructor_returns_at_once_and_the_first_sound_begins_a_recording(hear):
    began = time.monotonic()
    heard = hear(STEADY)
    assert time.monotonic() - began < 1.5  # seconds, load among them: a process is started, nothing waited for
    heard.changed(True)
    heard.for_s(0.5)
    assert (heard.blocks[0].new, heard.blocks[0].lost) == ("mic", 0)
    assert all((block.new, block.lost) == (None, 0) for block in heard.blocks[1:])
    assert reasons(heard) == ["mic: listening to Scripted, 1 channels, 16000 Hz"]
    assert heard.blocks[0].samples.shape == (512, 1)


def test_a_stream_that_stalls_is_noticed_after_half_a_second_and_heard_again(hear):
    heard = hear([["open", ""], ["sound", 1.0], ["hang"]], STEADY)
    heard.changed(True)
    heard.changed(False)
    stalled = time.monotonic() - heard.microphone._heard_s
    assert 0.5 <= stalled < 2.0  # seconds; above 0.5 is the load of the machine
    heard.changed(True, within_s=3.0)
    heard.for_s(0.5)
    heard.close()
    assert reasons(heard)[1].startswith("mic: no sound for 0.5 s")
    assert "heard again after" in reasons(heard)[2]
    assert [block.new for block in heard.blocks if block.new] == ["mic", "mic"]
    assert abs(heard.ahead_s) < 0.3  # seconds: samples and losses are the time that has passed


def test_time_without_sound_is_told_every_quarter_of_a_second(hear):
    heard = hear([["open", ""], ["sound", 0.5]], [["hang"]])
    heard.changed(True)
    heard.changed(False)
    heard.for_s(2.0)
    empty = [block for block in heard.blocks if block.lost]
    assert 2 <= len(empty) <= 9
    assert all(block.samples.shape == (0, 1) for block in empty)
    assert abs(heard.ahead_s) < 0.3  # seconds


def test_a_microphone_absent_at_first_is_waited_for_and_its_time_counts_as_lost(hear):
    heard = hear([["fail", "mic: no such microphone; there is none"]], STEADY)
    heard.changed(False)
    heard.changed(True)
    assert reasons(heard)[0] == "mic: no such microphone; there is none"
    assert sum(block.lost for block in heard.blocks) > 0.25 * 16_000
    assert abs(heard.ahead_s) < 0.3  # seconds


def test_without_insisting_what_fails_the_first_opening_is_an_error(tmp_path):
    with pytest.raises(DeviceError, match=r"^mic: no such microphone$"):
        scripted(tmp_path, [["fail", "mic: no such microphone"]], insist=False)


def test_without_insisting_a_microphone_that_gives_nothing_is_an_error_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr(microphone, "START_S", 0.5)
    began = time.monotonic()
    with pytest.raises(DeviceError, match=r"mic: opened, but no sound within 0\.5 s"):
        scripted(tmp_path, [["open", ""], ["hang"]], insist=False)
    assert time.monotonic() - began < 4.0  # seconds


def test_without_insisting_a_microphone_that_was_heard_once_is_insisted_on(hear):
    heard = hear([["open", ""], ["sound", 0.3]], STEADY, insist=False)
    heard.take()
    assert heard.changes[0].listening
    heard.changed(False)
    heard.changed(True)


def test_a_child_that_is_killed_is_replaced_within_a_second(hear):
    heard = hear(STEADY)
    heard.changed(True)
    os.kill(heard.microphone._child.pid, signal.SIGKILL)
    assert heard.changed(False) < 2.0  # seconds: at once, and load
    assert heard.changed(True) < 4.0  # seconds: 0.25 of pause, the start of Python, and load
    assert "killed by signal 9" in reasons(heard)[1]


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([["garbage"], ["hang"]], "said what cannot be understood"),
        ([["sound", 0.1], ["hang"]], "of which it did not say what it is"),
        ([], "has ended (exit code 0)"),
    ],
)
def test_a_child_that_does_not_keep_to_the_protocol_is_replaced(hear, steps, words):
    heard = hear(steps, STEADY)
    heard.changed(False)
    heard.changed(True)
    assert words in reasons(heard)[0]


def test_lost_frames_are_told_before_the_next_sound(hear):
    heard = hear([["open", ""], ["sound", 0.2], ["lost", 1600], ["sound", 60.0]])
    heard.until(lambda heard: any(block.lost for block in heard.blocks))
    lost = [block for block in heard.blocks if block.lost]
    assert [(block.lost, len(block.samples), block.new) for block in lost] == [(1600, 512, None)]


def test_another_source_behind_the_same_name_is_refused_until_the_first_is_back(hear):
    ours, another = [["open", "left"], ["sound", 0.3]], [["open", "right"], ["sound", 60.0]]
    heard = hear(ours, another, another, [["open", "left"], ["sound", 60.0]], device="default")
    heard.changed(True)
    heard.changed(False)
    heard.changed(False)
    heard.changed(True)
    assert "the name means right now, and meant left when it was first heard" in reasons(heard)[2]
    assert [block.new for block in heard.blocks if len(block.samples)].count("default") == 2


def test_a_source_that_could_not_be_told_at_first_is_remembered_once_it_can(hear):
    heard = hear(
        [["open", ""], ["sound", 0.2]],
        [["open", "left"], ["sound", 0.2]],
        [["open", ""], ["sound", 60.0]],
        device="default",
    )
    for listening in (True, False, True, False, False):
        heard.changed(listening)
    assert "means a source that cannot be told now, and meant left" in reasons(heard)[-1]


def test_losses_before_the_first_sound_are_not_counted_twice(hear):
    heard = hear([["fail", "absent"]], [["open", ""], ["lost", 8000], ["sound", 60.0]])
    heard.changed(False)
    heard.changed(True)
    heard.for_s(0.3)
    assert abs(heard.ahead_s) < 0.3  # seconds


def test_a_listener_that_was_stopped_itself_does_not_blame_the_microphone(hear):
    heard = hear(STEADY)
    heard.changed(True)
    heard.for_s(0.3)
    heard.microphone._child._process.send_signal(signal.SIGSTOP)  # the whole machine stands still: child and listener
    time.sleep(3.0)
    heard.take()
    assert len(heard.changes) == 1
    heard.microphone._child._process.send_signal(signal.SIGCONT)
    heard.for_s(0.5)
    assert len(heard.changes) == 1


def test_sound_waits_in_the_pipe_while_the_listener_is_busy(hear):
    heard = hear(STEADY)
    heard.changed(True)
    time.sleep(2.0)
    heard.for_s(0.2)
    assert sum(block.lost for block in heard.blocks) == 0
    assert abs(heard.ahead_s) < 0.3  # seconds


def test_a_reason_is_told_once_and_of_two_that_take_turns_no_more_than_three(hear, monkeypatch):
    monkeypatch.setattr(microphone, "PAUSES_S", (0.01,))
    heard = hear(*[[["fail", f"reason {number % 5}"]] for number in range(50)])
    heard.for_s(2.0)
    assert reasons(heard) == ["mic: reason 0", "mic: reason 1", "mic: reason 2"]


def test_pauses_grow_to_five_seconds_and_stay_short_where_it_was_heard_before():
    assert [pause_s(attempt, known=False) for attempt in range(8)] == [0.25, 0.5, 1, 2, 5, 5, 5, 5]
    assert max(pause_s(attempt, known=True) for attempt in range(1000)) <= 2  # to be heard 3 s after its return


def test_closing_takes_half_a_second_at_most_and_leaves_no_process(hear):
    heard = hear(STEADY)
    heard.changed(True)
    child = heard.microphone._child.pid
    os.kill(child, signal.SIGSTOP)
    began = time.monotonic()
    heard.close()
    assert time.monotonic() - began < 1.5  # seconds
    assert heard.microphone.fileno() is None
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert abs(heard.ahead_s) < 0.3  # seconds


def test_the_file_to_wait_on_is_that_of_the_child_of_now(hear):
    heard = hear(STEADY)
    heard.changed(True)
    assert select.select([heard.microphone.fileno()], [], [], 1.0)[0]
    assert np.all(heard.sound == 0)


def test_every_block_that_is_heard_makes_the_pauses_short_again(hear):
    heard = hear([["fail", "a"]], [["fail", "b"]], [["open", ""], ["sound", 0.1]])
    heard.changed(False)
    heard.changed(False)
    assert heard.microphone._attempts == 2
    heard.changed(True)
    heard.changed(False)
    assert heard.microphone._attempts == 1


def test_a_microphone_that_was_heard_before_is_tried_again_sooner(hear, monkeypatch):
    monkeypatch.setattr(microphone, "PAUSES_S", (0.05, 30.0))
    monkeypatch.setattr(microphone, "KNOWN_S", 0.1)
    heard = hear([["open", ""], ["sound", 0.1]], [["fail", "a"]], [["fail", "b"]], STEADY)
    for listening in (True, False, False, False):
        heard.changed(listening)
    assert heard.changed(True) < 5.0  # seconds, of 30 that an unknown one would wait


def test_processes_that_cannot_be_killed_do_not_pile_up(hear, monkeypatch):
    monkeypatch.setattr(microphone, "UNKILLED", 2)
    monkeypatch.setattr(microphone, "PAUSES_S", (0.05,))
    monkeypatch.setattr(microphone.Child, "kill", lambda child: None)
    monkeypatch.setattr(microphone.Child, "gone", lambda child, within_s=0.0: False)
    heard = hear([["fail", "hangs"], ["hang"]])
    heard.until(lambda heard: any("2 capturing processes hang" in reason for reason in reasons(heard)))
    assert len(heard.microphone._dying) == 2
    for child in heard.microphone._dying:
        child._process.kill()
        child._process.wait()
