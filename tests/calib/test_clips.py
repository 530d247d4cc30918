"""The index of a data set: names of every year, folders of every layout, and files that cannot be used."""

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
from calib.names import Name, parse
from edge_runtime.errors import AudioError, DataError
from tests.conftest import ROOT, SHARED

RATE = 16000

NAMES = {
    "normal_id_01_00000000.wav": Name("id_01", "00000000", label="normal"),  # 2020
    "anomaly_id_06_00000263.flac": Name("id_06", "00000263", label="anomaly"),
    "id_05_00000514.wav": Name("id_05", "00000514"),
    "section_00_source_train_normal_0000_strength_1_ambient.wav": Name(  # 2021
        "section_00", "0000", "source", "train", "normal", "strength_1_ambient"
    ),
    "section_02_target_test_anomaly_0099.wav": Name("section_02", "0099", "target", "test", "anomaly"),
    "section_03_source_test_0000.wav": Name("section_03", "0000", "source", "test"),
    "section_00_target_test_anomaly_0000_f-n_B.wav": Name(  # 2022
        "section_00", "0000", "target", "test", "anomaly", "f-n_B"
    ),
    "section_03_0000.wav": Name("section_03", "0000"),
    "section_00_source_train_normal_0001_volt_1.7_wt_50.flac": Name(  # 2023: a dot that starts no suffix
        "section_00", "0001", "source", "train", "normal", "volt_1.7_wt_50"
    ),
    "section_00_target_test_normal_0032_car_C2_spd_H_mic_2": Name(  # a truth list writes no suffix
        "section_00", "0032", "target", "test", "normal", "car_C2_spd_H_mic_2"
    ),
    "fan/test/section_00_test_0199.WAV": Name("section_00", "0199", None, "test"),
    "section_00_source_train_normal_0765_noAttribute.wav": Name(  # 2024
        "section_00", "0765", "source", "train", "normal"
    ),
    "section_00_source_normal_0035_weight15_BckgF.wav": Name(
        "section_00", "0035", "source", None, "normal", "weight15_BckgF"
    ),
    "section_00_target_train_normal_0009_.wav": Name("section_00", "0009", "target", "train", "normal"),  # 2025
    "section_00_machine_0001_.wav": Name("section_00", "0001", None, "supplemental", "normal", "machine"),
    "section_00_machine_source_0000_noAttribute.wav": Name(
        "section_00", "0000", "source", "supplemental", "normal", "machine"
    ),
    "section_00_noise_0100_mic_pos_2.wav": Name("section_00", "0100", None, "supplemental", None, "noise_mic_pos_2"),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_every_year_says_what_it_says(name):
    assert parse(name) == NAMES[name]


@pytest.mark.parametrize(
    "name", ["normal_pab1_00000000.wav", "00000000.wav", "1-100210-A-36.flac", "section_0_0000.wav", "normal_id_01.wav"]
)
def test_a_name_of_no_known_form_says_nothing(name):
    assert parse(name) is None


@pytest.fixture
def tree(tmp_path):
    """Write short WAV files at the paths given, and return the folder they are in."""

    def write(*paths: str) -> Path:
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(tmp_path / path, np.zeros(160, np.int16), RATE)
        return tmp_path

    return write


def described(found: list[clips.Clip]) -> list[tuple]:
    return [(clip.machine, clip.split, clip.domain, clip.label, clip.attributes) for clip in found]


DEV = "section_00_source_train_normal_0000_vel_4.wav"


@pytest.mark.parametrize("parents", ["", "raw/", "dev_data/", "dev_data/raw/", "eval_data/raw/dev_fan/"])
@pytest.mark.parametrize("above", [False, True])
def test_a_dcase_machine_is_found_from_the_root_and_from_every_folder_below(tree, parents, above):
    root = tree(f"{parents}fan/train/{DEV}")
    starts = [root / parents / "fan", root / parents] if above else [root]
    for start in starts:
        assert described(clips.index(start)) == [("fan_section_00", "train", "source", "normal", "vel_4")]


def test_the_folder_gives_the_split_and_the_domain_that_a_name_leaves_open(tree):
    root = tree(
        "fan/source_test/section_03_0000.wav",
        "fan/target_test/section_03_target_test_0000.wav",
        "fan/test/section_03_target_test_0000.wav",  # the baseline copies both into test/
        "fan/test/section_04_0001.wav",
        "fan/supplemental/section_03_machine_0001_.wav",
    )
    assert described(clips.index(root)) == [
        ("fan_section_03", "test", "source", None, ""),
        ("fan_section_03", "test", "target", None, ""),
        ("fan_section_03", "supplemental", None, "normal", "machine"),
        ("fan_section_04", "test", None, None, ""),
    ]


def test_labelled_copies_stand_for_the_test_clips(tree):
    root = tree("fan/test/section_00_0000.wav", "fan/test_rename/section_00_target_normal_0091_weight35_BckgE.wav")
    assert described(clips.index(root)) == [("fan_section_00", "test", "target", "normal", "weight35_BckgE")]


def test_attribute_files_fill_what_names_leave_open(tree):
    root = tree(
        "dev_data/fan/train/section_00_source_train_normal_0000_.wav",
        "dev_data/fan/train/section_00_source_train_normal_0001_m-n_X.wav",
        "dev_data/fan/train/section_00_source_train_normal_0002_noAttribute.wav",
        "dev_data/fan/test/section_00_test_0003.wav",
    )
    (root / "dev_data/fan/attributes_00.csv").write_text(
        "file_name,d1p,d1v,d2p,d2v,file_name_with_full_attributes\n"
        "fan/train/section_00_source_train_normal_0000_.wav,m-n,W,mic_pos,2\n"
        "section_00_source_train_normal_0001_m-n_X,m-n,Z,mic_pos,2\n"
        "fan/train/section_00_source_train_normal_0002_noAttribute.wav,noAttribute,\n"
        "fan/test/section_00_0003.wav,m-n,W,,,fan/test/section_00_target_test_anomaly_0017_m-n_W.wav\n"
    )
    assert described(clips.index(root)) == [
        ("fan_section_00", "train", "source", "normal", "m-n_W_mic_pos_2"),
        ("fan_section_00", "train", "source", "normal", "m-n_X"),
        ("fan_section_00", "train", "source", "normal", ""),
        ("fan_section_00", "test", "target", "anomaly", "m-n_W"),
    ]


TRUTH = {
    "ground_truth_attributes/ground_truth_fan_section_00_test.csv": (  # 2023 on
        "section_00_0000.wav,section_00_target_test_normal_0032_spd_H\n"
        "section_00_0001.wav,section_00_source_anomaly_0027_spd_L\n"
    ),
    "eval_data_list_2023.csv": (
        "fan\nsection_00_0000.wav,section_00_target_test_normal_0032_spd_H.wav\n"
        "section_00_0001.wav,section_00_source_test_anomaly_0027_spd_L.wav\n"
        "pump\nsection_00_0000.wav,section_00_source_test_anomaly_0001.wav\n"
    ),
}


@pytest.mark.parametrize("place", ["eval_data/raw", "eval_data", ""])
@pytest.mark.parametrize("file", TRUTH)
def test_a_truth_next_to_the_evaluation_clips_labels_them(tree, file, place):
    root = tree("eval_data/raw/fan/test/section_00_0000.wav", "eval_data/raw/fan/test/section_00_test_0001.wav")
    (root / place / file).parent.mkdir(exist_ok=True)
    (root / place / file).write_text(TRUTH[file])
    for start in (root, root / "eval_data/raw/fan"):
        assert described(clips.index(start)) == [
            ("fan_section_00", "test", "target", "normal", "spd_H"),
            ("fan_section_00", "test", "source", "anomaly", "spd_L"),
        ]


def test_truths_of_zeros_and_ones_give_label_and_domain(tree):
    root = tree("fan/test/section_03_0000.wav")
    for what, value in (("data", 1), ("domain", 0)):
        (root / f"ground_truth_{what}").mkdir()
        (root / f"ground_truth_{what}/ground_truth_fan_section_03_test.csv").write_text(
            f"section_03_0000.wav,{value}\n"
        )
    assert described(clips.index(root)) == [("fan_section_03", "test", "source", "anomaly", "")]


def test_the_last_fifth_of_a_plain_folders_normal_clips_is_test_where_there_are_anomalies(tree):
    root = tree(*(f"drill/normal/{number}.wav" for number in range(1, 11)), "drill/abnormal/1.wav")
    found = clips.index(root / "drill")
    assert [clip.name for clip in clips.select(found, split="train")] == [f"{number}.wav" for number in range(1, 9)]
    assert [clip.name for clip in clips.select(found, split="test", label="normal")] == ["9.wav", "10.wav"]
    assert [clip.machine for clip in clips.select(found, label="anomaly")] == ["drill"]


def test_a_recording_of_normal_sound_alone_is_all_for_training(tree):
    found = clips.index(tree("pump/normal/000001.wav", "pump/normal/000002.wav", "fan/normal/000001.wav"))
    assert [(clip.machine, clip.split) for clip in found] == [("fan", "train"), ("pump", "train"), ("pump", "train")]


def test_a_plain_folder_may_split_its_clips_itself(tree):
    found = clips.index(tree("saw/train/normal/a.wav", "saw/test/normal/a.wav", "saw/test/anomaly/b.wav"))
    assert described(found) == [
        ("saw", "train", None, "normal", ""),
        ("saw", "test", None, "normal", ""),
        ("saw", "test", None, "anomaly", ""),
    ]


def test_numbered_machines_of_a_type_keep_their_type(tree):
    found = clips.index(tree("fan/id_00/normal/0.wav", "fan/id_02/normal/0.wav", "pump/id_00/normal/0.wav"))
    assert [clip.machine for clip in found] == ["fan_id_00", "fan_id_02", "pump_id_00"]


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["pump/normal_pab1.wav"], "no known layout"),
        (["rain/a.wav", "rooster/b.wav"], "no known layout"),
        (["year/fan/train/" + DEV], "no known layout"),
        (["fan/train/" + DEV, "fan/normal/a.wav"], "side by side"),
        (["fan/train/normal/a.wav", "fan/normal/a.wav"], "beside train/"),
        (["6dB/id_00/normal/a.wav", "6dB/id_00/normal/a.flac"], "one machine, one name"),
        (["dev_data/fan/train/" + DEV, "eval_data/fan/train/" + DEV], "one machine, one name"),
    ],
)
def test_a_folder_that_cannot_be_told_apart_is_refused_in_one_line(tree, paths, words):
    with pytest.raises(DataError, match=words) as caught:
        clips.index(tree(*paths))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", [True, False])
def test_what_is_no_folder_is_refused(tmp_path, missing):
    path = tmp_path / "data"
    if not missing:
        path.touch()
    with pytest.raises(DataError, match="no such folder" if missing else "not a folder"):
        clips.index(path)


def test_clips_are_selected_by_machine_or_type_and_everything_asked(tree):
    found = clips.index(
        tree(
            "fan/train/section_00_source_train_normal_0000.wav",
            "fan/train/section_01_source_train_normal_0000.wav",
            "fan/test/section_01_target_test_anomaly_0000.wav",
            "pump/test/section_01_target_test_anomaly_0000.wav",
        )
    )
    assert len(clips.select(found)) == 4
    assert len(clips.select(found, machine="fan")) == 3
    assert len(clips.select(found, machine="fan_section_01")) == 2
    assert len(clips.select(found, machine="fan_section_01", split="test", label="anomaly", domain="target")) == 1
    assert clips.select(found, machine="fan", split="train", domain="target") == []


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
