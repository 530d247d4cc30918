"""Folders of every layout, and the files beside them that say more than names do."""

import pytest

from calib import clips
from edge_runtime.errors import DataError
from tests.calib.conftest import DEV


def described(found: list[clips.Clip]) -> list[tuple]:
    return [(clip.machine, clip.split, clip.domain, clip.label, clip.attributes) for clip in found]


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
