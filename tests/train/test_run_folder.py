"""A run folder opens whole, and as what it is; a mistake in its making is one line."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest
import torch

from calib.clips import index
from calib.layouts import Clip
from edge_runtime.errors import ConfigError, DataError
from tests.conftest import ROOT
from tests.train.conftest import CONFIGS, QUICK, error, tiny, train
from train import checks, run, run_folder, settings
from train.models import SYSTEMS, featex


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
        ("system: featex\nwindows: 3\n", "unknown field windows; there is"),
        ("system: featex\ntraining: {epoch: 3}\n", "training: unknown field epoch; there is"),
        ("system: featex\nmixup: 1e-1\n", "write 1.0e-3"),
        ("system: whatever\n", "system: unknown whatever; there is"),
        ("mixup: 0.5\n", "missing field system; say which: "),
        ("system: featex\ntraining: {epochs: 0}\n", "training.epochs: Expected int >= 1"),
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
    changes = ["--set", "mixup=0.1", "--set", "training.learning_rate=0.1"]
    said = error(capsys, run.main, trained / "config.yaml", *same_run, *changes)
    assert "other settings: training.learning_rate 0.001 -> 0.1, mixup 0.5 -> 0.1; resume with" in said
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
        run_folder.load_run(copy)


def test_weights_of_another_network_do_not_open(trained, tmp_path):
    copy = broken(trained, tmp_path)
    (copy / "classes.json").write_text("[]")
    checkpoint = copy / "checkpoints" / "last.ckpt"
    state = torch.load(checkpoint, weights_only=True)
    state["state_dict"].pop("network.spectrum.1.weight")
    torch.save(state, checkpoint)
    with pytest.raises(ConfigError, match="weights of another network"):
        run_folder.load_run(copy)


def test_a_checkpoint_of_other_settings_is_refused_by_field(trained, recordings, tmp_path, capsys):
    copy = broken(trained, tmp_path, window_frames=311, mixup=0.25)
    file, says = copy / "checkpoints" / "last.ckpt", f"{copy / 'config.yaml'} says"
    fields = f"{file}: trained with window_frames 20, {says} 311; trained with mixup 0.5, {says} 0.25; "
    with pytest.raises(ConfigError) as caught:
        run_folder.load_run(copy)
    assert str(caught.value).startswith(fields)
    resumed = [copy / "config.yaml", "--data", recordings, "--out", copy, "--resume"]
    assert fields in error(capsys, run.main, *resumed)


def test_how_clips_are_read_and_a_longer_training_are_no_other_settings(trained, tmp_path):
    training = msgspec.structs.replace(settings.load(trained / "config.yaml").training, workers=3, cache_mb=1, epochs=9)
    run_folder.load_run(broken(trained, tmp_path, training=training))


def test_the_number_of_epochs_is_a_setting_where_the_learning_rate_follows_it(recordings, tmp_path, capsys):
    cosine = ["--set", "training.schedule=cosine"]
    folder = train(
        tmp_path / "run", recordings, "--epochs", "1", *cosine, "--machine-type", "fan", config="autoencoder"
    )
    longer = [folder / "config.yaml", "--data", recordings, "--out", folder, "--resume", "--epochs", "2"]
    said = error(capsys, run.main, *longer, "--machine-type", "fan")
    assert "other settings: training.epochs 1 -> 2; " in said


def test_a_checkpoint_without_settings_or_with_unknown_ones_is_one_line(trained, tmp_path):
    copy = broken(trained, tmp_path)
    file = copy / "checkpoints" / "last.ckpt"
    state = torch.load(file, weights_only=True)
    state["config"]["speed"] = 3
    torch.save(state, file)
    with pytest.raises(ConfigError, match=r"settings of another version .*`speed`"):
        run_folder.load_run(copy)
    del state["config"]
    torch.save(state, file)
    with pytest.raises(ConfigError, match="not a checkpoint of a run"):
        run_folder.load_run(copy)


class Picky(featex.Config, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="system", tag="featex"):
    """A system that no data set satisfies."""

    def missing(self, clips: Sequence[Clip]) -> str:
        return f"a hundred machines, and here are {len({clip.machine for clip in clips})}"


class SourceOnly(Picky, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="system", tag="featex"):
    source_only: ClassVar[bool] = True


def test_clips_that_a_system_cannot_learn_from_name_what_is_missing_and_who_could(recordings, tmp_path):
    clips, origin = index(recordings), run_folder.Origin("", "", "DATA", 0)
    with pytest.raises(DataError) as caught:
        run.train("picky", Picky(window_frames=20, hop_frames=4), clips, tmp_path / "run", origin)
    said, systems = str(caught.value).split("; systems that would work: ")
    assert said == "DATA: picky needs a hundred machines, and here are 2"
    assert systems.split(", ") == checks.workable(clips) and {"featex", "autoencoder"} <= set(systems.split(", "))
    assert not (tmp_path / "run").exists()
    target = [clip for clip in clips if clip.domain == "target"]
    with pytest.raises(DataError, match="needs two training clips that are not of the target domain, and here are 0"):
        run.train("picky", SourceOnly(window_frames=20, hop_frames=4), target, tmp_path / "run", origin)


def test_a_crop_is_for_networks_that_take_windows_of_any_length(recordings, tmp_path, capsys):
    asked = [CONFIGS[0].with_name("featex.yaml"), "--data", recordings, "--out", tmp_path / "run", *QUICK]
    said = error(capsys, run.main, *asked, "--set", "crop_frames=8")
    assert "crop_frames 8: featex takes windows of one length alone, 20 frames" in said


def test_drops_are_shares(recordings, tmp_path, capsys):
    asked = [CONFIGS[0].with_name("featex.yaml"), "--data", recordings, "--out", tmp_path / "run", *QUICK]
    assert "training.drops 50.0: wanted a share" in error(capsys, run.main, *asked, "--set", "training.drops=[50.0]")


def test_a_run_is_finished_when_its_seconds_are_known(trained, tmp_path):
    assert run_folder.finished(trained) and not run_folder.finished(tmp_path)
    copy = broken(trained, tmp_path)
    origin = json.loads((copy / "run.json").read_text())
    assert origin["seconds"] > 0
    for unfinished in ({**origin, "seconds": None}, {n: value for n, value in origin.items() if n != "seconds"}):
        (copy / "run.json").write_text(json.dumps(unfinished))
        assert not run_folder.finished(copy)


@pytest.mark.parametrize("name", ["config.yaml", "model.json", "classes.json", "checkpoints/last.ckpt"])
def test_half_a_run_folder_does_not_open(trained, tmp_path, name):
    copy = broken(trained, tmp_path)
    (copy / name).unlink()
    with pytest.raises(ConfigError, match=f"no {name}"):
        run_folder.load_run(copy)


def test_a_damaged_checkpoint_is_one_line(trained, tmp_path):
    copy = broken(trained, tmp_path)
    (copy / "checkpoints" / "last.ckpt").write_bytes(b"nothing of the kind")
    with pytest.raises(ConfigError, match="not a checkpoint"):
        run_folder.load_run(copy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("training.learning_rate=-1.0", "--set training.learning_rate=-1.0: Expected `float` > 0.0"),
        ("training.learning_rate=1e-3", "write 1.0e-3"),
        ("training.seed=-1", "--set training.seed=-1: Expected `int` >= 0"),
        ("hop_frames=30", "more than the window's 20"),
        ("scoring={kind: nearest, of: foo}", "scoring nearest of foo: no such output; there is embedding"),
        ("poolings={embedding: {kind: mean}}", "the network gives an output of that name"),
        ("scoring={of: embedding}", "say which: kind: nearest"),
    ],
)
def test_settings_that_cannot_work_are_one_line_and_leave_nothing(change, words, recordings, tmp_path, capsys):
    asked = [CONFIGS[0].with_name("featex.yaml"), "--data", recordings, "--out", tmp_path / "run", *QUICK]
    assert words in error(capsys, run.main, *asked, "--set", change)
    assert not (tmp_path / "run").exists()


def test_changes_that_need_each_other_are_taken_in_any_order():
    file = CONFIGS[0].with_name("tfap.yaml")
    for changes in (["pooling=max", "orders=first"], ["orders=first", "pooling=max"]):
        assert settings.load(file, changes).pooling == "max"


def test_a_crop_longer_than_the_window_is_named(recordings, tmp_path, capsys):
    asked = [CONFIGS[0].with_name("tfap.yaml"), "--data", recordings, "--out", tmp_path / "run", *QUICK]
    assert "crop_frames 64: longer than the window that listens, 20 frames" in error(capsys, run.main, *asked)


def test_a_run_that_was_killed_while_it_wrote_its_first_files_begins_anew(recordings, tmp_path, capsys):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_text("system: featex\n")
    assert train(tmp_path / "run", recordings, "--resume", "--epochs", "1") and run_folder.finished(tmp_path / "run")
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "letter.txt").write_text("mine")
    config = ROOT / "train" / "configs" / "featex.yaml"
    said = error(capsys, run.main, config, "--data", recordings, "--out", tmp_path / "else", *QUICK, "--resume")
    assert "is no run folder; leave --resume out to begin one" in said


def test_a_run_is_not_resumed_for_fewer_epochs_than_it_has(trained, recordings, tmp_path, capsys):
    folder = shutil.copytree(trained, tmp_path / "run")
    before = (folder / "config.yaml").read_bytes()
    config = ROOT / "train" / "configs" / "featex.yaml"
    words = ["--data", recordings, "--out", folder, *QUICK, "--resume", "--epochs", 2]
    assert "trained for 4 epochs already; resume with as many or more (--epochs)" in error(
        capsys, run.main, config, *words
    )
    assert (folder / "config.yaml").read_bytes() == before
