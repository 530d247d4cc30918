"""Every system keeps the contract of `train/models`; sizes are those of the papers."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edge_runtime import features
from edge_runtime.scoring import Network
from train.data import merged
from train.models import SYSTEMS, autoencoder, featex
from train.models.base import Batch, Config, SoundClass
from train.models.blocks import SqueezeExcitation, same_padding
from train.run_folder import describe, shapes
from train.settings import system_of

FRAMES = 20  # a window of 0.672 s
CLASSES = [SoundClass("fan", "section_00", "", domain) for domain in ("source", "target")]


@pytest.fixture(params=sorted(SYSTEMS))
def config(request) -> Config:
    short = {"segment_frames": 16} if request.param == "oevae" else {}
    return SYSTEMS[request.param].Config(window_frames=FRAMES, **short)


def network_of(config: Config) -> Any:
    torch.manual_seed(0)
    return SYSTEMS[system_of(config)].Network(config, shapes(config), len(merged(CLASSES, config))).eval()


def sound_inputs(config: Config, batch: int) -> dict[str, torch.Tensor]:
    """The inputs of noise, through the functions that the device uses."""
    noise = np.random.default_rng(0).normal(0, 0.1, (batch, config.window)).astype(np.float32)
    specs = config.inputs()
    return {
        name: torch.from_numpy(np.stack([features.compute(row, spec) for row in noise])) for name, spec in specs.items()
    }


def cost(network: nn.Module, config: Config) -> float:
    """Giga multiply-accumulates a window."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(**{name: torch.zeros(1, *shape) for name, shape in shapes(config).items()})
    return counter.get_total_flops() / 2e9


def test_a_network_takes_and_gives_what_its_model_says(config):
    network = network_of(config)
    model = describe("a name", config, network, [])
    network.eval()
    inputs = sound_inputs(config, 3)
    assert set(inputs) == set(model.inputs)
    outputs = network(**inputs)
    assert {name: list(value.shape[1:]) for name, value in outputs.items()} == model.outputs
    assert all(len(value) == 3 and torch.isfinite(value).all() for value in outputs.values())
    assert "embedding" in outputs or "score" in outputs
    assert not isinstance(model.scoring, Network) or "score" in outputs
    assert model.parameters > 0 and model.macs > 0


def test_a_row_does_not_depend_on_the_rows_beside_it(config):
    network, inputs = network_of(config), sound_inputs(config, 4)
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        together, shuffled = network(**inputs), network(**{name: array[order] for name, array in inputs.items()})
        alone = network(**{name: array[1:2] for name, array in inputs.items()})
    for name, values in together.items():
        # float32 products may be summed in another order for another batch: 1e-4 of the values, which are 0.01 to 1e4
        torch.testing.assert_close(shuffled[name], values[order], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone[name], values[1:2], rtol=1e-4, atol=1e-5)


def test_a_network_can_be_exported_with_a_batch_of_any_size(config):
    network, inputs = network_of(config), sound_inputs(config, 2)
    sizes = {name: {0: torch.export.Dim("batch")} for name in inputs}
    exported = torch.export.export(network, (), inputs, dynamic_shapes=sizes).module()
    more = sound_inputs(config, 5)
    for name, value in exported(**more).items():
        torch.testing.assert_close(value, network(**more)[name], rtol=1e-4, atol=1e-5)  # as above


def test_an_objective_gives_every_weight_a_gradient(config):
    network = network_of(config).train()
    objective = SYSTEMS[system_of(config)].Objective(config, network, CLASSES)
    (loss,) = objective.steps(network, Batch(sound_inputs(config, 4), torch.eye(2).repeat(2, 1)))
    loss.backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None and torch.isfinite(weight.grad).all(), name
    assert not {name for name, _ in network.named_parameters()} & {name for name, _ in objective.named_parameters()}


@pytest.mark.parametrize(("frames", "parameters", "macs"), [(311, 2.56e6, 0.46), (560, 2.69e6, 0.82)])
def test_featex_has_the_size_of_paper_4(frames, parameters, macs):
    config = featex.Config(window_frames=frames)
    network = network_of(config)
    statistics = sum(len(array) for array in network.buffers() if array.ndim)  # the paper counts those of batch norms
    learned = sum(weights.numel() for weights in network.parameters())
    assert learned + statistics == pytest.approx(parameters, rel=0.02)
    assert describe("", config, network, []).parameters == learned == pytest.approx(parameters, rel=0.02)
    assert cost(network.eval(), config) == pytest.approx(macs, rel=0.02)


@pytest.mark.parametrize(("score", "macs"), [("mse", 0.082), ("mahalanobis", 0.333)])
def test_the_autoencoder_has_the_size_of_the_official_one(score, macs):
    config = autoencoder.Config(score=score)
    network = network_of(config)
    # weights, biases, scales and shifts of batch norms; neither their statistics nor covariances
    assert describe("", config, network, []).parameters == 267_928
    assert cost(network.eval(), config) == pytest.approx(macs, rel=0.02)


def test_featex_has_no_bias():
    layers = [layer for layer in network_of(featex.Config()).modules() if hasattr(layer, "weight")]
    assert not [
        layer for layer in layers if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d) and layer.bias is not None
    ]


def test_featex_does_not_hear_what_is_constant_in_a_spectrogram():
    config = featex.Config(window_frames=FRAMES)
    network, inputs = network_of(config), sound_inputs(config, 2)
    louder = {**inputs, "stft": inputs["stft"] + torch.rand(2, 1, 513)}
    # magnitudes of about 2 lose 1e-6 of a mean of 2; what follows amplifies it by less than 100
    torch.testing.assert_close(network(**louder)["embedding"], network(**inputs)["embedding"], rtol=0, atol=2e-4)


