"""Training from recordings to a run folder and its scores, on clips of 0.7 s."""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from calib import metrics
from calib.clips import Clip, index, select
from calib.truth import load_sections
from edge_runtime.cli import run_command
from edge_runtime.errors import ConfigError
from edge_runtime.stream import windows
from tests.conftest import ROOT, hum, write_wav
from train import data, evaluate, loop, run, settings
from train.models import SYSTEMS, featex

FRAMES = 20  # 0.672 s
SHORT = ["--set", f"window_frames={FRAMES}", "--set", "hop_frames=4"]
QUICK = [*SHORT, "--set", "training.batch=8", "--set", "training.workers=0"]
CONFIGS = sorted((ROOT / "train" / "configs").glob("*.yaml"))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Small products stall on more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def recordings(tmp_path_factory) -> Path:
    """Two machines of two speeds: 8 training clips, 4 normal and 4 anomalous test clips each, in DCASE 2023 form."""
    root = tmp_path_factory.mktemp("recordings")
    for machine, (name, pitch) in enumerate((("fan", 60.0), ("pump", 95.0))):
        for at in range(16):
            domain = "target" if at % 2 else "source"
            split, label = ("train", "normal") if at < 8 else ("test", "anomaly" if at >= 12 else "normal")
            sound = hum(0.75, seed=100 * machine + at, pitch=pitch * (1.3 if domain == "target" else 1.0))
            if label == "anomaly":
                sound[::400] += 0.3
            file = f"section_00_{domain}_{split}_{label}_{at:04d}_spd_{domain}.wav"
            write_wav(root / "dev_data" / name / split / file, sound)
    return root


def train(out: Path, recordings: Path, *options: str, config: str = "featex") -> Path:
    file = ROOT / "train" / "configs" / f"{config}.yaml"
    assert run.main([str(file), "--data", str(recordings), "--out", str(out), *QUICK, *options]) == 0
    return out


@pytest.fixture(scope="session")
def trained(tmp_path_factory, recordings) -> Path:
    """A run of 4 epochs."""
    return train(tmp_path_factory.mktemp("runs") / "trained", recordings, "--epochs", "4")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return run.load_run(folder).network.state_dict()


