"""The official score and decision files: names and rows."""

import math

import numpy as np
import pytest

from calib import official
from edge_runtime.errors import DataError

NAMES = {
    "anomaly_score_fan_section_00_test.csv": ("fan", "section_00", "", 2022),
    "anomaly_score_fan_section_03_source_test.csv": ("fan", "section_03", "source", 2021),
    "decision_result_ToyCar_section_00.csv": ("ToyCar", "section_00", "", None),
    "anomaly_score_ToyConveyor_id_05.csv": ("ToyConveyor", "id_05", "", 2020),
    "anomaly_score_DCASE2023T2bandsaw_section_00_test_seed13711_id(0_)_Eval.csv": ("bandsaw", "section_00", "", 2023),
    "decision_result_DCASE2024T2ToyCar_section_00_test_seed1.csv": ("ToyCar", "section_00", "", 2024),
    "anomaly_score_my_old_pump_section_00_test.csv": ("my_old_pump", "section_00", "", 2022),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_names_of_every_year_are_read(name):
    parsed = official.parse_file_name(name)
    assert (parsed.machine_type, parsed.section, parsed.domain, parsed.year) == NAMES[name]


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        (("fan", "section_00"), "anomaly_score_fan_section_00_test.csv"),
        (("fan", "section_03", "target"), "anomaly_score_fan_section_03_target_test.csv"),
        (("fan", "id_06"), "anomaly_score_fan_id_06.csv"),
        (("pump 7", ""), "anomaly_score_pump 7_section_00_test.csv"),
    ],
)
def test_the_names_that_are_written_can_be_read(wanted, name):
    assert official.file_name(official.SCORES, *wanted) == name
    assert official.parse_file_name(name)[1] == wanted[0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("section_00_target_test_anomaly_0007_m-n_W.wav", ("section_00", "target", 1)),
        ("fan/test/section_01_source_test_normal_0000_volt_3.0.wav", ("section_01", "source", 0)),
        ("section_00_source_normal_0035_weight15_BckgF.wav", ("section_00", "source", 0)),
        ("section_03_source_test_0149.wav", ("section_03", "source", None)),
        ("section_03_0000.wav", ("section_03", "", None)),
        ("anomaly_id_01_00000000.wav", ("id_01", "", 1)),
        ("id_05_00000000.wav", ("id_05", "", None)),
        ("normal/2024-01-01.flac", ("", "", 0)),
        ("anomaly/2024-01-01.flac", ("", "", 1)),
    ],
)
def test_the_names_of_clips_say_section_domain_and_label(name, said):
    assert official.parse_clip_name(name)[1:] == said


def test_both_names_of_an_evaluation_clip_are_one():
    assert official.parse_clip_name("section_00_test_0012.wav") == official.parse_clip_name("section_00_0012.wav")


def test_scores_come_back_from_a_file_as_they_were(tmp_path):
    random = np.random.default_rng(0)
    path = tmp_path / "anomaly_score_fan_section_00_test.csv"
    scores = {f"section_00_{i:04}.wav": float(x) for i, x in enumerate(random.normal(size=50) * 1e-7)}
    official.write_scores(path, scores.items())
    assert official.read_values(path) == scores
    official.write_scores(path, [(name, np.float32(x)) for name, x in scores.items()])
    assert official.read_values(path) == {name: float(np.float32(x)) for name, x in scores.items()}
    official.write_scores(path, [("a.wav", np.bool_(True)), ("b, c.wav", np.int64(0))])
    assert path.read_bytes() == b'a.wav,1\n"b, c.wav",0\n'
    assert list(tmp_path.iterdir()) == [path]


def test_a_score_that_is_no_number_is_not_written_and_nothing_is_destroyed(tmp_path):
    path = tmp_path / "anomaly_score_fan_section_00_test.csv"
    official.write_scores(path, [("a.wav", 1.0)])
    for rows, message in (([("a.wav", math.nan)], "finite"), ([("a.wav", 1.0), ("a.wav", 2.0)], "two rows")):
        with pytest.raises(DataError, match=message):
            official.write_scores(path, rows)
    assert path.read_text() == "a.wav,1.0\n"
    assert list(tmp_path.iterdir()) == [path]
