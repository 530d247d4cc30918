"""The official classifier of sections: size, sub-windows, steps and scores against their definitions."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from calib.clips import Clip
from edge_runtime.scoring import Classes, Probability, part_score
from tests.conftest import ROOT
from train import settings
from train.models import mobilenetv2
from train.models.base import Batch, SoundClass
from train.run_folder import shapes

CLASSES = [SoundClass("fan", f"section_{at:02d}", "", None) for at in range(3)]


def network_of(classes: int = 3, **changes: Any) -> tuple[mobilenetv2.Config, mobilenetv2.Network]:
    config = mobilenetv2.Config(**changes)
    torch.manual_seed(0)
    return config, mobilenetv2.Network(config, shapes(config), classes).eval()


def levels(clips: int, frames: int) -> torch.Tensor:
    """[clips, frames, 128] dB."""
    torch.manual_seed(1)
    return -40.0 + 10.0 * torch.randn(clips, frames, 128)


def settled(network: mobilenetv2.Network, log_mel: torch.Tensor) -> mobilenetv2.Network:
    """With statistics of these clips: a network without any gives the same for all sounds."""
    network.remember()
    with torch.no_grad():
        network.train()(log_mel)
    return network.eval()


def by_hand() -> tuple[int, int]:
    """Learned weights and statistics without the classifier, from the table of the paper at a width of 0.5."""
    layers = [(3 * 9 * 16, 16)]  # weights of a convolution, channels of its batch norm
    channels = 16
    for expansion, width, blocks, _ in (
        *((1, 8, 1, 1), (6, 16, 2, 2), (6, 16, 3, 2), (6, 32, 4, 2)),
        *((6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1)),
    ):
        for _ in range(blocks):
            hidden = expansion * channels
            layers += [(channels * hidden, hidden)] if expansion > 1 else []
            layers += [(9 * hidden, hidden), (hidden * width, width)]
            channels = width
    layers += [(160 * 1280, 1280)]
    return sum(weights + 2 * norm for weights, norm in layers), sum(2 * norm for _, norm in layers)


@pytest.mark.parametrize("classes", [2, 6])
def test_it_has_the_parameters_that_keras_counts(classes):
    _, network = network_of(classes)
    learned = sum(weights.numel() for weights in network.parameters())
    statistics = sum(array.numel() for name, array in network.named_buffers() if "running" in name)
    assert by_hand() == (687_680, 18_544) and sum(by_hand()) == 706_224  # as Keras prints it, without the classifier
    assert (learned, statistics) == (687_680 + 1281 * classes, 18_544)


def test_its_maps_are_halved_five_times():
    _, network = network_of()
    found: list[tuple[int, ...]] = []
    for layer in network.body:
        layer.register_forward_hook(lambda *words: found.append(tuple(words[2].shape[1:])))
    network.embed(levels(1, 64))
    maps = [shape for at, shape in enumerate(found) if at == 0 or shape != found[at - 1]]
    assert maps == [
        *((16, 32, 64), (8, 32, 64), (16, 16, 32), (16, 8, 16), (32, 4, 8), (48, 4, 8), (80, 2, 4), (160, 2, 4)),
        *((1280, 2, 4), (1280, 1, 1), (1280,)),
    ]
    assert sum(isinstance(layer, mobilenetv2.InvertedResidual) for layer in network.body) == 17


@pytest.mark.parametrize(
    ("frames", "hop", "count"), [(311, 8, 31), (311, 1, 248), (200, 8, 18), (64, 8, 1), (20, 8, 1)]
)
def test_a_window_is_cut_into_every_whole_sub_window(frames, hop, count):
    _, network = network_of(window_frames=frames, hop_frames=4, segment_hop_frames=hop)
    log_mel = levels(2, frames)
    rows = mobilenetv2.cut(log_mel, network.places, network.length)
    assert len(rows) == 2 * count
    for at in (0, count - 1):
        assert torch.equal(rows[count + at], log_mel[1, at * hop : at * hop + min(64, frames)])


def test_logits_of_a_window_are_those_of_each_sub_window_alone():
    _, network = network_of(window_frames=90)
    log_mel = levels(3, 90)
    outputs = settled(network, log_mel)(log_mel)
    assert outputs["logits"].shape == (3, 4, 3) and outputs["embedding"].shape == (3, 1280)
    for at in range(4):
        embedding = network.embed(log_mel[1:2, 8 * at : 8 * at + 64])
        # float32 sums in another order for another batch, of logits of about 1
        torch.testing.assert_close(outputs["logits"][1:2, at], network.classifier(embedding), rtol=0, atol=1e-4)
    parts = [network.embed(log_mel[:, 8 * at : 8 * at + 64]) for at in range(4)]
    torch.testing.assert_close(outputs["embedding"], torch.stack(parts).mean(dim=0), rtol=0, atol=1e-4)
    assert float(outputs["logits"].detach().std(dim=1).max()) > 1e-2  # sub-windows do differ


def test_a_step_sees_sub_windows_of_all_clips_and_every_one_once():
    config, network = network_of(window_frames=90, step_segments=6, learned_hop_frames=13, segment_hop_frames=26)
    log_mel, labels = levels(6, 90), torch.eye(3).repeat(2, 1)
    seen: list[torch.Tensor] = []
    network.train().body.register_forward_pre_hook(lambda _, rows: seen.append(rows[0][:, 0, 0, 0]))
    losses = list(mobilenetv2.Objective(config, network, CLASSES).steps(network, Batch({"log_mel": log_mel}, labels)))
    assert [len(rows) for rows in seen] == [6, 6, 6] and all(torch.isfinite(loss) for loss in losses)
    firsts = log_mel[:, [0, 13, 26], 0]
    assert not torch.equal(torch.cat(seen), firsts.flatten())
    assert torch.equal(torch.cat(seen).sort().values, firsts.flatten().sort().values)


class Level(torch.nn.Module):
    """Levels [n] dB -> logits [n, 4]: certain of the class of as many dB."""

    def forward(self, levels):
        return -100.0 * (levels[:, None] - torch.arange(4.0)) ** 2


def test_a_sub_window_keeps_its_clips_label(monkeypatch):
    """Clip n is of n dB and of class n: who hears the level is never wrong."""
    config, network = network_of(classes=4, window_frames=90, step_segments=4)
    monkeypatch.setattr(network, "embed", lambda rows: rows[:, 0, 0])
    network.classifier = Level()
    log_mel = torch.arange(4.0)[:, None, None].expand(4, 90, 128)
    objective = mobilenetv2.Objective(config, network, CLASSES)
    losses = [float(loss) for loss in objective.steps(network, Batch({"log_mel": log_mel}, torch.eye(4)))]
    assert losses == [0.0] * 4
    assert all(loss > 1.0 for loss in objective.steps(network, Batch({"log_mel": log_mel}, torch.eye(4).flip(0))))


def test_statistics_hold_nothing_of_where_they_began():
    _, network = network_of(window_frames=64)
    log_mel = levels(8, 64)
    settled(network, log_mel)
    norm = network.body[1]
    with torch.no_grad():
        maps = network.body[0](torch.stack([log_mel] * 3, dim=1))
    # float32 means of 8 * 32 * 64 values of about 10
    torch.testing.assert_close(norm.running_mean, maps.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-4)
    norm.num_batches_tracked.fill_(5000)
    network.remember()
    assert norm.momentum == mobilenetv2.MOMENTUM


def test_the_score_is_the_mean_log_of_the_odds_against_the_section():
    probabilities = np.array([[[0.9, 0.1], [0.5, 0.5]], [[0.2, 0.8], [0.6, 0.4]]])
    scores = part_score(
        {"logits": np.log(probabilities).astype(np.float32)}, mobilenetv2.Config().scoring, Classes(np.array([0]))
    )
    expected = [(math.log(0.1 / 0.9) + 0.0) / 2, (math.log(0.8 / 0.2) + math.log(0.4 / 0.6)) / 2]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)  # logits are float32


def clip(section: str, machine_type: str = "fan") -> Clip:
    return Clip(ROOT / f"{section}.wav", machine_type, section, "train", None, "normal", "")


def test_what_the_clips_lack_is_said():
    config = mobilenetv2.Config()
    assert "two sections or more of fan, and here is only id_00" in config.missing([clip("id_00"), clip("id_00")])
    assert config.missing([clip("id_00"), clip("id_01")]) == ""
    assert "of pump" in config.missing([clip("id_00"), clip("id_01"), clip("id_00", "pump")])


def test_its_config_is_the_published_one():
    config = settings.load(ROOT / "train" / "configs" / "mobilenetv2.yaml")
    assert isinstance(config, mobilenetv2.Config) and config.one_machine_type
    assert config.scoring == Probability(form="odds")
    assert (config.training.learning_rate, config.training.epochs, config.step_segments) == (1e-5, 20, 32)
    assert (config.segment_frames, config.learned_hop_frames, config.training.l2) == (64, 8, 0.0)