def same(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return all(torch.equal(array, second[name]) for name, array in first.items())


def losses(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open() as stream:
        return [float(row["loss"]) for row in csv.DictReader(stream)]


def error(capsys, main, *argv: object) -> str:
    """The one line of a mistake."""
    assert run_command(lambda _: main([str(word) for word in argv])) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("error: ")
    return said[-1]


def tiny(system: str, **changes) -> run.Config:
    return SYSTEMS[system].Config(window_frames=FRAMES, hop_frames=4, **changes)


def loader(recordings: Path, train: bool = True, epoch: int = 0, **training) -> list:
    """The batches of one epoch."""
    clips = select(index(recordings), split="train")
    config = tiny("featex", training=featex.base.Training(batch=6, **training))
    loaders = data.loaders(clips, data.classes_of(clips), featex.INPUTS, config)
    chosen: Any = loaders[0 if train else 1]
    chosen.sampler.set_epoch(epoch)
    return list(chosen)


def equal(one: list, other: list) -> bool:
    pairs = zip(one, other, strict=True)
    return all(
        torch.equal(a.labels, b.labels) and all(torch.equal(a.inputs[n], b.inputs[n]) for n in a.inputs)
        for a, b in pairs
    )


def test_training_lowers_the_loss(trained):
    assert len(losses(trained)) == 4
    assert losses(trained)[-1] < losses(trained)[0]


def test_a_run_folder_says_what_was_trained(trained):
    found = run.load_run(trained)
    assert found.model.system == found.model.name == "featex"
    assert found.model.window == (FRAMES - 1) * 512 + 1024 and found.model.hop == 4 * 512
    assert found.model.trained_on == ["fan_section_00", "pump_section_00"]
    assert [(one.machine_type, one.attributes) for one in found.classes] == [
        ("fan", "spd_source"), ("fan", "spd_target"), ("pump", "spd_source"), ("pump", "spd_target"),
    ]  # fmt: skip
    assert found.config.training.epochs == 4 and not found.network.training
    origin = json.loads((trained / "run.json").read_text())
    assert origin["clips"] == 16 and set(origin) == {"version", "commit", "data", "clips"}


def test_a_resumed_run_equals_an_unbroken_one(trained, recordings, tmp_path):
    part = train(tmp_path / "part", recordings, "--epochs", "2")
    assert not same(part, trained)
    train(part, recordings, "--epochs", "4", "--resume", "--set", "training.workers=1")
    assert losses(part) == losses(trained)
    assert same(part, trained)


def test_a_run_that_was_cut_off_goes_on_from_its_last_whole_epoch(trained, recordings, tmp_path, monkeypatch):
    class PowerCutError(Exception):
        pass

    def cut(record, trainer, *_):
        record._began = 0.0
        if trainer.current_epoch == 3:
            raise PowerCutError

    part = tmp_path / "part"
    with monkeypatch.context() as patch, pytest.raises(PowerCutError):
        patch.setattr(loop.Record, "on_train_epoch_start", cut)
        train(part, recordings, "--epochs", "4")
    assert len(losses(part)) == 3
    train(part, recordings, "--epochs", "4", "--resume")
    assert losses(part) == losses(trained)
    assert same(part, trained)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(recordings, tmp_path):
    one, again, other = (
        train(tmp_path / name, recordings, "--epochs", "1", "--seed", seed)
        for name, seed in (("one", "3"), ("again", "3"), ("other", "4"))
    )
    assert same(one, again) and not same(one, other)


def test_batches_do_not_depend_on_the_number_of_workers(recordings):
    assert equal(loader(recordings, workers=0), loader(recordings, workers=2))


def test_batches_do_not_depend_on_what_is_held_in_memory(recordings):
    assert equal(loader(recordings, workers=0), loader(recordings, workers=0, cache_mb=0))


def test_no_more_sound_is_held_in_memory_than_allowed(recordings):
    clips = select(index(recordings), split="train")
    one = 2 * len(data.load(clips[0]))  # bytes: 16 bits a sample
    assert [len(data.Sounds(clips, 1000, limit)._held) for limit in (0, one - 1, 3 * one, 99 * one)] == [0, 0, 3, 16]


def test_every_batch_of_every_epoch_and_seed_has_a_seed_of_its_own():
    seeds = []
    for seed in (0, 1):
        draws = data.Draws(10, 4, seed, shuffle=True)
        for epoch in (0, 1):
            draws.set_epoch(epoch)
            assert list(draws) == list(draws)
            assert sorted(place for _, places in draws for place in places) == list(range(10))
            seeds += [own for own, _ in draws]
    assert len(set(seeds)) == len(seeds) == 2 * 2 * 3


@pytest.mark.parametrize(
    ("clips", "batch", "sizes"), [(2, 64, [2]), (3, 2, [3]), (65, 64, [33, 32]), (9, 4, [3, 3, 3])]
)
def test_no_batch_holds_a_single_clip(clips, batch, sizes):
    draws = data.Draws(clips, batch, 0, shuffle=True)
    assert [len(places) for _, places in draws] == sizes and len(draws) == len(sizes)


def test_every_epoch_draws_anew_and_holds_every_clip_once(recordings):
    first, second = (loader(recordings, epoch=epoch, workers=0) for epoch in (0, 1))
    assert not equal(first, second)
    assert [len(batch.labels) for batch in first] == [6, 5, 5]
    assert float(sum(batch.labels.sum() for batch in first)) == pytest.approx(16, abs=1e-4)  # float32


def test_without_training_every_clip_gives_its_first_window_unmixed(recordings):
    batches = loader(recordings, train=False, workers=0)
    clips = select(index(recordings), split="train")
    stft = torch.cat([batch.inputs["stft"] for batch in batches])
    for clip, row in zip(clips, stft, strict=True):
        _, expected = next(windows(data.load(clip), featex.INPUTS, tiny("featex").window, 512))
        assert np.array_equal(row.numpy(), expected["stft"])
    assert torch.cat([batch.labels for batch in batches]).max(dim=1).values.eq(1).all()


def test_sound_of_more_than_16_bits_is_held_as_it_is():
    for sound in (hum(0.1), np.array([1.0, -1.0, 1e-7], np.float32)):
        assert np.array_equal(data._unpack(data._pack(sound)), sound)
    assert data._pack(hum(0.1)).dtype == np.int16


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
    found = run.load_run(folder)
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