def test_featex_embeddings_have_unit_length():
    config = featex.Config(window_frames=FRAMES)
    lengths = network_of(config)(**sound_inputs(config, 3))["embedding"].norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(3))


@pytest.mark.parametrize("change", [{"mixup": 0.0}, {"statex": 0.0}, {"featex": 0.0}, {"exchange_head": False}])
def test_each_part_of_featex_can_be_switched_off(change):
    config = featex.Config(window_frames=FRAMES, **change)
    network = network_of(config).train()
    objective = featex.Objective(config, network, CLASSES)
    assert config.mixing() == config.mixup
    assert (objective.exchanges is None) == (not config.exchange_head)
    assert torch.isfinite(objective.loss(network, Batch(sound_inputs(config, 4), torch.eye(2).repeat(2, 1))))


@pytest.mark.parametrize("frozen", [True, False])
def test_the_first_centres_of_featex_are_frozen_unless_told_otherwise(frozen):
    config = featex.Config(window_frames=FRAMES, frozen_centres=frozen)
    objective = featex.Objective(config, network_of(config), CLASSES)
    assert objective.head.centres.requires_grad != frozen
    assert objective.exchanges is not None
    assert objective.exchanges.centres.shape == (9 * len(CLASSES) * 16, 256)
    assert objective.exchanges.centres.requires_grad


def test_the_autoencoder_scores_the_mean_squared_residual_of_five_stacked_frames():
    config = autoencoder.Config(window_frames=FRAMES)
    network, log_mel = network_of(config), sound_inputs(config, 1)["log_mel"]
    stacks = torch.stack([log_mel[0, at : at + 5].flatten() for at in range(FRAMES - 4)])
    expected = (stacks - network.decoder(network.encoder(stacks))).square().mean()
    torch.testing.assert_close(network(log_mel)["score"], expected[None])


def test_the_autoencoder_takes_each_stack_once_in_shuffled_steps():
    config = autoencoder.Config(window_frames=FRAMES, stacks=16)
    network, inputs = network_of(config).train(), sound_inputs(config, 4)
    seen: list[torch.Tensor] = []
    network.encoder.register_forward_pre_hook(lambda _, rows: seen.append(rows[0]))
    objective = autoencoder.Objective(config, network, CLASSES)
    assert len(list(objective.steps(network, Batch(inputs, torch.eye(2).repeat(2, 1))))) == 4
    assert [len(rows) for rows in seen] == [16] * 4
    expected = autoencoder.stack(inputs["log_mel"]).flatten(0, 1)
    assert not torch.equal(torch.cat(seen), expected)
    assert torch.equal(torch.cat(seen).sum(1).sort().values, expected.sum(1).sort().values)


def mahalanobis(labels: torch.Tensor) -> tuple[Any, dict[str, torch.Tensor]]:
    """A network whose score is fitted to 60 clips of noise, and its training inputs."""
    config = autoencoder.Config(window_frames=FRAMES, score="mahalanobis")
    network, inputs = network_of(config), sound_inputs(config, 60)
    inputs["log_mel"][30:] *= 1.5  # another domain
    autoencoder.Objective(config, network, CLASSES).finish(network, [Batch(inputs, labels)])
    return network, inputs


def test_mahalanobis_before_training_is_the_mean_squared_residual():
    inputs = sound_inputs(autoencoder.Config(window_frames=FRAMES), 2)
    by = {
        score: network_of(autoencoder.Config(window_frames=FRAMES, score=score))(**inputs)["score"]
        for score in ("mse", "mahalanobis")
    }
    torch.testing.assert_close(by["mahalanobis"], by["mse"])


def test_mahalanobis_whitens_each_domain_by_its_own_residuals_and_takes_the_smaller():
    network, inputs = mahalanobis(torch.eye(2).repeat_interleave(30, dim=0))
    residuals = (
        network.residuals(autoencoder.stack(inputs["log_mel"]).flatten(0, 1)).detach().double().unflatten(0, (60, -1))
    )
    for rows, whitening in zip(residuals.split(30), network.whitening.double(), strict=True):
        flat = rows.flatten(0, 1) - rows.flatten(0, 1).mean(0)
        white = flat @ whitening.T
        # 480 stacks of 640 values: along the directions that they span, their variance is 1 but for the ridge
        assert float(torch.linalg.matrix_norm(white.T @ white / len(white), 2)) == pytest.approx(1.0, abs=0.02)
    lengths = [(residuals.float() @ w.T).square().mean(dim=(1, 2)) for w in network.whitening]
    torch.testing.assert_close(network(**inputs)["score"], torch.minimum(*lengths))


def test_mahalanobis_of_a_data_set_without_domains_has_one_covariance():
    network, _ = mahalanobis(torch.tensor([[1.0, 0.0]]).repeat(60, 1))
    assert torch.equal(network.whitening[0], network.whitening[1])


@pytest.mark.parametrize(("kernel", "stride"), [(256, 64), (64, 32), (16, 4), (7, 2), (3, 2), (3, 1)])
def test_same_padding_gives_one_output_for_each_step(kernel, stride):
    for size in (*range(1, 300), 1248, 79_872):
        padding = same_padding(size, kernel, stride)
        assert (size + 2 * padding - kernel) // stride + 1 == -(-size // stride)


@pytest.mark.parametrize("shape", [(2, 32, 9), (2, 32, 9, 5)])
def test_squeeze_excitation_scales_channels_by_a_gate_between_0_and_1(shape):
    x = torch.rand(shape) + 0.1
    gates = SqueezeExcitation(32)(x) / x
    assert ((gates > 0) & (gates < 1)).all()
    torch.testing.assert_close(
        gates, gates.flatten(2)[:, :, 0].reshape(*gates.shape[:2], *[1] * (x.ndim - 2)).expand(shape)
    )
