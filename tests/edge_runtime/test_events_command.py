"""What people do with events: look, say what it was, keep, remove, export to retrain."""

import contextlib
import csv
import io
import json
import time

import msgspec
import numpy as np
import pytest
import soundfile

from calib import clips
from edge_runtime.__main__ import main
from edge_runtime.alarm import AlarmSettings, LevelSettings
from edge_runtime.bundle import open_bundle
from edge_runtime.cli import run_command
from edge_runtime.journal import lock
from edge_runtime.recorder import event, folder, normals
from tests.conftest import hum, write_wav
from tests.edge_runtime.recordings import RATE, SITE, fault, in_blocks, listen, settings, sound
from tests.edge_runtime.test_recorder_disk import aged
from tests.edge_runtime.test_recorder_privacy import playable


@pytest.fixture
def made(state, packed):
    """Records events of 4 s of hum, 8 s of a fault and 4 s of hum -> their folders, oldest first."""

    def make(*labels, **changes):
        bundle, there = open_bundle(packed), []
        for number, label in enumerate(labels):
            parts = np.concatenate([hum(5, number), fault(8, number), hum(6, number + 50)])
            listen(state, bundle, *in_blocks(parts, 1.0), wanted=settings(**changes))
            (new,) = set(event.folders(state)) - set(there)
            there.append(aged(new, len(labels) - number))
            if label:
                event.label(there[-1], label, "ann")
        return there

    return make


@pytest.fixture
def typed(capsys):
    """Run a command -> exit code, stdout, stderr."""

    def run(*words):
        code = run_command(main, ["events", *(str(word) for word in words)])
        return code, *capsys.readouterr()

    return run


def test_the_list_has_every_event_the_newest_last_and_what_people_said(made, typed, state):
    first, second = made("fault", None)
    code, out, _ = typed("list", state)
    lines = out.splitlines()
    assert code == 0 and [line.split()[0] for line in lines[:2]] == [first.name, second.name]
    assert "  fault  " in lines[0] and "  -  " in lines[1] and lines[2].startswith("2 events, ")
    shown = json.loads(typed("list", state, "--json")[1])
    assert [one["event"]["id"] for one in shown] == [first.name, second.name]
    assert shown[0]["said"]["labels"][0]["what"] == "fault" and shown[0]["folder"] == str(first)
    assert json.loads(typed("list", state, "--machine", "pump", "--json")[1]) == []


def test_a_site_file_names_the_folder(made, typed, state, tmp_path, packed):
    (one,) = made(None)
    (tmp_path / "site.yaml").write_text(SITE.format(bundle=packed, more=""))
    assert one.name in typed("show", tmp_path / "site.yaml", one.name)[1]
    assert typed("show", tmp_path / "site.yaml", "20200101T000000Z-fan")[0] == 2
    assert "no such event" in typed("show", state, "../../etc")[2]


def test_what_was_said_before_stays_in_the_list_and_the_newest_counts(made, typed, state):
    (one,) = made(None)
    assert typed("label", state, one.name, "normal", "--by", "ann", "--why", "it was a truck")[0] == 0
    assert typed("label", state, one.name, "disturbance", "--by", "bob")[0] == 0
    assert [(said.what, said.who) for said in event.said(one).labels] == [("normal", "ann"), ("disturbance", "bob")]
    code, out, _ = typed("show", state, one.name)
    assert code == 0 and "ann: normal, it was a truck" in out and "bob: disturbance" in out
    assert typed("label", state, one.name, "fault", "--by", "a\nb")[0] == 2


def test_marked_events_are_purged_only_where_that_is_said(made, typed, state):
    first, second = made(None, None)
    assert typed("mark", state, first.name, "--by", "ann")[0] == 0
    code, out, err = typed("purge", state, first.name, second.name)
    assert code == 1 and f"{second.name}: removed" in out and f"{first.name}: marked" in err
    assert event.folders(state) == [first]
    assert typed("unmark", state, first.name)[0] == 0
    assert typed("mark", state, first.name)[0] == 0
    assert typed("purge", state, first.name, "--marked")[0] == 0
    assert list((state / event.EVENTS).iterdir()) == []


def test_nothing_is_purged_where_nothing_is_named(made, typed, state):
    made(None)
    code, _, err = typed("purge", state)
    assert code == 2 and "nothing is named" in err and len(event.folders(state)) == 1


