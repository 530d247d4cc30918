"""File names of every year say what they say."""

import pytest

from calib.names import Name, parse

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
