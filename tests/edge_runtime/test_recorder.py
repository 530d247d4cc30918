"""Around an alarm everything is kept: what led to it, what was heard, why; whatever ends it."""

import json
import time

import msgspec
import numpy as np
import pytest

from edge_runtime.alarm import AlarmSettings, LevelSettings
from edge_runtime.backends import open_backend
from edge_runtime.detector import Detector, Ear
from edge_runtime.features import LogMel, log_mel
from edge_runtime.journal import Moment, Visitor
from edge_runtime.listening import events as told_events
from edge_runtime.recorder import event
from tests.conftest import hum, write_wav
from tests.edge_runtime import recordings
from tests.edge_runtime.posts import block, of
from tests.edge_runtime.recordings import (
    ALARM,
    RATE,
    SITE,
    events,
    fault,
    in_blocks,
    listen,
    only,
    settings,
    sound,
)

STREAM = np.concatenate([hum(8, 1), fault(6), hum(10, 3)])  # 24 s


def in_16(samples):
    return np.rint(samples * 32_768).astype(np.int16)


def test_the_sound_before_an_alarm_and_after_it_is_there_sample_by_sample(state, bundle):
    told = listen(state, bundle, *in_blocks(STREAM))
    raised, over = of(told, told_events.Alarm)
    folder, found = only(state)
    assert found.state == "whole" and found.privacy == "sound" and found.machine == "fan_section_00"
    start_s = raised.since_s - 1.024 - 3.0  # before_s before the first window that led to the alarm
    assert found.seconds == pytest.approx(over.at_s + 2.0 - start_s, abs=1e-9)  # after_s behind the return
    assert found.since_s == pytest.approx(raised.since_s - start_s) and found.alarm_s == pytest.approx(
        raised.at_s - start_s
    )
    assert found.returned_s == pytest.approx(over.at_s - start_s)
    start = round(start_s * RATE)
    assert np.array_equal(sound(folder), in_16(STREAM[start : start + round(found.seconds * RATE)]))
    assert found.reason == raised.reason and found.score == max(
        window.score for window in of(told, told_events.Window) if window.end_s <= over.at_s + 2.0
    )


def test_every_file_of_an_event_says_what_was_heard(state, bundle):
    told = listen(state, bundle, *in_blocks(STREAM))
    folder, found = only(state)
    assert {file.name for file in folder.iterdir()} == {
        "sound.flac", "normal.flac", "features.npz", "spectrogram.png", "deviation.png", "windows.json", "event.json"
    }  # fmt: skip
    assert found.bytes == sum(file.stat().st_size for file in folder.iterdir() if file.name != "event.json")
    heard = log_mel(sound(folder).astype(np.float32) / 32_768, LogMel())
    with np.load(folder / "features.npz") as arrays:
        assert np.abs(arrays["mel"].astype(np.float32) - heard).max() < 0.05  # dB: half precision near -100
        assert arrays["normal"].shape == (128,)
    start_s = of(told, told_events.Alarm)[0].at_s - found.alarm_s
    kept = event.windows(folder)
    wanted = [one for one in of(told, told_events.Window) if start_s < one.end_s <= start_s + found.seconds]
    assert [(one.score, one.decision, one.level_dbfs, one.faults) for one in kept] == [
        (one.score, one.decision, one.level_dbfs, one.faults) for one in wanted
    ]
    assert [one.start_s for one in kept] == pytest.approx([one.start_s - start_s for one in wanted])


def test_the_sound_of_an_event_scored_again_gives_the_scores_of_its_windows(state, bundle):
    listen(state, bundle, *in_blocks(STREAM))
    folder, _ = only(state)
    samples = sound(folder).astype(np.float32) / 32_768
    detector = Detector(
        bundle.model, open_backend(bundle.network, bundle.model), [Ear(bundle.machine("fan_section_00"))]
    )
    inside = [one for one in event.windows(folder) if one.start_s >= 0]
    assert len(inside) > 30
    for one in inside:
        detector.reset()
        at = round(one.start_s * RATE)
        ((again,),) = detector.push(samples[at : at + bundle.model.window, np.newaxis])
        assert again.score == pytest.approx(one.score, rel=1e-5)  # the sound had 16 bits: nothing was rounded


def test_an_event_is_on_the_disk_at_the_raise_with_all_that_led_to_it(state, bundle):
    kept, journal = recordings.recording(state, bundle)
    told = []
    one = recordings.post(bundle, recordings.Scripted(*in_blocks(STREAM[: 12 * RATE])), ALARM)
    service = recordings.service([one], told.append, recording=kept)
    while not one.source.ended:
        service.turn()
    kept._recorder._writer.put(lambda: None, 60.0)
    waited(lambda: events(state))
    folder, found = only(state)
    raised = of(told, told_events.Alarm)[0]
    assert found.state == "open" and found.returned_s is None and found.seconds >= found.alarm_s
    start = round((raised.at_s - found.alarm_s) * RATE)
    assert np.array_equal(sound(folder), in_16(STREAM[start : start + round(found.seconds * RATE)]))
    assert event.windows(folder)[-1].end_s == pytest.approx(found.alarm_s, abs=0.256)
    service.close()
    assert only(state)[1].state == "cut"  # by the end of the listening
    assert only(state)[1].seconds > found.seconds
    journal.close()


