"""Paper 0: size, temporal branch, tokens, graph and losses against their definitions."""

import math
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from calib.clips import Clip
from edge_runtime import features
from edge_runtime.errors import ConfigError
from export.to_onnx import write_graph
from tests.conftest import ROOT, hum
from train import settings
from train.models import tranself
from train.models.base import Batch, SoundClass
from train.models.tgramnet import TgramNet
from train.models.tranself import dygcn, filter_augment, timetoformer, tokens
from train.run_folder import describe, shapes

FRAMES = 40  # 1.312 s
CLASSES = [SoundClass("fan", f"section_{at:02d}", "", None) for at in range(3)]
OUTPUTS = ("embedding", "logits")


def network_of(classes: int = len(CLASSES), **changes: Any) -> tuple[tranself.Config, tranself.Network]:
    config = tranself.Config(**{"window_frames": FRAMES, **changes})
    torch.manual_seed(0)
    return config, tranself.Network(config, shapes(config), classes).eval()


def sound(samples: int, clips: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Inputs of machines of different pitch."""
    rows = [hum(samples / features.SAMPLE_RATE, seed=seed + at, pitch=50.0 + 17.0 * at) for at in range(clips)]
    return {
        name: torch.from_numpy(np.stack([features.compute(row[:samples].astype(np.float32), spec) for row in rows]))
        for name, spec in tranself.Config().inputs().items()
    }


def terms(batch: Batch | None = None, **changes: Any) -> dict[str, torch.Tensor]:
    config, network = network_of(**changes)
    objective = tranself.Objective(config, network.train(), CLASSES)
    return {name: loss.detach() for name, loss in objective.terms(network, batch or paired(config)).items()}


def paired(config: tranself.Config) -> Batch:
    inputs, pair = sound(config.crop, 6), sound(config.crop, 6, seed=50)
    return Batch(inputs, torch.eye(3).repeat(2, 1), pair)


def count(network: torch.nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())


@pytest.mark.parametrize("classes", [2, 41])
def test_the_network_has_the_size_of_paper_0(classes):
    config, network = network_of(classes, window_frames=features.WINDOW_FRAMES)
    model = describe("", config, network, [])
    assert model.parameters == pytest.approx(5.4e6, rel=0.02)
    assert model.macs <= 1.6e9
    assert model.outputs == {"embedding": [128], "logits": [classes]}


def test_the_lags_of_a_periodic_sound_are_multiples_of_its_period():
    torch.manual_seed(0)
    for period in (7, 20):
        x = torch.randn(2, 16, period).repeat(1, 1, 140 // period)
        strengths, lags = timetoformer.best_lags(timetoformer.circular_correlation(x, x))
        assert lags.shape == (2, 4) and (lags % period == 0).all()  # 4 = floor(ln 140); both sounds have 7 multiples
        # all multiples are equal: float32 sums of 140 products
        torch.testing.assert_close(strengths, strengths[:, :1].expand(-1, 4), rtol=1e-5, atol=0)


@pytest.mark.parametrize("length", [5, 40, 157, 311])
def test_the_gram_form_equals_the_transform(length):
    torch.manual_seed(0)
    query, key, values = torch.randn(3, 2, 128, length)
    expected = torch.fft.irfft(torch.fft.rfft(query) * torch.fft.rfft(key).conj(), n=length).mean(dim=1)
    # float32 sums of 128 * 311 products of size 1, over 128: 1e-4 is twenty roundings of the greatest, about 20
    torch.testing.assert_close(timetoformer.circular_correlation(query, key), expected, rtol=0, atol=1e-4)
    lags = torch.tensor([[0, length - 1], [3, 1]])
    rolled = timetoformer.delayed_sum(values, lags, torch.tensor([[0.25, 0.75], [0.5, 2.0]]))
    for row, weights in enumerate(((0.25, 0.75), (0.5, 2.0))):
        parts = [w * values[row].roll(-int(lag), 1) for w, lag in zip(weights, lags[row], strict=True)]
        torch.testing.assert_close(rolled[row], parts[0] + parts[1])


def test_a_correlation_at_a_lag_is_that_of_a_later_query():
    key = torch.randn(1, 4, 50)
    strengths = timetoformer.circular_correlation(key.roll(11, 2), key)
    assert int(strengths.argmax()) == 11


def test_the_trend_is_a_moving_average_with_the_edges_repeated():
    x = torch.randn(1, 3, 40)
    longer = torch.cat([x[:, :, :1].expand(-1, -1, 12), x, x[:, :, -1:].expand(-1, -1, 12)], dim=2)
    expected = x - torch.stack([longer[:, :, at : at + 25].mean(dim=2) for at in range(40)], dim=2)
    torch.testing.assert_close(timetoformer.without_trend(x), expected)
    assert float(timetoformer.without_trend(torch.full((1, 3, 5), 9.0)).abs().max()) < 1e-5  # shorter than the kernel


@pytest.mark.parametrize(("height", "width"), [(16, 39), (3, 5), (4, 1)])
def test_a_folded_map_is_what_was_unfolded(height, width):
    x = torch.randn(2, 3, height, width)
    patches = tokens.unfold(x)
    assert patches.shape == (8, math.ceil(height / 2) * math.ceil(width / 2), 3)
    assert torch.equal(tokens.fold(patches, height, width), x)
    assert torch.equal(patches[1, 0], x[0, :, 0, 1] if width > 1 else torch.zeros(3))  # beside the first pixel


def test_a_learned_token_is_a_mean_of_patches():
    torch.manual_seed(0)
    learner = tokens.TokenLearner(16, 8)
    patches = torch.randn(2, 30, 16)
    found = learner(patches)
    assert found.shape == (2, 8, 16)
    assert (found <= patches.amax(1, keepdim=True)).all() and (found >= patches.amin(1, keepdim=True)).all()
    same = learner(patches[:, :1].expand(-1, 30, -1))
    torch.testing.assert_close(same, patches[:, :1].expand(-1, 8, -1))


@pytest.mark.parametrize("temporal", ["none", "tgramnet", "transformer", "timetoformer"])
def test_the_temporal_branch_is_the_one_that_the_config_names(temporal):
    _, network = network_of(temporal=temporal)
    own = {"none": 0, "tgramnet": 131_072 + 3 * (2 * FRAMES + 49_152)}
    patches, layer = 131_072 + 256, 4 * (128 * 128 + 128) + 2 * 128 * 512
    own["timetoformer"] = patches + 2 * layer
    own["transformer"] = patches + 2 * (layer + 512 + 128 + 2 * 256) + 256  # more biases, and norms
    assert count(network) - count(network_of(temporal="none")[1]) == own[temporal]
    inputs = sound(network_of()[0].window, 3)
    silent = network(inputs["log_mel"], torch.zeros_like(inputs["waveform"]))
    with torch.no_grad():
        changed = (network(**inputs)["embedding"] - silent["embedding"]).abs().max()
    assert (float(changed) == 0.0) == (temporal == "none")


def test_tgramnet_has_the_published_size_at_313_frames():
    assert count(TgramNet(313, padding=512)) == 280_406
    assert TgramNet(313, padding=512)(torch.zeros(1, 160_000)).shape == (1, 128, 313)
    assert TgramNet(311)(torch.zeros(1, features.WINDOW)).shape == (1, 128, 311)


def test_a_crop_of_another_length_is_refused_for_tgramnet(tmp_path):
    file = ROOT / "train" / "configs" / "tranself.yaml"
    with pytest.raises(ConfigError, match="tgramnet knows one length"):
        settings.load(file, ["temporal=tgramnet", "crop_frames=64"])
    assert settings.load(file, ["temporal=tgramnet", "crop_frames=311"]).crop_frames == 311


def test_a_network_trained_on_crops_hears_longer_windows():
    config, network = network_of(crop_frames=24)
    (loss,) = tranself.Objective(config, network.train(), CLASSES).steps(network, paired(config))
    loss.backward()
    assert torch.isfinite(loss) and all(weights.grad is not None for weights in network.parameters())
    assert network.eval()(**sound(config.window, 2))["logits"].shape == (2, 3)
    assert network.state_dict().keys() == network_of(window_frames=24)[1].state_dict().keys()


@pytest.mark.parametrize("switch", ["token_learner", "squeeze_excitation"])
def test_a_switch_of_the_tokens_takes_its_weights_away(switch):
    whole, network = network_of()[1], network_of(**{switch: False})[1]
    gone = set(dict(whole.named_parameters())) - set(dict(network.named_parameters()))
    word = {"token_learner": ("learner", "fuser"), "squeeze_excitation": ("gate",)}[switch]
    assert gone and all(any(part in name for part in word) for name in gone)
    assert torch.isfinite(network(**sound(network_of()[0].window, 2))["logits"]).all()


@pytest.mark.parametrize(
    ("switch", "loss"), [("dygcn", "dygcn"), ("dan", "coral"), ("arcface", "arcface"), ("autoencoder", "autoencoder")]
)
def test_a_switch_of_the_training_takes_its_loss_away(switch, loss):
    assert set(terms()) == {"classifier", "arcface", "dygcn", "autoencoder", "coral"}
    assert set(terms()) - set(terms(**{switch: False})) == {loss}
    assert count(network_of(**{switch: False})[1]) == count(network_of()[1])
    assert tranself.Config(**{switch: False}).pairs() == (switch != "dan")


def test_the_classifier_loss_is_the_one_that_the_config_names():
    values = {kind: float(terms(classifier_loss=kind)["classifier"]) for kind in ("poly", "cross_entropy", "focal")}
    assert values["cross_entropy"] < values["poly"] < values["cross_entropy"] + 1.0
    assert values["focal"] < 0.25 * values["cross_entropy"]


def test_all_losses_weigh_the_same():
    config, network = network_of(dan=False)
    objective = tranself.Objective(config, network.train(), CLASSES)
    (loss,) = objective.steps(network, paired(config))
    torch.testing.assert_close(loss, sum(objective.terms(network, paired(config)).values()))


def test_coral_is_zero_when_the_conditions_sound_the_same(monkeypatch):
    monkeypatch.setattr("train.models.tranself.objective.filter_augment", lambda log_mel: log_mel)
    config = network_of()[0]
    batch = paired(config)
    assert float(terms(batch)["coral"]) > 1e-9
    assert float(terms(batch._replace(pair=batch.inputs))["coral"]) < 1e-12  # float32, of values of 0.1


def test_logits_have_no_margin_and_no_part_of_the_training():
    config, network = network_of()
    inputs = sound(config.window, 2)
    before = network(**inputs)["logits"]
    tranself.Objective(config, network, CLASSES)
    assert torch.equal(network(**inputs)["logits"], before)
    torch.testing.assert_close(before, network.classifier(network(**inputs)["embedding"]))


def test_silence_gives_finite_outputs():
    config, network = network_of()
    silence = np.zeros(config.window, np.float32)
    inputs = {n: torch.from_numpy(features.compute(silence, spec))[None] for n, spec in config.inputs().items()}
    assert all(torch.isfinite(value).all() for value in network(**inputs).values())
    both = {name: array.repeat(4, *[1] * (array.ndim - 1)) for name, array in inputs.items()}
    values = terms(Batch(both, torch.eye(3)[[0, 1, 2, 0]], both))
    assert all(torch.isfinite(value) for value in values.values())


def test_the_graph_of_a_clip_is_its_own():
    torch.manual_seed(0)
    graph = dygcn.DyGcn(20, 5, width=8).eval()
    maps = torch.randn(3, 20, 4, 6)
    nodes = graph.nodes(maps)
    masks, pixels = torch.sigmoid(graph.mask(maps)), graph.project(maps)
    torch.testing.assert_close(nodes[1, 2], (masks[1, 2] * pixels[1]).sum(dim=(1, 2)) / 24)
    edges = graph.graph(nodes)
    assert edges.shape == (3, 5, 5) and ((edges > 0) & (edges < 1)).all() and not torch.allclose(edges[0], edges[1])
    assert graph(maps).shape == (3, 5)
    torch.testing.assert_close(graph(maps)[1:2], graph(maps[1:2]))


def test_filter_augment_changes_three_to_six_bands_by_up_to_six_decibels():
    torch.manual_seed(0)
    gains = filter_augment.gains(500, 128)
    bands = [int((row.diff() != 0).sum()) + 1 for row in gains]
    assert set(bands) == {3, 4, 5, 6} and float(gains.abs().max()) <= 6.0 and float(gains.abs().max()) > 5.5
    widths = [torch.unique_consecutive(row, return_counts=True)[1].min() for row in gains]
    assert min(int(width) for width in widths) >= 6
    log_mel = torch.zeros(2, 9, 128)
    assert torch.equal(filter_augment.filter_augment(log_mel).diff(dim=1), log_mel[:, 1:])  # the same in every frame


def clip(section: str, attributes: str = "", domain: str | None = None) -> Clip:
    file = ROOT / f"{section}_{attributes}.wav"
    return Clip(file, "fan", section, "train", domain, "normal", attributes)


def test_what_the_clips_lack_is_said():
    one = [clip("id_00"), clip("id_00", "spd_2")]
    assert "only fan_id_00" in tranself.Config().missing(one)
    plain = [clip("id_00"), clip("id_01")]
    assert "--set dan=false" in tranself.Config().missing(plain)
    assert tranself.Config(dan=False).missing(plain) == ""
    assert tranself.Config().missing([*one, clip("id_01")]) == ""
    assert tranself.Config().missing([*plain, clip("id_01", domain="target")]) == ""


def test_the_graph_for_the_device_equals_torch_and_has_no_transform_and_no_loop(tmp_path):
    config, network = network_of()
    with torch.no_grad():
        network.train()(**sound(config.window, 8, seed=9))  # batch norms as after some training
    network.eval()
    model = describe("a name", config, network, [])
    write_graph(network, model, tmp_path / "model.onnx")
    kinds = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert not kinds & {"DFT", "STFT", "Loop", "If", "Scan", "Mod", "Range", "NonZero", "ScatterND"}
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for clips in (1, 3):
        inputs = sound(config.window, clips)
        found = session.run(list(OUTPUTS), {name: array.numpy() for name, array in inputs.items()})
        for name, values in zip(OUTPUTS, found, strict=True):
            # the limit of export/to_onnx.py; float32 gives 1e-7
            np.testing.assert_allclose(values, network(**inputs)[name].detach().numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["tranself", "tranself_one_condition"])
def test_the_configs_score_by_the_probability_of_the_true_id(name):
    config = settings.load(ROOT / "train" / "configs" / f"{name}.yaml")
    assert isinstance(config, tranself.Config) and config.dan == (name == "tranself")
    assert msgspec.to_builtins(config.scoring)["kind"] == "probability"
    assert config.training.weight_decay == 0.05 and config.training.l2 == 0.0 and config.training.batch == 30