def test_sound_can_be_purged_and_the_rest_stays_as_features_only_has_it(made, typed, state):
    (one,) = made("fault")
    before, words = event.read(one), event.windows(one)
    with np.load(one / "features.npz") as arrays:
        frames = len(arrays["mel"])
    assert typed("purge", state, "--sound")[0] == 0
    assert playable(state) == [] and not (state / normals.FOLDER).exists()
    after = event.read(one)
    with np.load(one / "features.npz") as arrays:
        assert len(arrays["mel"]) == -(-frames // 8)
    assert after.privacy == "features-only" and after.pictures.column_s == 0.256 and event.windows(one) == words
    same = ("id", "time", "score", "reason", "seconds", "returned_s")
    assert [getattr(after, name) for name in same] == [getattr(before, name) for name in same]
    assert event.said(one).labels[0].what == "fault"
    assert typed("purge", state, "--sound")[1] == "0 removed, 0 left\n"


def test_an_event_that_goes_on_is_left_to_the_listener(made, typed, state):
    (one,) = made(None)
    folder.rewrite(one, msgspec.structs.replace(event.read(one), state="open"))
    holder = lock.hold(state)
    with open(holder, closefd=True):  # noqa: PTH123 - a descriptor
        assert typed("purge", state, one.name)[0] == 1 and one.is_dir()
    assert typed("purge", state, one.name)[0] == 0 and not one.exists()


# Export


def census(data):
    """Rows of `calib/clips.py`, which must find no problem."""
    with contextlib.redirect_stderr(io.StringIO()):
        found = clips.census(data)
    assert found.problems == []
    return {(row.machine_type, row.section, row.split, row.label): row.clips for row in found.rows}


def test_labelled_events_are_a_data_set_that_the_training_reads(made, typed, state, tmp_path):
    faults = made("fault", "normal", "normal", "disturbance", None)
    code, out, _ = typed("export", state, "--out", tmp_path / "data", "--clip-seconds", "2", "--json")
    done = json.loads(out)
    assert code == 0 and done["events"] == 3
    assert done["left_out"] == {"said to be: disturbance": 1, "nobody said what it was": 1}
    counts = census(tmp_path / "data")
    assert set(counts) == {
        ("fan", "section_00", "train", "normal"), ("fan", "section_00", "test", "normal"),
        ("fan", "section_00", "test", "anomaly"),
    }  # fmt: skip
    total = counts["fan", "section_00", "train", "normal"] + counts["fan", "section_00", "test", "normal"]
    assert counts["fan", "section_00", "test", "normal"] == total // 5 > 0
    names = {clip.name: clip for clip in clips.index(tmp_path / "data")}
    assert f"section_00_source_test_anomaly_0000_event_{faults[0].name}.wav" in names
    assert {clip.attributes for clip in names.values()} == {f"event_{one.name}" for one in faults[:3]}
    clips.check(names.values())


def test_an_anomaly_clip_is_of_the_fault_and_a_normal_one_of_all_that_was_heard(made, typed, state, tmp_path):
    one, false = made("fault", "normal")
    typed("export", state, "--out", tmp_path / "data", "--clip-seconds", "2")
    for clip in clips.index(tmp_path / "data"):
        samples, rate = soundfile.read(clip.path, dtype="int16")
        assert rate == RATE and len(samples) == 2 * RATE
        place = one if clip.label == "anomaly" else false
        heard, found = sound(place), event.read(place)
        at = heard.tobytes().find(samples.tobytes()) // 2
        assert np.array_equal(heard[at : at + len(samples)], samples)
        if clip.label == "anomaly":
            assert found.since_s - 1.024 <= at / RATE + 1e-6 and at / RATE + 2.0 <= found.returned_s + 1e-6
            inside = [window for window in event.windows(place) if at <= window.start_s * RATE < at + RATE]
            assert any(window.decision for window in inside)
    counts = census(tmp_path / "data")
    assert sum(count for (*_, label), count in counts.items() if label == "normal") == len(sound(false)) // (2 * RATE)


def test_the_off_delay_of_an_alarm_is_no_anomaly(packed, typed, state, tmp_path):
    alarm = AlarmSettings(alarm=LevelSettings(on_delay_s=1.0, off_delay_s=12.0))
    sounds = np.concatenate([hum(5, 1), fault(6), hum(16, 3)])
    listen(state, open_bundle(packed), *in_blocks(sounds), alarm=alarm)
    (one,) = event.folders(state)
    event.label(one, "fault", "ann")
    assert event.read(one).returned_s - event.read(one).alarm_s > 15.0
    assert typed("export", state, "--out", tmp_path / "data", "--clip-seconds", "2")[0] == 0
    assert 3 <= len(clips.index(tmp_path / "data")) <= 4  # six to eight of the nineteen seconds


def test_no_clip_spans_lost_sound(packed, typed, state, tmp_path):
    bundle = open_bundle(packed)
    from tests.edge_runtime.posts import block

    blocks = [
        *in_blocks(np.concatenate([hum(4, 1), fault(5)])),
        block(fault(5, 3), lost=4000),
        *in_blocks(hum(6), new=None),
    ]
    listen(state, bundle, *blocks)
    (one,) = event.folders(state)
    event.label(one, "normal", "ann")
    ((start, end),) = event.read(one).gaps
    assert typed("export", state, "--out", tmp_path / "data", "--clip-seconds", "1.5")[0] == 0
    heard, found = sound(one), clips.index(tmp_path / "data")
    assert len(found) == int(start / 1.5) + int((event.read(one).seconds - end) / 1.5)
    for clip in found:
        samples, _ = soundfile.read(clip.path, dtype="int16")
        at = heard.tobytes().find(samples.tobytes()) // 2
        assert at + len(samples) <= round(start * RATE) or at >= round(end * RATE)


@pytest.mark.parametrize(
    ("name", "there", "wanted"),
    [
        (
            "fan_section_03",
            "fan/train/section_03_target_train_normal_0041_vel_3.wav",
            "section_03_source_train_normal_0042_",
        ),
        ("ToyCar_id_01", "ToyCar/train/normal_id_01_00000007.wav", "normal_id_01_00000008.wav"),
        ("pump", "pump/normal/000099.wav", "000100.wav"),
        ("pump", "pump/train/normal/000099.wav", "000100.wav"),
    ],
)
def test_clips_are_added_to_a_data_set_and_numbers_go_on(made, typed, state, tmp_path, name, there, wanted):
    made("normal", "fault")
    old = write_wav(tmp_path / "data" / there, hum(2))
    before = old.read_bytes()
    words = ["export", state, "--out", tmp_path / "data", "--clip-seconds", "2", "--rename", f"fan_section_00={name}"]
    code, _, err = typed(*words)
    assert code == 2 and "already exists" in err
    code, out, _ = typed(*words, "--append")
    assert code == 0 and "test anomaly" in out and old.read_bytes() == before
    assert any(file.name.startswith(wanted) for file in old.parent.iterdir())
    assert census(tmp_path / "data")
    files = sorted((tmp_path / "data").rglob("*.wav"))
    code, out, _ = typed(*words, "--append")  # what is there is not added again
    assert code == 1 and "2 events left out: exported already" in out
    assert sorted((tmp_path / "data").rglob("*.wav")) == files
    with next((tmp_path / "data").rglob("exported.csv")).open() as stream:
        assert len(list(csv.DictReader(stream))) == len(files) - 1


def test_events_without_sound_are_left_out_and_counted(made, typed, state, tmp_path):
    made("fault", privacy="features-only")
    code, out, _ = typed("export", state, "--out", tmp_path / "data")
    assert code == 1 and "1 events left out: without sound (privacy: features-only)" in out
    assert not (tmp_path / "data").exists()


def test_a_damaged_event_is_left_out_and_counted_and_the_others_are_exported(made, typed, state, tmp_path):
    manifest, windows, heard, whole = made("fault", "fault", "fault", "fault")
    for file in (manifest / event.MANIFEST, windows / event.WINDOWS, heard / event.SOUND):
        file.write_bytes(b"{")
    words = ["export", state, "--out", tmp_path / "data", "--clip-seconds", "2", "--machine", event.read(whole).machine]
    code, out, _ = typed(*words)
    assert code == 0 and out.count("1 events left out: damaged: ") == 3 and f"{manifest.name}/{event.MANIFEST}" in out
    assert {clip.attributes for clip in clips.index(tmp_path / "data")} == {f"event_{whole.name}"}


def test_every_fifth_normal_clip_is_for_testing_however_few_come_at_once(made, typed, state, tmp_path):
    data = tmp_path / "data"
    for one in made(None, None, None):
        event.label(one, "normal", "ann")
        assert typed("export", state, "--out", data, "--clip-seconds", "5", "--append")[0] == 0
    kinds = [clip.split for clip in clips.index(data)]
    assert kinds.count("test") == len(kinds) // 5 > 0


def test_a_year_of_events_is_listed_in_a_moment(made, state, typed):
    (one,) = made("fault")
    for number in range(500):
        copy = one.with_name(f"{one.name}.{number + 2}")
        copy.mkdir()
        for name in (event.MANIFEST, event.LABEL):
            (copy / name).write_bytes((one / name).read_bytes())
    began = time.monotonic()
    assert typed("list", state)[1].splitlines()[-1].startswith("501 events")
    assert time.monotonic() - began < 5.0