def waited(true, seconds=10.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_lost_sound_in_an_event_is_silence_whose_place_is_known(state, bundle):
    sound_ = np.concatenate([hum(8, 1), fault(4)])
    blocks = [*in_blocks(sound_), block(fault(3, 5), lost=8000), *in_blocks(hum(10, 3), new=None)]
    told = listen(state, bundle, *blocks)
    folder, found = only(state)
    (lost,) = of(told, told_events.Lost)
    start_s = of(told, told_events.Alarm)[0].at_s - found.alarm_s
    assert found.gaps == [(pytest.approx(lost.at_s - start_s), pytest.approx(lost.at_s - start_s + 0.5))]
    first, last = (round(second * RATE) for second in found.gaps[0])
    samples = sound(folder)
    assert not samples[first:last].any() and np.count_nonzero(samples[:first]) > 0.99 * first
    assert np.array_equal(samples[last : last + 3 * RATE], in_16(fault(3, 5)))
    with np.load(folder / "features.npz") as arrays:
        missing = np.isnan(arrays["mel"]).all(axis=1)
    frames = np.arange(len(missing)) * 512
    assert np.array_equal(missing, (frames + 1024 > first) & (frames < last))
    assert found.state == "whole"
    for window in event.windows(folder):
        assert window.end_s <= found.gaps[0][0] + 1e-9 or window.start_s >= found.gaps[0][1] - 1e-9


def test_an_event_goes_on_for_no_longer_than_it_may_and_the_alarm_is_in_it(state, bundle):
    wanted = settings(longest_s=10.0)
    listen(state, bundle, *in_blocks(np.concatenate([hum(8, 1), fault(40)])), wanted=wanted)
    _, found = only(state)
    assert (found.state, found.seconds, found.returned_s) == ("whole", 10.0, None)
    assert 0.0 < found.since_s < found.alarm_s < 10.0


@pytest.mark.parametrize("on_delay_s", [9.0, 25.0])
def test_the_raise_is_in_the_sound_however_long_the_way_to_it(state, bundle, on_delay_s):
    alarm = AlarmSettings(alarm=LevelSettings(on_delay_s=on_delay_s))
    wanted = settings(longest_s=10.0)
    listen(state, bundle, *in_blocks(np.concatenate([hum(4, 1), fault(60)])), wanted=wanted, alarm=alarm)
    _, found = only(state)
    assert found.alarm_s + 2.0 == pytest.approx(found.seconds, abs=1.0) and found.seconds == 10.0


def test_a_return_that_does_not_last_is_the_same_event(state, bundle):
    sounds = [hum(6, 1), fault(4), hum(3.2, 3), fault(4, 7), hum(8, 4)]
    told = listen(state, bundle, *in_blocks(np.concatenate(sounds)), wanted=settings(after_s=6.0))
    changes = [one.cause for one in of(told, told_events.Alarm)]
    assert changes == ["raise", "return", "raise", "return"]
    _, found = only(state)
    assert found.returned_s > found.alarm_s + 4.0


def test_a_warning_is_recorded_where_that_is_wanted_and_becomes_an_alarm(state, bundle):
    alarm = AlarmSettings(
        warning=LevelSettings(on_delay_s=0.5, margin=0.9), alarm=LevelSettings(on_delay_s=2.0, off_delay_s=1.0)
    )
    told = listen(state, bundle, *in_blocks(STREAM), wanted=settings(level="warning"), alarm=alarm)
    _, found = only(state)
    first = of(told, told_events.Alarm)[0]
    assert first.level == "warning" and found.level == "alarm"
    assert found.since_s - found.alarm_s == pytest.approx(first.since_s - first.at_s)


def test_nothing_is_recorded_while_people_work_on_the_machine(state, bundle):
    told = listen(state, bundle, *in_blocks(STREAM), out_of_service=True)
    assert {one.state for one in of(told, told_events.Alarm)} == {"out_of_service"} and not events(state)


def test_an_event_ends_when_people_begin_to_work_on_the_machine(state, bundle):
    kept, journal = recordings.recording(state, bundle)
    one = recordings.post(bundle, recordings.Scripted(*in_blocks(np.concatenate([hum(8, 1), fault(12)]))), ALARM)
    service = recordings.service([one], lambda _: None, recording=kept)
    while one.at < 14 * RATE:
        service.turn()
    moment = Moment(0.0, 0.0)
    alarm = service._panel._alarms["fan_section_00", "anomaly"]
    service._changed(alarm.apply("out_of_service", "ann", "new bearing", 0.0, 0.0, None), moment)
    while not one.source.ended:
        service.turn()
    service.close()
    journal.close()
    _, found = only(state)
    assert found.state == "whole" and found.returned_s is None
    assert 9.5 < found.seconds < 10.0  # from 4.2 s to 14.0 s of 20 s


@pytest.mark.parametrize("block_s", [0.032, 1.0, 5.0])
def test_an_event_is_the_same_however_large_the_blocks_are(state, bundle, block_s):
    listen(state, bundle, *in_blocks(STREAM, block_s))
    folder, found = only(state)
    ends = [window.end_s for window in event.windows(folder)]
    assert found.state == "whole" and ends[0] <= 0.256 and ends[-1] > found.seconds - 0.256
    assert np.diff(ends) == pytest.approx(0.256)


def test_the_journal_has_every_event_and_what_is_told_says_how_far_it_is(state, bundle):
    told = listen(state, bundle, *in_blocks(STREAM))
    _, found = only(state)
    states = [(one.id, one.state) for one in of(told, told_events.Recorded)]
    assert states == [(found.id, "open"), (found.id, "whole")]
    (row,) = Visitor(state).events(9)
    assert (row.id, row.seconds, row.reason) == (found.id, found.seconds, found.reason.words)


def test_two_events_of_one_second_are_two_folders(state, bundle):
    several = np.concatenate([part for seed in range(3) for part in (hum(6, seed), fault(4, seed), hum(6, seed))])
    listen(state, bundle, *in_blocks(several, 1.0), wanted=settings(after_s=0.5, before_s=0.5))
    names = [found.id for found in events(state).values()]
    assert len(names) == 3 and all(event.ID.fullmatch(name) for name in names)


def test_a_site_records_what_its_file_says(tmp_path, packed, type_in):
    site = tmp_path / "site.yaml"
    site.write_text(SITE.format(bundle=packed, more="free_mb: 0.0"))
    file = write_wav(tmp_path / "a.wav", STREAM)
    assert type_in("run", site, "--file", file, "--events", tmp_path / "e.jsonl")[0] == 0
    folder, found = only(tmp_path / "state")
    lines = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()]
    assert found.machine == "fan" and found.known_as == "fan_section_00" and found.site == "site"
    assert [one["state"] for one in lines if one["event"] == "recorded"] == ["open", "whole"]
    start = round((next(one for one in lines if one["event"] == "alarm")["at_s"] - found.alarm_s) * RATE)
    assert np.array_equal(sound(folder), in_16(STREAM[start : start + round(found.seconds * RATE)]))


