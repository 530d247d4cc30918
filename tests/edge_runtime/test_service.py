"""Sound that breaks off, a network that fails, a microphone that is gone: it is told, no window is forgotten."""

import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_runtime.alarm import AlarmSettings, LevelSettings
from edge_runtime.backends import open_backend
from edge_runtime.backends.guarded import Guarded
from edge_runtime.capture import Change
from edge_runtime.errors import DeviceError
from edge_runtime.listening import events
from edge_runtime.listening.annunciator import Annunciator
from edge_runtime.saving import Saver
from tests.conftest import SHORT, hum
from tests.edge_runtime.conftest import FAULT
from tests.edge_runtime.posts import Scripted, block, listen, of, post, service

HOP, RATE, NAME = 4096, 16_000, "fan_section_00"


def places(told):
    return [(event.start_s, event.end_s) for event in of(told, events.Window)]


def test_sound_after_a_gap_begins_on_the_grid_and_the_windows_between_are_lost(bundle, tmp_path):
    sound, saver = hum(3, seed=5), Saver(tmp_path / "saved", RATE)
    told = listen(post(bundle, Scripted(block(sound[:24_000], new="mic"), block(sound[24_000:], 800)), saver=saver))
    assert places(told) == [(0.0, 1.024), (0.256, 1.28), (1.792, 2.816)]
    assert of(told, events.Lost) == [events.Lost(1.5, 800, "left")]
    assert [event.at_s for event in of(told, events.Recording)] == [0.0, 1.55]
    end = told[-1]
    assert (end.seconds, end.windows, end.unfit, end.lost, end.lost_samples) == (3.0, 3, 0, 5, 800)
    assert end.windows + end.lost == (48_800 - SHORT) // HOP + 1
    saved = [soundfile.read(tmp_path / "saved" / f"00000{n}.wav", dtype="float32")[0] for n in (1, 2)]
    assert np.array_equal(saved[0], sound[:24_000])
    assert np.array_equal(saved[1], sound[24_000 + 28_672 - 24_800 :])  # from the first sample of its first window


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 40_000)), min_size=1, max_size=20))
def test_scored_and_unfit_and_lost_are_all_that_were_due(bundle, pieces):
    sound = hum(12, seed=2)
    blocks = [
        block(sound[:samples], lost, "mic" if not index else None) for index, (samples, lost) in enumerate(pieces)
    ]
    end = listen(post(bundle, Scripted(*blocks)))[-1]
    passed = sum(samples + lost for samples, lost in pieces)
    assert end.windows + end.lost == max(0, (passed - SHORT) // HOP + 1)
    assert end.lost_samples == sum(lost for _, lost in pieces)


def test_lost_time_does_not_count_towards_the_alarm(bundle):
    sound, alarm = hum(3.1, 2, pitch=FAULT), AlarmSettings(alarm=LevelSettings(on_delay_s=1.9))
    told = listen(post(bundle, Scripted(block(sound[:32_000], new="mic"), block(sound[32_000:], 160_000)), alarm))
    assert {event.decision for event in of(told, events.Window)} == {True}
    assert told[-1].alarms == 0


def test_a_machine_that_is_not_heard_is_an_alarm_of_its_own_kind(bundle):
    """Nothing arrives for ten seconds; it is over with the first window that has a score."""
    alarm = AlarmSettings(not_listening_s=5.0)
    silence = [block(np.zeros((0, 1), np.float32), 4000) for _ in range(40)]
    source = Scripted(block(hum(2), new="mic"), *silence, block(hum(2), new="mic"))
    told = listen(post(bundle, source, alarm))
    raised, over = of(told, events.Alarm)
    assert (raised.kind, raised.cause, raised.state, raised.at_s) == ("not_listening", "raise", "unacknowledged", 7.0)
    assert raised.why == "no window with a score for 5 s: no sound arrives"
    assert (over.kind, over.cause, over.state) == ("not_listening", "return", "returned_unacknowledged")
    assert 12.0 < over.at_s <= 14.0


def test_digital_silence_is_not_health_either(bundle):
    told = listen(
        post(bundle, Scripted(block(np.zeros(20 * RATE, np.float32), new="mic")), AlarmSettings(not_listening_s=5.0))
    )
    assert {event.score for event in of(told, events.Window)} == {None}
    assert [(event.kind, event.cause) for event in of(told, events.Alarm)] == [("not_listening", "raise")]
    assert "digital silence" in of(told, events.Alarm)[0].why
    assert told[-1].unfit == told[-1].windows > 0


def test_channels_of_a_microphone_are_scored_in_one_batch_as_if_alone(bundle):
    left, right = hum(4, seed=3), hum(4, seed=4, pitch=FAULT)
    names = ("fan_section_00", "pump_section_00")

    class Counting:
        def __init__(self):
            self.backend, self.batches = open_backend(bundle.network, bundle.model), []

        def run(self, inputs):
            self.batches.append(len(next(iter(inputs.values()))))
            return self.backend.run(inputs)

        def close(self):
            pass

    counting = Counting()
    both = listen(post(bundle, Scripted(block(np.stack([left, right], 1), new="mic")), names=names, backend=counting))
    assert set(counting.batches) == {2}
    for sound, name in ((left, names[0]), (right, names[1])):
        alone = listen(post(bundle, Scripted(block(sound, new="mic")), names=[name]))
        kept = [(event.start_s, event.score) for event in of(both, events.Window) if event.machine == name]
        assert kept == [(event.start_s, event.score) for event in of(alone, events.Window)]


class Failing:
    """A backend that fails at these runs, or at all."""

    def __init__(self, bundle, at=None):
        self.backend, self.at, self.runs = open_backend(bundle.network, bundle.model), at, 0

    def run(self, inputs):
        self.runs += 1
        if self.at is None or self.runs in self.at:
            raise RuntimeError("kernel died")
        return self.backend.run(inputs)

    def close(self):
        pass


def test_a_network_that_fails_once_costs_one_window(bundle):
    guarded = Guarded(lambda: Failing(bundle, at=[3]))
    told, one = [], post(bundle, Scripted(block(hum(4), new="mic")), backend=guarded)
    service([one], told.append, backends=guarded.changes).listen(threading.Event())
    unscored = [event for event in of(told, events.Window) if event.score is None]
    assert [event.faults for event in unscored] == [["network"]]
    said = [event.reason for event in of(told, events.Backend)]
    assert said == [
        "fails, windows go without a score: RuntimeError: kernel died",
        "computes again after 1 failures",
    ]


def test_a_network_that_always_fails_is_an_alarm_and_listening_goes_on(bundle):
    guarded = Guarded(lambda: Failing(bundle))
    alarm = AlarmSettings(not_listening_s=5.0)
    told = listen(post(bundle, Scripted(block(hum(12), new="mic")), alarm, backend=guarded))
    assert told[-1].unfit == told[-1].windows > 40
    assert [(event.kind, event.cause) for event in of(told, events.Alarm)] == [("not_listening", "raise")]
    assert "kernel died" in of(told, events.Alarm)[0].why


def test_one_that_gives_no_numbers_counts_as_failing(bundle):
    class Nonsense(Failing):
        def run(self, inputs):
            return {name: np.full_like(array, np.nan) for name, array in self.backend.run(inputs).items()}

    told = listen(post(bundle, Scripted(block(hum(2), new="mic")), backend=Guarded(lambda: Nonsense(bundle))))
    assert {event.score for event in of(told, events.Window)} == {None}


def test_an_alarm_says_which_band_and_is_told_with_time_and_score(bundle):
    alarm = AlarmSettings(alarm=LevelSettings(on_delay_s=1.0, off_delay_s=1.0))
    sound = np.concatenate([hum(4, 1), hum(4, 2, pitch=FAULT), hum(4, 3)])
    raised, over = of(listen(post(bundle, Scripted(block(sound, new="mic")), alarm)), events.Alarm)
    assert (raised.kind, raised.cause, raised.level, raised.state) == ("anomaly", "raise", "alarm", "unacknowledged")
    assert raised.score > bundle.machine("fan_section_00").threshold
    assert raised.since_s < raised.at_s
    assert raised.time.endswith("+00:00")
    assert raised.why == raised.reason.words != ""
    assert (over.cause, over.level, over.state) == ("return", "normal", "returned_unacknowledged")


def test_a_source_that_fails_for_good_ends_the_run_with_its_error_told(bundle):
    told, source = [], Scripted(block(hum(2), new="mic"), error=DeviceError("mic: dead"))
    with pytest.raises(DeviceError):
        service([post(bundle, source)], told.append).listen(threading.Event())
    assert (told[-1].error, told[-1].windows, source.closed) == ("mic: dead", 4, True)


def test_what_happens_to_a_microphone_is_told(bundle):
    source = Scripted(block(hum(2), new="mic"), changes=[Change(False, "no sound for 0.5 s")])
    assert of(listen(post(bundle, source)), events.Microphone) == [
        events.Microphone(2.0, "left", False, "no sound for 0.5 s")
    ]


def test_only_so_many_seconds_are_heard(bundle):
    told = listen(post(bundle, Scripted(*[block(hum(1), new="mic" if not i else None) for i in range(9)])), seconds=2.5)
    assert told[-1].seconds == 2.5


def test_a_full_disk_is_reported_once_and_listening_goes_on(bundle, tmp_path, capsys):
    (tmp_path / "file").touch()
    blocks = [block(hum(2), new="a"), block(hum(2), new="b")]
    told = listen(post(bundle, Scripted(*blocks), saver=Saver(tmp_path / "file" / "folder", RATE)))
    assert told[-1].windows == 8
    assert capsys.readouterr().err.count("sound cannot be saved") == 1
    log = events.Log(Path("/dev/full").open("w"))  # noqa: SIM115 - the log closes it
    for event in told:
        log(event)
    assert capsys.readouterr().err.count("events cannot be written (No space left on device)") == 1
    log.close()  # writes what is left, and fails quietly


class Beacon:
    """An output that remembers what it was shown."""

    name = "beacon"

    def __init__(self):
        self.shown, self.judged = [], []

    def update(self, changes, now):
        self.shown.append((list(changes), [status.state for status in now]))

    def feed(self, judged):
        self.judged.append(judged)

    def failures(self):
        return ()

    def close(self, within_s):
        pass


def test_outputs_are_told_how_all_stands_at_the_start_and_when_every_machine_was_judged(bundle):
    beacon = Beacon()
    source = Scripted(*[block(part, new=None if at else "mic") for at, part in enumerate(np.split(hum(2), 20))])
    one = post(bundle, source)
    annunciator = Annunciator({"beacon": beacon}, {"beacon": [NAME]})
    service([one], lambda event: None, annunciator=annunciator).listen(threading.Event())
    assert beacon.shown == [([], ["normal", "normal"])]
    first = beacon.judged.index(True)
    assert first >= 10 and all(beacon.judged[first:])  # 1.024 s in blocks of a tenth


def test_a_machine_whose_microphone_is_known_to_be_absent_keeps_no_relay_waiting(bundle):
    beacon, alarm = Beacon(), AlarmSettings(not_listening_s=5.0)
    absent = Scripted(*[block(np.zeros((0, 1), np.float32), 4000) for _ in range(40)])
    annunciator = Annunciator({"beacon": beacon}, {"beacon": [NAME]})
    service([post(bundle, absent, alarm)], lambda event: None, annunciator=annunciator).listen(threading.Event())
    assert beacon.judged[0] is False and beacon.judged[-1] is True
    assert beacon.shown[-1][1] == ["normal", "unacknowledged"]


def test_a_score_that_is_no_number_is_no_score(bundle, monkeypatch):
    monkeypatch.setattr("edge_runtime.detector.score", lambda outputs, machine: np.array([np.nan]))
    told = listen(post(bundle, Scripted(block(hum(2), new="mic"))))
    assert {(event.score, event.decision) for event in of(told, events.Window)} == {(None, None)}


def test_so_many_seconds_end_with_the_first_microphone_that_gave_them(bundle):
    """The other is absent: its time must not stand still unseen."""
    absent = Scripted(*[block(np.zeros((0, 1), np.float32), 4000) for _ in range(400)])
    heard = Scripted(*[block(hum(0.25), new=None if at else "mic") for at in range(40)])
    told = listen(post(bundle, heard), post(bundle, absent, names=["pump_section_00"]), seconds=2.0)
    assert {event.machine: event.seconds for event in of(told, events.End)} == {NAME: 2.0, "pump_section_00": 0.0}


def test_a_window_of_a_machine_that_is_not_listened_to_is_never_called_normal(bundle):
    source = Scripted(block(np.zeros(8 * RATE, np.float32), new="mic"), block(np.zeros(8 * RATE, np.float32)))
    told = listen(post(bundle, source, AlarmSettings(not_listening_s=5.0)))
    raised = next(at for at, event in enumerate(told) if isinstance(event, events.Alarm))
    assert {event.state for event in of(told[raised:], events.Window)} == {"not_listening"}
