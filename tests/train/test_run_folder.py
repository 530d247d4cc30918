"""A run folder opens whole, and as what it is; a mistake in its making is one line."""

import shutil
from pathlib import Path

import pytest

from edge_runtime.errors import ConfigError
from tests.conftest import ROOT
from tests.train.conftest import CONFIGS, QUICK, error, tiny
from train import run, settings
from train.models import SYSTEMS


def test_a_clip_shorter_than_the_window_is_named(recordings, capsys, tmp_path):
    said = error(capsys, run.main, CONFIGS[0].with_name("featex.yaml"), "--data", recordings, "--out", tmp_path / "run")
    assert "section_00_source_train_normal_0000_spd_source.wav: 0.75 s, shorter than the window of 9.98 s" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_config_decodes_and_survives_being_written(file, tmp_path):
    config = settings.load(file)
    settings.save(tmp_path / "again.yaml", config)
    assert settings.load(tmp_path / "again.yaml") == config
    assert settings.system_of(config) in SYSTEMS


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("system: featex\nwindows: 3\n", "`windows`"),
        ("system: featex\ntraining: {epoch: 3}\n", "`epoch` - at `$.training`"),
        ("system: featex\nmixup: 1e-1\n", "write 1.0e-3"),
        ("system: whatever\n", "'whatever' - at `$.system`"),
        ("mixup: 0.5\n", "`system`"),
        ("system: featex\ntraining: {epochs: 0}\n", "`$.training.epochs`"),
    ],
)
def test_a_mistake_in_a_config_names_file_and_field(text, place, tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    said = error(capsys, run.main, file, "--data", "nowhere", "--out", tmp_path / "run")
    assert f"{file}: " in said and place in said


@pytest.mark.parametrize(
    "change", ["training.epoch=3", "training.epochs=many", "mixup", "mixup.share=0.5", "a: b=c: ["]
)
def test_a_mistake_in_set_names_it(change, recordings, tmp_path, capsys):
    said = error(capsys, run.main, CONFIGS[-1], "--data", recordings, "--out", tmp_path / "run", "--set", change)
    assert f"--set {change}" in said


def test_nothing_is_overwritten(trained, recordings, capsys):
    before = (trained / "config.yaml").read_bytes()
    said = error(capsys, run.main, trained / "config.yaml", "--data", recordings, "--out", trained)
    assert "already exists" in said and (trained / "config.yaml").read_bytes() == before


def test_a_run_is_not_resumed_with_other_settings_or_classes(trained, recordings, tmp_path, capsys):
    same_run = ["--data", recordings, "--out", trained, "--resume"]
    assert "other settings" in error(capsys, run.main, trained / "config.yaml", *same_run, "--set", "mixup=0.1")
    assert "other classes" in error(capsys, run.main, trained / "config.yaml", *same_run, "--machine-type", "fan")
    nothing = ["--data", recordings, "--out", tmp_path / "none", "--resume"]
    assert "no run folder" in error(capsys, run.main, trained / "config.yaml", *nothing)


def test_one_autoencoder_is_for_one_machine_type(recordings, tmp_path, capsys):
    auto = ROOT / "train" / "configs" / "autoencoder.yaml"
    asked = [auto, "--data", recordings, "--out", tmp_path / "run", *QUICK]
    said = error(capsys, run.main, *asked)
    assert "fan, pump" in said and "--machine-type" in said
    assert "no machine type valve; it has fan, pump" in error(capsys, run.main, *asked, "--machine-type", "valve")


def broken(folder: Path, tmp_path: Path, **changes) -> Path:
    """A copy of a run folder with other settings."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    tree = settings.load(copy / "config.yaml")
    settings.save(copy / "config.yaml", type(tree)(**{n: getattr(tree, n) for n in tree.__struct_fields__} | changes))
    return copy


def test_a_run_folder_of_another_system_does_not_open(trained, tmp_path):
    copy = broken(trained, tmp_path)
    settings.save(copy / "config.yaml", tiny("autoencoder"))
    with pytest.raises(ConfigError, match=r"of system autoencoder, model\.json of featex"):
        run.load_run(copy)


def test_weights_of_another_network_do_not_open(trained, tmp_path):
    copy = broken(trained, tmp_path, window_frames=200)
    with pytest.raises(ConfigError, match="weights of another network"):
        run.load_run(copy)


@pytest.mark.parametrize("name", ["config.yaml", "model.json", "classes.json", "checkpoints/last.ckpt"])
def test_half_a_run_folder_does_not_open(trained, tmp_path, name):
    copy = broken(trained, tmp_path)
    (copy / name).unlink()
    with pytest.raises(ConfigError, match=f"no {name}"):
        run.load_run(copy)


def test_a_damaged_checkpoint_is_one_line(trained, tmp_path):
    copy = broken(trained, tmp_path)
    (copy / "checkpoints" / "last.ckpt").write_bytes(b"nothing of the kind")
    with pytest.raises(ConfigError, match="not a checkpoint"):
        run.load_run(copy)
