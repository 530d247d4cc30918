"""Centre imprinting: a trained run and a few target clips -> a run that knows them."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch.nn import functional

from calib.clips import Clip
from calib.collect import collect
from calib.fit import few_targets, training_clips
from edge_runtime import bundle, config
from edge_runtime.errors import DataError
from tests.train.conftest import error, train
from train import imprint, imprinting
from train.backend import TorchBackend
from train.imprinting import Settings, choose, class_means, is_target
from train.run_folder import Run, load_run


@pytest.fixture(scope="module")
def before(tmp_path_factory, recordings) -> Path:
    """A run of the edge variant of a few steps."""
    out = tmp_path_factory.mktemp("runs") / "before"
    gentle = ("--set", "crop_frames=null", "--set", "training.learning_rate=0.003")
    return train(out, recordings, "--epochs", "3", *gentle, config="tfap_edge")


@pytest.fixture(scope="module")
def after(before, recordings) -> Path:
    """Imprinted with 2 of the 4 target clips of each machine."""
    out = before.with_name("after")
    options = ("--data", recordings, "--clips", 2, "--epochs", 3, "--scale", 10, "--learning-rate", 0.003)
    assert imprint.main([str(word) for word in (before, *options, "--out", out)]) == 0
    return out


def target_loss(run: Run, clips: list[Clip], scale: float) -> float:
    """The loss of the target clips with every centre as the network now makes it, written another way."""
    found = collect(clips, run.model, TorchBackend(run.network, run.model)).outputs["embedding"].astype(np.float64)
    classes = sorted({(clip.machine, clip.attributes, is_target(clip)) for clip in clips})
    own = [classes.index((clip.machine, clip.attributes, is_target(clip))) for clip in clips]
    centres = [
        found[[at for at, number in enumerate(own) if number == one]].mean(axis=0) for one in range(len(classes))
    ]
    losses = []
    for at, clip in enumerate(clips):
        products = [scale * float(centre @ found[at]) for centre in centres]
        if is_target(clip):
            losses.append(np.log(np.exp(products).sum()) - products[own[at]])
    return float(np.mean(losses))


def test_imprinting_lowers_the_loss_of_the_target_clips(before, after, recordings):
    record = config.load_json(after / imprint.RECORD, imprint.Record)
    clips = choose(training_clips(recordings), 2)
    assert len(record.losses) == 4 and record.losses[-1] < record.losses[0]
    old, new = (target_loss(load_run(folder), clips, 10.0) for folder in (before, after))
    assert new < old
    assert record.losses[0] == pytest.approx(old, rel=1e-4)  # float32; all centres are new before the first step
    # source centres of the last step may lag by an epoch
    assert record.losses[-1] == pytest.approx(new, rel=0.2)


def test_what_is_imprinted_opens_as_any_other_run(before, after):
    old, new = load_run(before), load_run(after)
    assert new.config == old.config and new.classes == old.classes
    assert new.model == msgspec.structs.replace(old.model, name=f"{old.model.name}_imprinted")
    statistics, weights = dict(new.network.named_buffers()), dict(new.network.named_parameters())
    assert all(torch.equal(array, statistics[name]) for name, array in old.network.named_buffers())
    assert any(not torch.equal(array, weights[name]) for name, array in old.network.named_parameters())
    assert not list(after.parent.glob(".*"))  # nothing half-written is left


def test_the_record_names_the_target_clips(after, recordings):
    record = json.loads((after / imprint.RECORD).read_text())
    assert len(record["target_clips"]) == 4 and all("_target_train_" in name for name in record["target_clips"])
    assert record["data"] == str(recordings) and record["settings"]["clips"] == 2


def test_the_clips_that_are_imprinted_are_those_that_the_fit_of_as_many_stores(recordings):
    clips = training_clips(recordings)
    for count in (1, 2, 3, 4):
        assert choose(clips, count) == few_targets(clips, count)
        assert len(choose(clips, count)) == 8 + 2 * count  # every source clip, and target clips of two machines


def test_centres_are_means_that_are_not_brought_to_unit_length():
    embeddings = functional.normalize(torch.randn(5, 3), dim=1)
    means = class_means(embeddings, torch.tensor([1, 0, 1, 1, 0]), 2)
    torch.testing.assert_close(means[0], (embeddings[1] + embeddings[4]) / 2)
    torch.testing.assert_close(means[1], (embeddings[0] + embeddings[2] + embeddings[3]) / 3)


def test_a_step_renews_the_centres(before, recordings):
    run, clips = load_run(before), choose(training_clips(recordings), 2)
    settings = Settings(clips=2, batch=1, learning_rate=0.003, scale=10.0)
    found = imprinting.Imprinting(run.network, run.model, clips, settings)
    seen: list[torch.Tensor] = []
    found._optimiser.register_step_post_hook(lambda *_: seen.append(found._embeddings.clone()))
    found.epoch()
    assert len(seen) == 4  # target clips, one a step
    assert all(not torch.equal(one, other) for one, other in pairwise(seen))


def test_other_systems_are_imprinted_too(trained, recordings, tmp_path):
    out = tmp_path / "after"
    assert imprint.main([str(trained), "--data", str(recordings), "--clips", "1", "--out", str(out)]) == 0
    assert load_run(out).model.system == "featex"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--clips", 20), "--clips 20: fan_section_00 has 4 target clips; give no more than every machine has"),
        (("--clips", 0), "Expected `int` >= 1 - at `--clips`"),
        (("--clips", 1, "--learning-rate", 0), "`--learning-rate`"),
        (("--clips", 1, "--learning-rate", 1e9), "give a smaller --learning-rate"),
    ],
)
def test_a_mistake_is_one_line(before, recordings, capsys, tmp_path, options, words):
    said = error(capsys, imprint.main, before, "--data", recordings, "--out", tmp_path / "after", *options)
    assert words in said and not (tmp_path / "after").exists()


def test_data_without_target_clips_are_refused(before, recordings, capsys, tmp_path):
    for file in recordings.rglob("*_source_train_*.wav"):
        copy = tmp_path / file.relative_to(recordings)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    said = error(capsys, imprint.main, before, "--data", tmp_path, "--clips", 1, "--out", tmp_path / "after")
    assert f"{tmp_path}: no normal training clips of the target domain" in said


def test_data_without_source_clips_are_refused(recordings):
    with pytest.raises(DataError, match="of the source domain"):
        choose([clip for clip in training_clips(recordings) if is_target(clip)], 1)


def test_a_run_without_embedding_is_refused(before, recordings, capsys, tmp_path, monkeypatch):
    run = load_run(before)
    silent = msgspec.structs.replace(run.model, outputs={"score": []})
    monkeypatch.setattr(imprint, "load_run", lambda _: Run(run.config, silent, run.network, run.classes))
    said = error(capsys, imprint.main, before, "--data", recordings, "--clips", 1, "--out", tmp_path / "after")
    assert f"{before}: tfap gives no embedding" in said


def test_nothing_is_overwritten(before, after, recordings, capsys):
    said = error(capsys, imprint.main, before, "--data", recordings, "--clips", 1, "--out", after)
    assert "already exists" in said


def test_the_model_of_an_imprinted_run_is_named_so(after):
    assert bundle.load_model(after).name == "tfap_edge_imprinted"
