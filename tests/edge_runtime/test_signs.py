"""What others see of the listening: nothing that was heard is missing from it, and nothing of it decides anything."""

import os
import threading
import time

import numpy as np
import pytest

from edge_runtime.backends.standby import Change as BackendChange
from edge_runtime.capture import Change
from edge_runtime.journal import Moment, Visitor
from edge_runtime.journal import live as live_file
from edge_runtime.journal.live import Live
from edge_runtime.listening import signs
from edge_runtime.listening.events import Window
from edge_runtime.listening.panel import Panel
from edge_runtime.listening.service import Service
from edge_runtime.listening.signs import Signs
from tests.conftest import SHORT, hum
from tests.edge_runtime.journals import AT
from tests.edge_runtime.posts import Scripted, block, post, service
from tests.edge_runtime.recordings import ALARM, fault, in_blocks

HOP, RATE, NAME = 4096, 16_000, "fan_section_00"


@pytest.fixture
def kept(open_journal, tmp_path):
    """A journal, and the signs that go into it."""
    journal, live = open_journal(tmp_path), Live(tmp_path)
    yield journal, Signs(journal, live, "onnxruntime")
    live.close()


def listen(post, kept, **options):
    told = []
    service([post], told.append, signs=kept[1], **options).listen(threading.Event())
    return told


def test_every_window_that_was_due_is_in_the_scores(bundle, kept, tmp_path):
    sound = np.concatenate([hum(2, seed=5), np.zeros(16_000, np.float32), hum(2, seed=6)])
    blocks = [block(sound[:24_000], new="mic"), block(sound[24_000:], 30_000)]
    told = listen(post(bundle, Scripted(*blocks)), kept)
    spells = Visitor(tmp_path).scores(NAME, 0.0, 1e11)
    end = told[-1]
    assert end.unfit and end.lost
    assert sum(one.scored for one in spells) == end.windows - end.unfit
    assert sum(one.unfit for one in spells) == end.unfit and sum(one.lost for one in spells) == end.lost
    assert end.windows + end.lost == (len(sound) + 30_000 - SHORT) // HOP + 1
    scores = [score for one in spells for score in one.scores]
    windows = [event.score for event in told if type(event).__name__ == "Window"]
    assert [score is None for score in scores] == [score is None for score in windows]
    known = [score for score in scores if score is not None]
    assert known == pytest.approx([score for score in windows if score is not None], rel=1e-6)  # float32
    faults = [word for event in told if type(event).__name__ == "Window" for word in event.faults]
    assert faults and sum(sum(one.faults.values()) for one in spells) == len(faults)


def test_the_last_sign_of_life_says_how_everything_was(bundle, kept, tmp_path):
    source = Scripted(
        block(hum(2), new="mic"), block(hum(2, pitch=70)), changes=[Change(True, "left: opened at 16000 Hz")]
    )
    listen(post(bundle, source), kept, backends=lambda: [BackendChange("tensorrt", "the engine is ready")])
    beat = Visitor(tmp_path).beat()
    (fan,), (left,) = beat.machines, beat.microphones
    assert (beat.pid, beat.backend, beat.clock) == (os.getpid(), "tensorrt", "")
    assert fan.machine == NAME and fan.listening and fan.score is not None and fan.scored == 12
    assert fan.threshold == bundle.machine(NAME).threshold
    assert (left.name, left.device, left.listening, left.reason) == (
        "left",
        "scripted",
        True,
        "left: opened at 16000 Hz",
    )
    assert sum(beat.latency.counts) == 12 and beat.latency.sum_s > 0.0
    assert {one.about for one in Visitor(tmp_path).notices(99)} == {"microphone left", "network"}


def test_a_window_without_a_score_leaves_no_old_score_behind(bundle, kept, tmp_path):
    sound = np.concatenate([hum(2), np.zeros(48_000, np.float32)])
    listen(post(bundle, Scripted(block(sound, new="mic"))), kept)
    fan = Visitor(tmp_path).beat().machines[0]
    assert fan.scored and fan.unfit and fan.listening
    assert (fan.score, fan.level_dbfs, fan.faults) == (None, None, ["silence"])


