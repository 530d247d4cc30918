"""Training from recordings to a run folder and its scores, on clips of 0.7 s."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from calib import metrics
from calib.clips import Clip
from calib.truth import load_sections
from tests.train.conftest import FRAMES, error, train
from train import data, evaluate, loop, run_folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return run_folder.load_run(folder).network.state_dict()


def same(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return all(torch.equal(array, second[name]) for name, array in first.items())


def losses(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open() as stream:
        return [float(row["loss"]) for row in csv.DictReader(stream)]


def test_training_lowers_the_loss(trained):
    assert len(losses(trained)) == 4
    assert losses(trained)[-1] < losses(trained)[0]


def test_a_run_folder_says_what_was_trained(trained):
    found = run_folder.load_run(trained)
    assert found.model.system == found.model.name == "featex"
    assert found.model.window == (FRAMES - 1) * 512 + 1024 and found.model.hop == 4 * 512
    assert found.model.trained_on == ["fan_section_00", "pump_section_00"]
    assert [(one.machine_type, one.attributes) for one in found.classes] == [
        ("fan", "spd_source"), ("fan", "spd_target"), ("pump", "spd_source"), ("pump", "spd_target"),
    ]  # fmt: skip
    assert found.config.training.epochs == 4 and not found.network.training
    origin = json.loads((trained / "run.json").read_text())
    assert origin["clips"] == 16 and set(origin) == {"version", "commit", "data", "clips", "seconds"}
    with (trained / "metrics.csv").open() as stream:
        assert origin["seconds"] == sum(float(row["seconds"]) for row in csv.DictReader(stream))


def test_a_resumed_run_equals_an_unbroken_one(trained, recordings, tmp_path):
    part = train(tmp_path / "part", recordings, "--epochs", "2")
    assert not same(part, trained)
    train(part, recordings, "--epochs", "4", "--resume", "--set", "training.workers=1")
    assert losses(part) == losses(trained)
    assert same(part, trained)


class PowerCutError(Exception):
    pass


def cut_before(epoch: int, *arguments: Any) -> None:
    """Train as told until that epoch (counted from 0) begins."""
    begins = loop.Loop.epoch

    def cut(going: loop.Loop) -> None:
        if going.progress.epoch == epoch:
            raise PowerCutError
        begins(going)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(PowerCutError):
        patch.setattr(loop.Loop, "epoch", cut)
        train(*arguments)


def test_a_run_that_was_cut_off_goes_on_from_its_last_whole_epoch(trained, recordings, tmp_path):
    part = tmp_path / "part"
    cut_before(3, part, recordings, "--epochs", "4")
    assert len(losses(part)) == 3 and not run_folder.finished(part)
    train(part, recordings, "--epochs", "4", "--resume")
    assert losses(part) == losses(trained)
    assert same(part, trained) and run_folder.finished(part)


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_a_run_with_a_schedule_that_is_cut_off_after_any_epoch_equals_an_unbroken_one(recordings, tmp_path, optimiser):
    words = ["--epochs", "3", "--set", "training.schedule=cosine", "--set", f"training.optimiser={optimiser}"]
    words += ["--set", "training.weight_decay=0.05"]
    unbroken = train(tmp_path / "unbroken", recordings, *words)
    for epoch in (1, 2):
        part = tmp_path / f"part{epoch}"
        cut_before(epoch, part, recordings, *words)
        train(part, recordings, *words, "--resume")
        assert losses(part) == losses(unbroken) and same(part, unbroken)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(recordings, tmp_path):
    one, again, other = (
        train(tmp_path / name, recordings, "--epochs", "1", "--seed", seed)
        for name, seed in (("one", "3"), ("again", "3"), ("other", "4"))
    )
    assert same(one, again) and not same(one, other)


def test_evaluation_writes_official_files_that_give_its_table(trained, recordings, tmp_path, capsys):
    out = tmp_path / "scores"
    assert evaluate.main([str(trained), "--data", str(recordings), "--out", str(out), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 2 * 3
    report = metrics.evaluate(load_sections(out / "trained"), 2023)
    values = {(f.machine_type, f.name, f.domain): f.value for f in report.figures}
    for row in rows[::3]:
        machine = row["machine"].removesuffix("_section_00")
        assert row["system"] == "trained"
        assert row["pauc"] == pytest.approx(values[machine, "pAUC", ""], abs=1e-12)  # the same arithmetic
        for domain in ("source", "target"):
            assert row["auc"][domain] == pytest.approx(values[machine, "AUC", domain], abs=1e-12)
    assert "already exists" in error(capsys, evaluate.main, trained, "--data", recordings, "--out", out)


def test_a_clip_above_the_threshold_is_an_anomaly(tmp_path):
    clips = [Clip(Path(f"{n}.wav"), "fan", "section_00", "test", None, None, "") for n in "abc"]
    evaluate.write(tmp_path, clips, np.array([0.1, 0.5, 0.9]), threshold=0.5)
    assert (tmp_path / "decision_result_fan_section_00_test.csv").read_text() == "a.wav,0\nb.wav,0\nc.wav,1\n"
    assert (tmp_path / "anomaly_score_fan_section_00_test.csv").read_text() == "a.wav,0.1\nb.wav,0.5\nc.wav,0.9\n"


def test_an_autoencoder_is_trained_scored_and_whitened(recordings, tmp_path, capsys):
    folder = train(
        tmp_path / "ae", recordings, "--machine-type", "fan", "--epochs", "2", config="autoencoder_mahalanobis"
    )
    found = run_folder.load_run(folder)
    assert found.model.trained_on == ["fan_section_00"] and found.model.outputs["score"] == []
    whitening: Any = found.network.whitening
    assert not torch.equal(whitening[0], torch.eye(640))
    assert evaluate.main([str(folder), "--data", str(recordings)]) == 0
    table = capsys.readouterr().out
    assert "fan_section_00" in table and "pump" not in table
    assert sorted(file.name for file in (folder / "scores").iterdir()) == [
        "anomaly_score_fan_section_00_test.csv",
        "decision_result_fan_section_00_test.csv",
    ]


def test_clips_of_one_class_are_alike_in_machine_attributes_and_domain():
    clip = Clip(Path("a.wav"), "fan", "section_00", "train", "source", "normal", "spd_1")
    others = [
        Clip(Path("b.wav"), "fan", "section_01", "train", "source", "normal", "spd_1"),
        Clip(Path("c.wav"), "fan", "section_00", "train", "target", "normal", "spd_1"),
        Clip(Path("d.wav"), "fan", "section_00", "train", "source", "normal", "spd_2"),
        Clip(Path("e.wav"), "pump", "section_00", "train", "source", "normal", "spd_1"),
    ]
    assert len(data.classes_of([clip, clip, *others])) == 5
    assert data.classes_of(others) == data.classes_of(others[::-1])
