"""Files that cannot be used are named with the reason; the census counts every one."""

import csv
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from calib import clips
from edge_runtime.errors import AudioError, DataError
from tests.calib.conftest import RATE
from tests.conftest import ROOT, SHARED


def sine(frames: int = 1600) -> np.ndarray:
    return (0.5 * np.sin(np.arange(frames) * 0.3)).astype(np.float32)


def cut(path: Path, keep: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


def write_bad(path: Path, kind: str) -> Path:
    """A sound file that has one thing wrong."""
    audio = sine()
    path = path.with_suffix(".flac") if "FLAC" in kind else path
    if kind == "NaN":
        audio[1200] = np.nan
    if kind == "too loud":
        audio *= 32767
    if kind == "no samples":
        audio = audio[:0]
    loose = kind in ("NaN", "too loud")
    soundfile.write(path, audio, 44100 if kind == "44.1 kHz" else RATE, subtype="FLOAT" if loose else "PCM_16")
    if kind.startswith("truncated"):
        cut(path, 0.6)
    if kind == "0 bytes":
        path.write_bytes(b"")
    if kind == "text":
        path.write_text("<html>404</html>")
    return path


BAD = {
    "0 bytes": "empty",
    "no samples": "holds no sound",
    "truncated WAV": "truncated",
    "truncated FLAC": "truncated",
    "NaN": "NaN",
    "too loud": "samples up to 1.638e\\+04, full scale is 1",
    "44.1 kHz": "44100 Hz, wanted 16000 Hz",
    "text": "a sound file",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(tree, kind):
    root = tree("saw/normal/good.wav")
    path = write_bad(root / "saw/normal/bad.wav", kind)
    with pytest.raises(AudioError, match=BAD[kind]) as caught:
        clips.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    found = clips.index(root)
    (problem,) = clips.problems(found)
    assert problem.path == path
    assert re.search(BAD[kind], problem.reason)
    assert str(path) not in problem.reason
    with pytest.raises(DataError, match=rf"1 of 2 clips.*{path.name}.*python calib/clips.py {root}/saw"):
        clips.check(found)


def test_a_missing_file_is_an_error_in_one_line(tmp_path):
    with pytest.raises(AudioError, match=r"gone\.wav: No such file"):
        clips.load(tmp_path / "gone.wav")


def test_a_wav_that_lacks_one_sample_is_not_read_short(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, sine(), RATE)
    assert len(clips.load(path)) == 1600
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(AudioError, match="truncated"):
        clips.load(path)


def test_a_resampled_recording_may_overshoot_full_scale(tmp_path):
    soundfile.write(tmp_path / "a.wav", 2.2 * sine(), RATE, subtype="FLOAT")
    assert np.abs(clips.load(tmp_path / "a.wav")).max() > 1


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_a_channel_of_a_stereo_clip_is_what_was_written(tmp_path, suffix):
    near, far = sine(), -0.25 * sine()
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, np.stack([near, far], axis=1), RATE)
    for channel, wanted in enumerate((near, far)):
        audio = clips.load(path, channel)
        assert audio.dtype == np.float32
        assert audio.flags.c_contiguous
        np.testing.assert_allclose(audio, wanted, atol=2**-15)  # one step of 16 bits
    with pytest.raises(AudioError, match="no channel 2; it has 2"):
        clips.load(path, 2)


def test_a_recording_longer_than_a_block_comes_back_whole(tmp_path):
    audio = np.arange(600_000, dtype=np.int32).astype(np.int16)  # more than two blocks of 2^18 frames
    soundfile.write(tmp_path / "a.wav", audio, RATE)
    np.testing.assert_array_equal(clips.load(tmp_path / "a.wav"), audio / np.float32(32768))


def test_a_clip_in_the_wrong_folder_is_a_problem(tree):
    root = tree(
        "fan/train/section_00_source_train_normal_0000.wav",
        "fan/train/section_00_source_test_normal_0001.wav",
        "pump/train/anomaly_id_00_00000000.wav",
        "saw/train/anomaly/a.wav",
        "saw/train/normal/a.wav",
    )
    found = clips.problems(clips.index(root))
    assert [problem.path.name for problem in found] == [
        "section_00_source_test_normal_0001.wav",
        "anomaly_id_00_00000000.wav",
        "a.wav",
    ]
    assert clips.census(root, opened=False).problems == found


def census(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "calib" / "clips.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd="/")


def test_the_census_counts_and_names_every_problem_file(tree):
    root = tree("fan/train/section_00_source_train_normal_0000.wav", "fan/train/notes.wav", "fan/test/section_00_0.wav")
    bad = write_bad(root / "fan/train/section_00_source_train_normal_0001.wav", "44.1 kHz")
    done = census(root)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "machine  section     domain  split  label   clips  seconds  channels",
        "fan      section_00  source  train  normal      2  0.0      1",
        "fan      section_00  -       test   -           1  0.0      1",
        "total                                           3",
        f"{root}/fan/train/notes.wav: a name of no known form, not counted; rename or remove it",
        f"{bad}: 44100 Hz, wanted 16000 Hz; resample it",
    ]
    said = json.loads(census(root, "--json", "--quick").stdout)
    assert (said["clips"], said["opened"], len(said["problems"])) == (3, False, 1)
    bad.unlink()
    (root / "fan/train/notes.wav").unlink()
    assert census(root).returncode == 0


def shared(name: str) -> Path:
    folder = SHARED / "data" / name
    if not folder.is_dir():
        pytest.skip(f"no real recordings: {folder} is absent")
    return folder


@pytest.mark.parametrize(("name", "count"), [("toycar", 412), ("dcase2020", 195), ("dcase2023", 28)])
def test_the_census_of_real_recordings_equals_their_metadata(name, count):
    folder = shared(name)
    with (folder.parent / "metadata.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["file"].startswith(f"{name}/")]
    done = census(folder, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["clips"] == len(rows) == count
    columns = ("machine_type", "section", "domain", "split", "label")
    counted = {
        tuple((row[column] or "").removeprefix("section_") for column in columns): row["clips"] for row in said["rows"]
    }
    assert counted == Counter(tuple(row[column] for column in columns) for row in rows)


def test_attributes_of_real_recordings_equal_their_metadata():
    folder = shared("dcase2023")
    with (folder.parent / "metadata.csv").open(newline="") as file:
        wanted = {Path(row["file"]).name: row["attributes"] for row in csv.DictReader(file)}
    for clip in clips.index(folder):
        assert clip.attributes == wanted[clip.name]


@pytest.mark.parametrize("name", ["background", "mimii", "mimii_fan_features"])
def test_a_folder_of_no_known_layout_ends_with_one_line(name):
    done = census(shared(name))
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    for word in ("no known layout", "DCASE", "plain folder"):
        assert word in line