def test_a_machine_is_recorded_on_its_own_channel(tmp_path, packed, type_in):
    machine = "{{bundle: {0}, microphone: left, machine: {1}, channel: {2}, alarm: {{alarm: {{on_delay_s: 1.0}}}}}}"
    machines = {"fan": ("fan_section_00", 2), "old pump": ("pump_section_00", 0)}
    lines = [f"  {name}: {machine.format(packed, *of_bundle)}" for name, of_bundle in machines.items()]
    site = tmp_path / "site.yaml"
    rest = "state: state\nmicrophones: {left: {}}\nrecorder: {free_mb: 0.0}\nmachines:\n"
    site.write_text(rest + "\n".join(lines))
    silent = np.zeros_like(STREAM)
    for number, column in enumerate((2, 0)):
        channels = [hum(24, 4), silent, hum(24, 4)]
        channels[column] = STREAM
        file = write_wav(tmp_path / f"{column}.wav", np.stack(channels, axis=1))
        assert type_in("run", site, "--file", file, "--events", tmp_path / f"{column}.jsonl")[0] == 0
        folder, found = list(events(tmp_path / "state").items())[-1]
        assert len(events(tmp_path / "state")) == number + 1
        assert found.machine == list(machines)[number] and folder.name.split("-", 1)[1] in ("fan", "old_pump")
        assert found.known_as == list(machines.values())[number][0]
        assert in_16(STREAM).tobytes().find(sound(folder).tobytes()) >= 0
        time.sleep(1.1)  # another second, another name


def test_a_recorder_that_breaks_is_told_and_scoring_goes_on(state, bundle, monkeypatch):
    from edge_runtime.recorder import recorder

    monkeypatch.setattr(recorder.Recorder, "window", lambda *_: 1 / 0)
    told = listen(state, bundle, *in_blocks(STREAM))
    assert ["ZeroDivisionError" in one.words for one in of(told, told_events.Notice)] == [True]
    assert told[-1].windows == (len(STREAM) - bundle.model.window) // bundle.model.hop + 1
    assert [one.cause for one in of(told, told_events.Alarm)] == ["raise", "return"]


def test_a_manifest_is_read_back_as_it_was_written(state, bundle):
    listen(state, bundle, *in_blocks(STREAM))
    folder, found = only(state)
    assert msgspec.json.decode((folder / "event.json").read_bytes(), type=event.Event) == found
