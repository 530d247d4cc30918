"""What can be played is kept where it is wanted, and nowhere else; normal sounds to compare with."""

import datetime
import time

import msgspec
import numpy as np
import pytest
import soundfile

from edge_runtime.backends import open_backend
from edge_runtime.detector import Detector, Ear
from edge_runtime.features import LogMel, log_mel
from edge_runtime.journal import Moment
from edge_runtime.listening.opening import Notes
from edge_runtime.quality import Fault
from edge_runtime.recorder import draft, event, normals
from tests.conftest import hum
from tests.edge_runtime.recordings import RATE, events, fault, in_blocks, listen, only, recording, settings, sound

STREAM = np.concatenate([hum(8, 1), fault(6), hum(6, 3)])
MUTE = settings(privacy="features-only")


def playable(folder):
    """Files that some player takes for sound, whatever they are called."""
    found = []
    for file in folder.rglob("*"):
        if file.is_file():
            try:
                soundfile.info(file)
                found.append(file.name)
            except soundfile.LibsndfileError:
                if file.suffix.lower() in (".wav", ".flac", ".ogg", ".mp3", ".raw", ".pcm"):
                    found.append(file.name)
    return found


def test_features_only_keeps_nothing_that_can_be_played(state, bundle):
    listen(state, bundle, *in_blocks(STREAM), wanted=MUTE)
    folder, found = only(state)
    assert playable(state) == [] and not (state / "normal").exists()
    assert (found.privacy, found.normal_db) == ("features-only", None)
    assert {file.name for file in folder.iterdir()} == {
        "features.npz", "spectrogram.png", "deviation.png", "windows.json", "event.json"
    }  # fmt: skip


def test_features_only_has_a_column_for_each_quarter_of_a_second(state, bundle):
    """A full log-mel can be made audible again: a frame each 32 ms holds every syllable."""
    listen(state, bundle, *in_blocks(STREAM), wanted=MUTE)
    folder, found = only(state)
    with np.load(folder / "features.npz") as arrays:
        columns = len(arrays["mel"])
    assert found.seconds / columns >= 0.25 and found.pictures.column_s == 0.256
    size = (folder / "spectrogram.png").read_bytes()[16:20]
    assert int.from_bytes(size, "big") == columns


def test_the_columns_of_features_only_are_means_of_the_whole_ones(tmp_path, bundle):
    listen(tmp_path / "sound", bundle, *in_blocks(STREAM))
    listen(tmp_path / "mute", bundle, *in_blocks(STREAM), wanted=MUTE)
    with np.load(only(tmp_path / "sound")[0] / "features.npz") as arrays:
        whole = arrays["mel"].astype(np.float32)
    with np.load(only(tmp_path / "mute")[0] / "features.npz") as arrays:
        assert np.abs(arrays["mel"] - draft.averaged(whole)).max() < 0.1


def test_sound_that_is_still_there_is_told_when_none_is_kept_any_more(state, bundle):
    listen(state, bundle, *in_blocks(STREAM))
    notes = Notes()
    listen(state, bundle, *in_blocks(hum(3)), wanted=MUTE, notes=notes)
    ((about, words),) = notes.take()
    assert about == "recorder" and words.startswith("2 events and normal sounds")  # one of each
    assert f"events purge --sound {state}" in words


def test_a_normal_sound_of_the_site_lies_beside_an_event_to_compare_with(state, bundle):
    listen(state, bundle, *in_blocks(STREAM))
    folder, found = only(state)
    (kept,) = normals.files(state)
    heard = normals.read(kept)
    assert heard.machine == "fan_section_00" and heard.clock == ""
    assert datetime.datetime.fromisoformat(heard.time).tzinfo is not None
    samples = sound(folder, event.NORMAL)
    start = next(
        at
        for at in range(0, 8 * RATE, 4096)
        if np.array_equal(samples, np.rint(STREAM[at : at + len(samples)] * 32_768))
    )
    assert start + len(samples) <= 8 * RATE  # from before the fault
    mel = log_mel(samples.astype(np.float32) / 32_768, LogMel()).mean(axis=0)
    assert np.abs(mel - heard.level).max() < 0.06
    with np.load(folder / "features.npz") as arrays:
        assert np.abs(arrays["normal"].astype(np.float32) - mel).mean() < 3.0
    end = round(found.alarm_s * RATE)
    alarmed = log_mel(sound(folder)[end - len(samples) : end].astype(np.float32) / 32_768, LogMel()).mean(axis=0)
    assert found.normal_db == pytest.approx(np.abs(alarmed - mel).mean(), abs=0.1) and found.normal_db > 1.0
    assert (folder / event.NORMAL).stat().st_ino == kept.stat().st_ino  # once on the disk


def test_normal_sounds_are_written_once_a_day_and_only_while_all_is_well(state, bundle):
    listen(state, bundle, *in_blocks(hum(12, 1)))
    files = {file: file.stat().st_mtime_ns for file in normals.files(state)}
    assert 1 <= len(files) <= len(bundle.machine("fan_section_00").normal_spectra)
    listen(state, bundle, *in_blocks(hum(12, 1)))
    assert {file: file.stat().st_mtime_ns for file in normals.files(state) if file in files} == files


def test_no_normal_sound_is_kept_of_a_window_that_is_nearly_above_the_threshold_or_in_an_alarm(tmp_path, bundle):
    listen(tmp_path / "fault", bundle, *in_blocks(fault(12)))
    assert not normals.files(tmp_path / "fault")
    listen(tmp_path / "alarm", bundle, *in_blocks(np.concatenate([fault(6), hum(1.5, 1)])))
    assert events(tmp_path / "alarm") and not normals.files(tmp_path / "alarm")


def test_no_normal_sound_is_kept_while_an_alarm_outlasts_its_event(state, bundle):
    sounds = np.concatenate([fault(20), hum(1.9, 1)])  # normal windows, and the off-delay is not over
    listen(state, bundle, *in_blocks(sounds), wanted=settings(longest_s=10.0))
    assert only(state)[1].state == "whole" and not normals.files(state)


@pytest.mark.parametrize("faults", [[], [Fault("clipping", False, "a click")]])
def test_no_normal_sound_is_kept_of_a_window_with_anything_odd_in_it(state, bundle, faults):
    kept, journal = recording(state, bundle)
    ear = Ear(bundle.machine("fan_section_00"))
    (found,) = Detector(bundle.model, open_backend(bundle.network, bundle.model), [ear]).push(
        hum(1.024, 1)[:, np.newaxis]
    )
    odd = msgspec.structs.replace(found[0], quality=msgspec.structs.replace(found[0].quality, found=faults))
    kept._recorder.window("fan_section_00", 0, odd, Moment(time.monotonic(), time.time()))
    kept.close()
    journal.close()
    assert len(normals.files(state)) == (not faults)


def test_what_is_no_normal_sound_of_ours_is_cleared_away_at_the_start(state, bundle):
    listen(state, bundle, *in_blocks(hum(6, 1)))
    (place,) = {file.parent for file in normals.files(state)}
    before = normals.files(state)
    (place / "00.partial").write_bytes(b"half")
    (place / "77.flac").write_bytes(before[0].read_bytes())  # of a spectrum that is no more
    (place / "05.flac").write_bytes(b"no sound")
    listen(state, bundle, *in_blocks(hum(2, 1)))
    assert (
        not (place / "00.partial").exists()
        and not (place / "77.flac").exists()
        and set(before) <= set(normals.files(state))
    )
