"""Curves over training sound and over imprinted clips, on clips of 0.85 s."""

import pytest

pytest.importorskip("torch", reason="pip install '.[export]': training and export need torch")

from calib.clips import index
from calib.fit import training_clips
from edge_runtime import config
from edge_runtime.cli import run_command
from edge_runtime.errors import DataError
from export import curves
from tests.conftest import ROOT, hum, write_wav

TINY = ["window_frames=20", "hop_frames=8", "crop_frames=16", "training.batch=8", "training.workers=0"]
SETS = [word for change in TINY for word in ("--set", change)]
CONFIG = str(ROOT / "train" / "configs" / "tfap_edge.yaml")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Two types of two machines: 6 source and 3 target clips each to train; 2 of each domain and label to test."""
    root = tmp_path_factory.mktemp("curves") / "data"
    for number, (name, section) in enumerate([("fan", 0), ("fan", 1), ("pump", 0), ("pump", 1)]):
        kinds = [("source", "train", "normal", 6), ("target", "train", "normal", 3)]
        kinds += [(domain, "test", label, 2) for domain in ("source", "target") for label in ("normal", "anomaly")]
        for domain, split, label, count in kinds:
            for at in range(count):
                sound = hum(
                    0.75, seed=at + 10 * number, pitch=(60.0 + 20 * number) * (1.2 if domain == "target" else 1)
                )
                sound[:: 400 if label == "anomaly" else len(sound)] += 0.3
                file = f"section_{section:02d}_{domain}_{split}_{label}_{at:04d}_spd_{at % 2}.wav"
                write_wav(root / "dev_data" / name / split / file, sound)
    return root


def test_a_part_of_the_training_data_takes_types_in_turn_and_the_same_share_of_target_clips(recordings):
    chosen = curves.subset(training_clips(recordings), 2, 2)
    assert {clip.machine for clip in chosen} == {"fan_section_00", "pump_section_00"}
    assert [clip.domain for clip in chosen] == ["source", "source", "target"] * 2
    with pytest.raises(DataError, match="--machines 5: there are 4"):
        curves.subset(training_clips(recordings), 5, 1)


def test_a_learning_curve_and_an_imprinting_curve_are_written_and_trained_once(recordings, tmp_path, capsys):
    out = tmp_path / "learn"
    words = ["learn", CONFIG, "--train-data", str(recordings), "--data", str(recordings), "--out", str(out)]
    words += ["--machines", "2", "4", "--clips", "3", "--heard", "24", *SETS]
    assert run_command(curves.main, words) == 0
    found = config.load_json(out / "curve.json", curves.Curve)
    assert [point.at for point in found.points] == [{"machines": 2, "clips": 3}, {"machines": 4, "clips": 3}]
    assert list(found.points[0].figures) == ["AUC source", "AUC target", "pAUC", "official"]
    runs = sorted((out / "runs").iterdir())
    before = [(run / "run.json").stat().st_mtime_ns for run in runs]
    assert run_command(curves.main, words) == 2 and "holds a curve" in capsys.readouterr().err
    (out / "curve.json").unlink()
    (out / "curve.md").unlink()
    assert run_command(curves.main, words) == 0
    assert [(run / "run.json").stat().st_mtime_ns for run in runs] == before
    assert config.load_json(out / "curve.json", curves.Curve).points == found.points
    capsys.readouterr()
    words = ["imprint", str(runs[0]), "--data", str(recordings), "--target-clips", "0", "3"]
    assert run_command(curves.main, [*words, "--out", str(tmp_path / "imprint")]) == 0
    printed = capsys.readouterr().out
    assert "| network | target clips | AUC source |" in printed and len(index(recordings)) == 4 * 17
    words = ["imprint", str(runs[0]), "--data", str(recordings), "--target-clips", "4", "--out", str(tmp_path / "four")]
    assert run_command(curves.main, words) == 2 and not (tmp_path / "four").exists()
    assert "--target-clips 4: fan_section_00 has 3 of the target domain" in capsys.readouterr().err
    none, three = config.load_json(tmp_path / "imprint" / "curve.json", curves.Curve).points
    assert (none.at, three.at) == ({"target_clips": 0}, {"target_clips": 3})
    assert none.figures["AUC target"] != three.figures["AUC target"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["imprint", "nowhere"], "no config.yaml"),
        (["imprint", "x", "--target-clips", "-1"], "--target-clips -1: give 0 or more"),
        (["learn", CONFIG, "--train-data", "x", "--heard", "0"], "--heard 0: give 1 or more"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(words, said, recordings, tmp_path, capsys):
    words = [*words, "--data", str(recordings), "--out", str(tmp_path / "out")]
    assert run_command(curves.main, words) == 2
    assert said in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_network_of_one_machine_type_has_no_curve_over_all_of_them(recordings, tmp_path, capsys):
    oevae = str(ROOT / "train" / "configs" / "oevae.yaml")
    words = ["learn", oevae, "--train-data", str(recordings), "--data", str(recordings), "--out", str(tmp_path / "out")]
    assert run_command(curves.main, [*words, "--machines", "2", "--clips", "3"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "knows one machine type" in said and not (tmp_path / "out").exists()
