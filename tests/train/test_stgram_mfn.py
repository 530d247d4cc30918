"""STgram-MFN: size, maps, margin and score against their definitions."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from calib.clips import Clip
from edge_runtime import features
from edge_runtime.errors import ConfigError
from edge_runtime.scoring import Classes, Probability, part_score
from tests.conftest import ROOT, hum
from train import optimisers, settings
from train.models import stgram_mfn
from train.models.base import Batch, SoundClass
from train.models.tgramnet import TgramNet
from train.run_folder import shapes

FRAMES = 40  # 1.312 s
CLASSES = [SoundClass("fan", f"section_{at:02d}", "", None) for at in range(3)]
FILE = ROOT / "train" / "configs" / "stgram_mfn.yaml"


def network_of(classes: int = 3, **changes: Any) -> tuple[stgram_mfn.Config, stgram_mfn.Network]:
    config = stgram_mfn.Config(**{"window_frames": FRAMES, **changes})
    torch.manual_seed(0)
    return config, stgram_mfn.Network(config, shapes(config), classes).eval()


def sound(clips: int) -> dict[str, torch.Tensor]:
    """Inputs of machines of different pitch."""
    config = network_of()[0]
    rows = [
        hum(config.window / features.SAMPLE_RATE, seed=at, pitch=50.0 + 17.0 * at)[: config.window]
        for at in range(clips)
    ]
    return {
        name: torch.from_numpy(np.stack([features.compute(row.astype(np.float32), spec) for row in rows]))
        for name, spec in config.inputs().items()
    }


def by_hand(rows: int, columns: int) -> int:
    """Weights of the MobileFaceNet from its table: each batch norm has 2 a channel, each PReLU 1."""
    weights, channels = (2 * 9 * 64 + 3 * 64) + (9 * 64 + 3 * 64), 64
    for expansion, width, blocks in ((2, 64, 5), (4, 128, 1), (2, 128, 6), (4, 128, 1), (2, 128, 2)):
        for _ in range(blocks):
            hidden = expansion * channels
            weights += (channels * hidden + 3 * hidden) + (9 * hidden + 3 * hidden) + (hidden * width + 2 * width)
            channels = width
    weights += 128 * 512 + 3 * 512  # 1x1
    weights += 512 * rows * columns + 2 * 512  # global, each channel alone
    return weights + 512 * 128 + 2 * 128  # linear


def count(network: torch.nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())


def test_it_has_the_parameters_of_the_released_network():
    assert count(stgram_mfn.MobileFaceNet(128, 313)) == by_hand(8, 20) == 1_059_392
    assert count(TgramNet(313)) == 280_406
    _, network = network_of(41, window_frames=311)
    assert count(network.tgram) == 280_406 - 3 * 2 * 2  # a scale and a shift less for each frame
    assert count(network) == 280_394 + 1_059_392 + 41 * 128
    _, plain = network_of(41, window_frames=311, arcface=False)
    assert count(plain) == 280_394 + 1_059_392 + 41 * 129


@pytest.mark.parametrize(
    ("frames", "columns"), [(311, (156, 78, 39, 20)), (313, (157, 79, 40, 20)), (200, (100, 50, 25, 13))]
)
def test_the_global_layer_has_the_size_of_the_last_map(frames, columns):
    network = stgram_mfn.MobileFaceNet(128, frames).eval()
    found: list[tuple[int, ...]] = []
    for layer in network:
        layer.register_forward_hook(lambda *words: found.append(tuple(words[2].shape[1:])))
    network(torch.zeros(1, 2, 128, frames))
    maps = [shape for at, shape in enumerate(found) if at == 0 or shape != found[at - 1]]
    first, second, third, last = columns
    assert maps == [
        *((64, 64, first), (64, 32, second), (128, 16, third), (128, 8, last), (512, 8, last)),
        *((512, 1, 1), (128, 1, 1), (128,)),
    ]
    assert sum(isinstance(layer, stgram_mfn.InvertedResidual) for layer in network) == 15


def test_both_maps_are_heard_as_channels():
    _, network = network_of()
    inputs = sound(2)
    seen: list[torch.Tensor] = []
    network.body.register_forward_pre_hook(lambda _, rows: seen.append(rows[0]))
    with torch.no_grad():
        network(**inputs)
        torch.testing.assert_close(seen[0][:, 1], network.tgram(inputs["waveform"]))
    assert seen[0].shape == (2, 2, 128, FRAMES)
    assert torch.equal(seen[0][:, 0], inputs["log_mel"].transpose(1, 2))


def test_logits_are_scaled_cosines_without_a_margin():
    for margin in (0.0, 0.7):
        _, network = network_of(margin=margin, scale=20.0)
        outputs = network(**sound(3))
        assert network.classifier is not None
        directions = functional.normalize(network.classifier.directions, dim=1)
        expected = 20.0 * functional.normalize(outputs["embedding"], dim=1) @ directions.T
        torch.testing.assert_close(outputs["logits"], expected)


def test_the_loss_moves_the_true_angle_by_the_margin():
    config, network = network_of(margin=0.3, scale=10.0)
    inputs, labels = sound(3), torch.eye(3)
    (loss,) = stgram_mfn.Objective(config, network, CLASSES).steps(network, Batch(inputs, labels))
    angles = (network(**inputs)["logits"].double() / 10.0).acos()
    moved = 10.0 * (angles + 0.3 * labels).cos()
    # float32 cosines, times 10
    assert loss.item() == pytest.approx(functional.cross_entropy(moved, labels.double()).item(), rel=1e-4)
    free, network = network_of(margin=0.0, scale=10.0)
    (without,) = stgram_mfn.Objective(free, network, CLASSES).steps(network, Batch(inputs, labels))
    assert without.item() == pytest.approx(functional.cross_entropy(network(**inputs)["logits"], labels).item())
    assert without.item() < loss.item()


def test_without_arcface_a_linear_classifier_has_its_own_logits():
    config, network = network_of(arcface=False)
    inputs, labels = sound(3), torch.eye(3)
    outputs = network(**inputs)
    assert network.linear is not None and network.classifier is None
    torch.testing.assert_close(outputs["logits"], network.linear(outputs["embedding"]))
    (loss,) = stgram_mfn.Objective(config, network, CLASSES).steps(network, Batch(inputs, labels))
    assert loss.item() == pytest.approx(functional.cross_entropy(outputs["logits"], labels).item())


def test_the_score_is_the_surprise_at_the_true_id():
    logits = np.array([[3.0, 1.0, 0.0], [0.0, 2.0, 2.0]], np.float32)
    scores = part_score({"logits": logits}, stgram_mfn.Config().scoring, Classes(np.array([0])))
    expected = [math.log(1 + math.exp(-2) + math.exp(-3)), math.log(1 + 2 * math.exp(2))]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)  # logits are float32


def test_the_rate_is_held_and_then_falls_to_a_tenth():
    training = settings.load(FILE).training
    rates = [optimisers.learning_rate(training, epoch, 0, 10) for epoch in (0, 19, 20, 160, 300)]
    # of the released program: 1e-4 for 20 epochs, then a cosine to 1e-5
    assert rates == pytest.approx([1e-4, 1e-4, 1e-4, 0.55e-4, 1e-5], rel=1e-3)


def test_its_config_is_the_released_one():
    config = settings.load(FILE)
    assert isinstance(config, stgram_mfn.Config) and not config.one_machine_type
    assert (config.margin, config.scale, config.arcface) == (0.7, 30.0, True)
    assert (config.training.epochs, config.training.batch, config.training.l2) == (300, 128, 0.0)
    assert config.scoring == Probability(form="log")


def test_a_margin_beyond_half_a_turn_is_refused():
    with pytest.raises(ConfigError, match="margin"):
        settings.load(FILE, ["margin=3.5"])


def test_what_the_clips_lack_is_said():
    clips = [Clip(ROOT / "a.wav", "fan", f"id_0{at}", "train", None, "normal", "") for at in range(2)]
    assert "only fan_id_00" in stgram_mfn.Config().missing(clips[:1])
    assert stgram_mfn.Config().missing(clips) == ""
