"""What paper 1 is trained from and with: its classes, its mixup, its first steps."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from calib.clips import Clip
from edge_runtime import features
from edge_runtime.features import LogMel, samples_of
from tests.conftest import ROOT, hum
from tests.train.test_tfap import CLASSES, EDGE, FRAMES, network_of, of_yaml, sound
from train.models import tfap
from train.models.base import Batch
from train.run_folder import shapes


def clip(domain: str | None, attributes: str) -> Clip:
    return Clip(Path("a.wav"), "fan", "section_00", "train", domain, "normal", attributes)


@pytest.mark.parametrize(
    ("clips", "lacks"),
    [
        ([], "none"),
        ([clip("source", "a"), clip("source", "a")], "1"),
        ([clip("source", "a"), clip("target", "b")], "1"),
        ([clip("source", "a"), clip("source", "b")], ""),
        ([clip(None, "a"), clip(None, "b")], ""),
    ],
)
def test_a_data_set_with_less_than_two_classes_of_source_clips_lacks_something(clips, lacks):
    said = tfap.Config().missing(clips)
    assert said.endswith(lacks) and bool(said) == bool(lacks)


def objective_of(config: tfap.Config, network: tfap.Network) -> tfap.Objective:
    return tfap.Objective(config, network, CLASSES)


def batch_of(rows: int) -> Batch:
    return Batch({"log_mel": sound(rows)}, torch.eye(len(CLASSES))[torch.arange(rows) % len(CLASSES)])


def test_without_mixup_the_loss_is_the_cross_entropy_of_the_clips():
    config = tfap.Config(window_frames=FRAMES, mixup="none")
    network, batch = network_of(config), batch_of(6)
    (loss,) = objective_of(config, network).steps(network, batch)
    logits: Any = network(batch.inputs["log_mel"])["logits"]
    torch.testing.assert_close(loss, -(batch.labels * logits.log_softmax(dim=1)).sum(dim=1).mean())


@pytest.mark.parametrize("at", range(5))
def test_rows_are_mixed_at_the_place_that_is_named(at):
    network, log_mel = network_of(tfap.Config(window_frames=FRAMES)), sound(3)
    partner = torch.tensor([1, 2, 0])
    x = network.normed(0.7 * log_mel + 0.3 * log_mel[partner] if at == 0 else log_mel)
    for place, stage in enumerate(network.backbone, start=1):
        x = stage(x)
        x = 0.7 * x + 0.3 * x[partner] if place == at else x
    torch.testing.assert_close(network.mixed(log_mel, at, partner, 0.7), network.pooled(x))
    torch.testing.assert_close(network.mixed(log_mel, at, partner, 1.0), network(log_mel))


@pytest.mark.parametrize(
    ("where", "places", "alpha"), [("input", {0}, 1.0), ("manifold", {0, 1, 2, 3, 4}, 1.5), ("input", {0}, 0.3)]
)
def test_place_and_share_are_drawn_anew_for_each_batch_and_partners_are_of_one_type(where, places, alpha, monkeypatch):
    config = tfap.Config(window_frames=FRAMES, mixup_at=where, mixup_alpha=0.3 if alpha == 0.3 else None)
    network, seen, shares = network_of(config), set(), []
    objective, batch = objective_of(config, network), batch_of(8)
    asked: list[float] = []
    draw, mixed, types = tfap.draw_share, network.mixed, objective.types[batch.labels.argmax(dim=1)]

    def asking(given):
        asked.append(given)
        return draw(given)

    def watched(log_mel, at, partner, share):
        seen.add(at)
        shares.append(share)
        assert torch.equal(types[partner], types)
        return mixed(log_mel, at, partner, share)

    monkeypatch.setattr(tfap, "draw_share", asking)
    monkeypatch.setattr(network, "mixed", watched)
    with torch.no_grad():
        for _ in range(40):  # one of five places is missed once in 1,500 runs; the seed is fixed
            objective.loss(network, batch)
    assert seen == places and len(set(shares)) == 40 and set(asked) == {alpha}


def test_the_same_seed_gives_the_same_loss():
    config = tfap.Config(window_frames=FRAMES)
    network, batch = network_of(config), batch_of(6)
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(float(objective_of(config, network).loss(network, batch).detach()))
    assert losses[0] == losses[1] != losses[2]


def test_the_config_says_what_the_training_needs():
    config = of_yaml("tfap")
    assert config.any_length and config.source_only and not config.one_machine_type
    assert config.class_by == ("machine_type", "section", "attributes")
    assert config.mixing() == 0.0 and not config.pairs()
    assert config.crop_frames == 64 and config.training.batch == 32 and config.training.epochs == 120
    assert "time strided" in (ROOT / "train" / "configs" / "tfap_edge.yaml").read_text()


def test_embeddings_part_at_the_learning_rate_of_the_paper():
    """Hums of four speeds: begun otherwise, the first step at 0.1 brings all embeddings onto one another."""
    spec, pitches = LogMel(), (60.0, 60.0, 78.0, 78.0, 95.0, 95.0, 123.0, 123.0)
    hums = [hum(0.75, seed=at, pitch=pitch)[: samples_of(FRAMES, spec)] for at, pitch in enumerate(pitches)]
    log_mel = torch.from_numpy(np.stack([features.compute(sound, spec) for sound in hums]))
    batch = Batch({"log_mel": log_mel}, torch.eye(4).repeat_interleave(2, dim=0))
    config = tfap.Config(window_frames=FRAMES, time_strides=EDGE, mixup="none")
    torch.manual_seed(0)
    network = tfap.Network(config, shapes(config), len(CLASSES)).train()
    optimiser = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    for _ in range(20):
        optimiser.zero_grad()
        loss = objective_of(config, network).loss(network, batch)
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.5  # chance is 1.39
    with torch.no_grad():
        embeddings = network.eval()(log_mel)["embedding"]
    assert float((embeddings @ embeddings.T).min()) < 0.98  # 0.999 begun otherwise


@pytest.mark.parametrize("kind", ["vanilla", "in_type"])
def test_labels_are_mixed_as_the_sounds_are(kind, monkeypatch):
    config = tfap.Config(window_frames=FRAMES, mixup=kind, mixup_at="input")
    network, batch = network_of(config), batch_of(8)
    partner = torch.tensor([1, 0, 6, 7, 5, 4, 2, 3])
    monkeypatch.setattr(tfap, "draw_partners", lambda types, asked: partner if asked == kind else None)
    monkeypatch.setattr(tfap, "draw_share", lambda _: 0.7)
    (loss,) = objective_of(config, network).steps(network, batch)
    log_mel = 0.7 * batch.inputs["log_mel"] + 0.3 * batch.inputs["log_mel"][partner]
    logs = network(log_mel)["logits"].log_softmax(dim=1)
    expected = -((0.7 * batch.labels + 0.3 * batch.labels[partner]) * logs).sum(dim=1).mean()
    torch.testing.assert_close(loss, expected)
