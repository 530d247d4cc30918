"""Paper 1: its sizes, its pooling, its switches."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edge_runtime import bundle
from edge_runtime.backends.ort import OnnxRuntime
from edge_runtime.errors import ConfigError
from export import qdq
from export.to_onnx import write_graph
from tests.conftest import ROOT
from train import settings
from train.backend import measured
from train.models import tfap
from train.models.base import SoundClass
from train.models.tfap.pooling import TimePooling
from train.run_folder import describe, shapes

FRAMES = 20  # 0.672 s
TYPES = ("fan", "fan", "pump", "valve")
CLASSES = [SoundClass(machine, "section_00", f"spd_{at}", "source") for at, machine in enumerate(TYPES)]
EDGE = (4, 1, 2, 2, 1)


def network_of(config: tfap.Config, classes: int = len(CLASSES)) -> tfap.Network:
    """A network whose blocks do more than skip, and whose batch norms have seen sound, as in a trained one."""
    torch.manual_seed(0)
    network = tfap.Network(config, shapes(config), classes).train()
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.uniform_(0.5, 1.5)
        for _ in range(3):
            network(sound(8))
    return network.eval()


def sound(batch: int, frames: int = FRAMES) -> torch.Tensor:
    """[batch, frames, 128] of levels as machines have them, dB."""
    return torch.randn(batch, frames, 128) * 8.0 - 55.0


def of_yaml(name: str) -> tfap.Config:
    config = settings.load(ROOT / "train" / "configs" / f"{name}.yaml")
    assert isinstance(config, tfap.Config)
    return config


@pytest.mark.parametrize(("name", "macs"), [("tfap", 6.6), ("tfap_edge", 0.75)])
def test_the_networks_have_the_size_of_paper_1_and_the_edge_variant_its_budget(name, macs):
    config = of_yaml(name)
    model = describe("", config, tfap.Network(config, shapes(config), 75), [])
    assert model.parameters == pytest.approx(1.55e6, rel=0.02)
    assert model.macs / 1e9 == pytest.approx(macs, rel=0.02)
    assert model.macs <= 0.8e9 or name == "tfap"


def test_a_crop_of_64_frames_costs_what_the_paper_says():
    config = tfap.Config(window_frames=64)
    model = describe("", config, tfap.Network(config, shapes(config), 75), [])
    assert model.macs / 1e9 == pytest.approx(1.35, rel=0.02)
    assert tfap.Network(config, shapes(config), 75).embed.in_features == 4096


def slow_pooling(x: np.ndarray, weights: np.ndarray, orders: str) -> np.ndarray:
    """[C, T, bands], [heads, T, bands] -> as papers.md writes it, band by band, float64."""
    found = []
    for band in range(x.shape[2]):
        frames, a = x[:, :, band].T, weights[:, :, band].T  # [T, C], [T, heads]
        first = frames.T @ a
        second = (frames * frames).T @ a - first * first
        for moment in {"first": [first], "second": [second], "both": [first, second]}[orders]:
            vector = moment.T.flatten()  # heads, then channels
            root = np.sign(vector) * np.sqrt(np.abs(vector) + 1e-12)
            found.append(root / np.sqrt((root * root).sum() + 1e-12))
    return np.concatenate(found)


@pytest.mark.parametrize("orders", ["first", "second", "both"])
@pytest.mark.parametrize("kind", ["attention", "average"])
def test_the_pooling_is_that_of_the_formulae(kind, orders):
    torch.manual_seed(0)
    pooling, x = TimePooling(6, kind, 2, orders), torch.rand(2, 6, 9, 3) - 0.3
    if pooling.attention is not None:
        logits = np.einsum("bctf,kc->bktf", x.numpy(), pooling.attention.weight.detach().numpy()[:, :, 0, 0])
        weights = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    else:
        weights = np.full((2, 1, 9, 3), 1 / 9)
    found = pooling(x).detach().numpy()
    assert found.shape == (2, 3 * pooling.width)
    for row in range(2):
        # float32 sums against float64, roots of small variances among them
        expected = slow_pooling(x[row].double().numpy(), weights[row].astype(np.float64), orders)
        np.testing.assert_allclose(found[row], expected, atol=1e-5)


def test_the_greatest_value_of_each_band_is_pooled_in_the_same_way():
    x = torch.rand(2, 6, 9, 3) - 0.3
    greatest = x.amax(dim=2).transpose(1, 2)  # [B, bands, C]
    expected = functional.normalize(greatest.sign() * greatest.abs().sqrt(), dim=2).flatten(1)
    torch.testing.assert_close(TimePooling(6, "max", 2, "first")(x), expected, rtol=0, atol=1e-5)  # 1e-12 inside roots


@pytest.mark.parametrize("kind", ["attention", "average"])
def test_weights_sum_to_1_over_time_in_every_band(kind):
    weights = TimePooling(6, kind, 2, "both").weights(torch.randn(2, 6, 9, 3))
    assert weights is not None
    assert weights.shape[1] == (2 if kind == "attention" else 1) and weights.shape[3:] == (9, 3)
    torch.testing.assert_close(weights.sum(dim=3), torch.ones_like(weights[:, :, :, 0]))


@pytest.mark.parametrize(
    ("change", "width"),
    [
        ({"pooling": "attention"}, 4096),
        ({"heads": 1}, 2048),
        ({"orders": "second"}, 2048),
        ({"pooling": "average"}, 2048),
        ({"pooling": "average", "orders": "first"}, 1024),
        ({"pooling": "max", "orders": "first"}, 1024),
    ],
)
def test_the_pooling_switches_change_what_the_embedding_is_made_of(change, width):
    network = network_of(tfap.Config(window_frames=FRAMES, **change))
    assert network.embed.in_features == width
    assert network(sound(2))["embedding"].shape == (2, 128)


def test_the_greatest_value_has_no_second_order(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("system: tfap\npooling: max\n")
    with pytest.raises(ConfigError, match="max has no second order; set orders: first"):
        settings.load(file)


@pytest.mark.parametrize("strides", [(1, 1, 1, 1, 1), EDGE])
@pytest.mark.parametrize("frames", [5, 64, 200])
def test_the_network_takes_any_number_of_frames(strides, frames):
    outputs = network_of(tfap.Config(window_frames=FRAMES, time_strides=strides))(sound(2, frames))
    assert {name: value.shape for name, value in outputs.items()} == {"embedding": (2, 128), "logits": (2, 4)}


def test_embeddings_have_unit_length_for_silence_too():
    config = tfap.Config(window_frames=FRAMES)
    torch.manual_seed(0)
    for network in (network_of(config), tfap.Network(config, shapes(config), 4).eval()):
        for log_mel in (sound(2), torch.full((2, FRAMES, 128), -100.0), torch.zeros(2, FRAMES, 128)):
            torch.testing.assert_close(network(log_mel)["embedding"].norm(dim=1), torch.ones(2))


def test_logits_are_scaled_cosines():
    network = network_of(tfap.Config(window_frames=FRAMES, scale=7.0))
    outputs = network(sound(3))
    expected = 7.0 * functional.cosine_similarity(
        outputs["embedding"].unsqueeze(1), network.classify.directions.unsqueeze(0), dim=2
    )
    torch.testing.assert_close(outputs["logits"], expected)


@pytest.mark.parametrize("strides", [(1, 1, 1, 1, 1), EDGE])
def test_the_exported_graph_equals_torch_for_any_batch(strides, tmp_path):
    config = tfap.Config(window_frames=FRAMES, time_strides=strides)
    network = network_of(config)
    model = measured(network, describe("", config, network, []))
    write_graph(network, model, tmp_path / bundle.FP32)
    backend = OnnxRuntime(tmp_path / bundle.FP32)
    for batch in (1, 3):
        log_mel = sound(batch)
        with torch.no_grad():
            expected = network(log_mel)
        for name, array in backend.run({"log_mel": log_mel.numpy()}).items():
            # float32 in another order: 1e-4 of embeddings of unit length, and of logits that are 30 times a cosine
            np.testing.assert_allclose(array, expected[name].numpy(), atol=1e-4 * (30 if name == "logits" else 1))
    backend.close()


def test_all_convolutions_and_the_embedding_are_quantized_and_the_pooling_stays_in_float(tmp_path):
    config = tfap.Config(window_frames=FRAMES)
    network = network_of(config)
    write_graph(network, measured(network, describe("", config, network, [])), tmp_path / bundle.FP32)
    model = qdq.load(tmp_path / bundle.FP32)
    kinds = {node.name: node.op_type for node in model.graph.node}
    weighted = [kinds[name] for name in qdq.plan(model).weighted]
    assert weighted.count("Conv") == 22  # Conv1, four transitions, sixteen of the blocks, the attention
    assert len(weighted) - weighted.count("Conv") in (1, 2)  # the embedding; the logits where their weights are folded
    assert "Softmax" in kinds.values() and "Sqrt" in kinds.values()