def test_how_it_is_right_now_is_in_memory_while_it_listens(bundle, kept, tmp_path):
    seen = []

    class Looking(Scripted):
        def take(self):
            seen.append(Visitor(tmp_path).sign())
            yield from super().take()

    listen(post(bundle, Looking(*[block(hum(2), new="mic" if not each else None) for each in range(3)])), kept)
    assert all(one.listener == os.getpid() and one.fresh for one in seen[1:])
    assert seen[0].beat is None and not seen[0].fresh  # before the first turn of the loop
    assert seen[1].beat.machines[0].scored == 4 and seen[1].beat.recent[0].scored == 4
    assert not (tmp_path / "live.json").is_symlink()  # nobody listens any more


def test_a_listener_that_comes_back_begins_to_count_anew_and_forgets_no_score(bundle, open_journal, tmp_path):
    for _ in range(2):
        journal = open_journal(tmp_path)
        listen(
            post(bundle, Scripted(block(hum(2), new="mic"))), (journal, Signs(journal, Live(tmp_path), "onnxruntime"))
        )
        assert Visitor(tmp_path).beat().machines[0].scored == 4
        journal.close()
    assert sum(one.scored for one in Visitor(tmp_path).scores(NAME, 0.0, 1e11)) == 8


@pytest.mark.parametrize("where", ["window", "tell", "show", "close"])
def test_signs_that_break_are_said_once_and_neither_scoring_nor_alarms_suffer(
    bundle, open_journal, tmp_path, monkeypatch, where
):
    said, journal = [], open_journal(tmp_path)
    made = Signs(journal, Live(tmp_path), "onnxruntime", said.append)
    inner = {"window": "_keep", "tell": "_journal", "show": "_beat", "close": "_account"}[where]
    monkeypatch.setattr(made, inner, lambda *_: 1 / 0)
    told = []
    sound = np.concatenate([hum(2, seed=5), fault(4), hum(2, seed=6)])
    one = post(bundle, Scripted(*in_blocks(sound), changes=[Change(True, "opened")]), ALARM)
    Service([one], told.append, Panel({NAME: ALARM}, journal, Moment(0.0, 0.0)), signs=made).listen(threading.Event())
    assert len(said) == 1 and "scoring goes on" in said[0] and made.over
    assert sum(type(event).__name__ == "Window" for event in told) == (len(sound) - SHORT) // HOP + 1
    assert told[-1].error is None and [one.cause for one in Visitor(tmp_path).history(9)] == ["raise", "return"]
    assert not (tmp_path / "live.json").is_symlink()


def test_minutes_that_the_journal_cannot_write_are_shown_until_it_can(kept, tmp_path, monkeypatch):
    journal, made = kept
    began_s = time.monotonic()
    calm = Panel({}, None, Moment(0.0, 0.0))

    def shown(minute):
        """So many minutes later, with a window a minute -> how many of them are in memory."""
        at = Moment(began_s + 61.0 * minute, AT.utc_s + 60.0 * minute)
        made.window(Window(0.0, 1.0, 3.0, False, "normal", -20.0, 0.0, [], "fan", at.time), at.utc_s, 0.01)
        made.show([], calm, at)
        return len({one.begin_s for one in live_file.read(tmp_path).recent})

    shown(0)
    with monkeypatch.context() as until:
        until.setattr(journal._file, "transaction", lambda *_, **__: (_ for _ in ()).throw(OSError("no disk")))
        assert [shown(minute) for minute in range(1, 5)] == [2, 3, 4, 5]
    shown(5)
    assert shown(6) == 2 and len(Visitor(tmp_path).scores("fan", 0.0, 1e11)) == 6
    monkeypatch.setattr(journal, "beat", lambda *_: False)
    for minute in range(signs.OVER + 50):
        last = shown(7 + minute)
    assert last <= signs.OVER + 1


def test_a_class_of_the_latency_holds_what_took_no_longer_than_its_bound():
    for took_s, place in ((0.0005, 0), (0.001, 0), (0.0011, 1), (2.5, 10), (99.0, 11)):
        assert signs.class_of(took_s) == place
