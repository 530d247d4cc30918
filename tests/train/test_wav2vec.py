"""The branch of wav2vec 2.0: a small random one in a folder, against transformers; how it is trained and refused."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.nn import functional

transformers = pytest.importorskip("transformers", reason="pip install '.[wav2vec]'")

from export.bench import registry
from export.to_onnx import write_graph
from tests.conftest import ROOT, TINY_WAV2VEC, hum, save_wav2vec
from tests.train.conftest import wav2vec_words as words
from train import checkpoint, loop, run, run_folder, settings
from train.models import tdnn
from train.models.base import Batch, SoundClass
from train.models.tdnn import wav2vec, weights
from train.models.tdnn.config import Wav2Vec
from train.run_folder import describe, shapes

FRAMES = 24  # 0.8 s
YAML = ROOT / "train" / "configs" / "tdnn.yaml"
LARGE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}  # how the large ones differ
CLASSES = [SoundClass("fan", f"section_{at:02d}", "a", None) for at in range(2)]


def config_of(folder: Path, **changes: Any) -> tdnn.Config:
    return tdnn.Config(window_frames=FRAMES, wav2vec=Wav2Vec(str(folder), **{"epochs": 2, **changes})).resolved()


def network_of(config: tdnn.Config) -> tdnn.Network:
    torch.manual_seed(0)
    return tdnn.Network(config, shapes(config), 2)


def started(config: tdnn.Config) -> tuple[tdnn.Network, tdnn.Objective]:
    network = network_of(config)
    objective = tdnn.Objective(config, network, CLASSES)
    objective.start(network)
    return network, objective


def waveform(samples: int, clips: int = 2) -> torch.Tensor:
    return torch.from_numpy(np.stack([hum(1.0, seed=at, pitch=60.0 + 30 * at)[:samples] for at in range(clips)]))


def batch_of(config: tdnn.Config) -> Batch:
    inputs = {"waveform": waveform(config.window, 4), "log_mel": -60.0 + 10.0 * torch.randn(4, FRAMES, 128)}
    return Batch(inputs, torch.eye(2).repeat(2, 1))


@pytest.mark.parametrize("shape", [{}, LARGE], ids=["base", "large"])
@pytest.mark.parametrize("latents", ["encoder", "context"])
def test_latents_are_those_of_transformers_for_a_window_of_mean_0_and_variance_1(tmp_path, shape, latents):
    config = config_of(save_wav2vec(tmp_path, **shape), latents=latents)
    branch = started(config)[0].wav2vec.eval()
    theirs = transformers.Wav2Vec2Model.from_pretrained(tmp_path).eval()
    sound = waveform(config.window)
    with torch.no_grad():
        found = theirs((sound - sound.mean(1, True)) / sound.std(1, correction=0, keepdim=True))
        expected = found.last_hidden_state if latents == "context" else found.extract_features
        # float32 through nine layers of size 1; the floor of 1e-7 is a hundred-thousandth of a variance of 0.006
        torch.testing.assert_close(branch.latents(sound), expected.transpose(1, 2), rtol=0, atol=1e-3)
        louder = branch.latents(0.05 + 3.0 * sound)
    torch.testing.assert_close(louder, expected.transpose(1, 2), rtol=0, atol=1e-3)
    assert branch.latents.steps(config.window) == expected.shape[1]


@pytest.mark.parametrize(("steps", "frames"), [(499, 311), (9, 24), (1, 5)])
def test_latents_are_brought_to_the_frames_by_linear_interpolation(steps, frames):
    x = torch.randn(2, 3, steps)
    expected = functional.interpolate(x, size=frames, mode="linear", align_corners=False)
    torch.testing.assert_close(wav2vec.Resample(steps, frames)(x), expected, rtol=0, atol=1e-4)  # places in float32


def test_wav2vec2_base_has_its_published_size():
    found = registry.model("tdnn", registry.load("tdnn", ()), 6)
    edge = registry.model("tdnn", registry.load("tdnn", ("wav2vec=null",)), 6)
    layer = 128 * 512 * 5  # of the TDNN for 128 more maps
    assert found.parameters - edge.parameters - layer - 769 * 128 == pytest.approx(94.4e6, rel=0.01)
    small = registry.model("tdnn", registry.load("tdnn", ("wav2vec.latents=encoder",)), 6)
    assert small.parameters - edge.parameters - layer - 513 * 128 == pytest.approx(4.2e6, rel=0.01)


def test_first_wav2vec_learns_alone_and_then_all_but_wav2vec(folder):
    config = config_of(folder)
    network, objective = started(config)
    batch = batch_of(config)
    speech = {name for name, _ in network.named_parameters() if name.startswith("wav2vec.")}
    latents = {name for name in speech if name.startswith("wav2vec.latents.")}
    for epoch, learning in ((0, speech), (1, speech), (2, set(dict(network.named_parameters())) - latents)):
        network.zero_grad()
        objective.begin(network, epoch)
        network.train()
        (loss,) = objective.steps(network, batch)
        loss.backward()
        assert {name for name, weight in network.named_parameters() if weight.grad is not None} == learning
        assert network.wav2vec.latents.training == (epoch < 2) and network.wav2vec.project.weight.requires_grad
    assert set(objective.terms(network, batch)) == {"sections", "triplet", "attributes"}


def test_fine_tuning_learns_the_sections(folder):
    config = config_of(folder)
    network, objective = started(config)
    objective.begin(network, 0)
    network.train()
    optimiser = torch.optim.Adam([*network.parameters(), *objective.parameters()], 3e-3)
    batch, losses = batch_of(config), []
    for _ in range(40):
        (loss,) = objective.steps(network, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]  # of two hums of one pitch each


def test_without_epochs_of_its_own_it_is_never_trained(folder):
    network, objective = started(config_of(folder, epochs=0))
    objective.begin(network, 0)
    assert not any(weight.requires_grad for weight in network.wav2vec.latents.parameters())
    assert objective.speech is None


@pytest.mark.parametrize("latents", ["encoder", "context"])
def test_the_graph_for_the_device_equals_torch_for_any_number_of_windows(folder, tmp_path, latents):
    config = config_of(folder, latents=latents)
    network = started(config)[0].eval()
    write_graph(network, describe("a name", config, network, []), tmp_path / "model.onnx")
    kinds = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert not kinds & {
        "DFT",
        "STFT",
        "Loop",
        "If",
        "Scan",
        "Mod",
        "Range",
        "NonZero",
        "ScatterND",
        "Where",
        "GatherND",
    }
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for clips in (1, 4):
        inputs = {name: array[:clips] for name, array in batch_of(config).inputs.items()}
        found = session.run(["embedding"], {name: array.numpy() for name, array in inputs.items()})[0]
        ours = functional.normalize(network(**inputs)["embedding"].detach(), dim=1)
        # the limit of export/to_onnx.py, of embeddings of unit length
        np.testing.assert_allclose(functional.normalize(torch.from_numpy(found), dim=1), ours, rtol=0, atol=1e-4)


def test_a_run_needs_its_weights_no_more_once_it_has_begun(sections, folder, tmp_path):
    own = shutil.copytree(folder, tmp_path / "own")
    out, change = tmp_path / "run", f"wav2vec.weights={own}"
    frozen: list[torch.Tensor] = []
    assert run.main([str(YAML), *words(sections, out, change), "--epochs", "2"]) == 0
    shutil.rmtree(own)
    trained = run_folder.load_run(out)
    assert isinstance(trained.config, tdnn.Config) and trained.config.wav2vec is not None
    shape = trained.config.wav2vec.architecture
    assert set(shape) == weights.SHAPE and {key: shape[key] for key in TINY_WAV2VEC} == TINY_WAV2VEC
    frozen = [weight.clone() for weight in trained.network.wav2vec.latents.parameters()]  # type: ignore[union-attr, operator]
    assert (
        run.main([str(out / "config.yaml"), "--data", str(sections), "--out", str(out), "--resume", "--epochs", "3"])
        == 0
    )
    again = run_folder.load_run(out).network.wav2vec.latents.parameters()  # type: ignore[union-attr, operator]
    assert all(torch.equal(one, other) for one, other in zip(frozen, again, strict=True))


def test_a_resumed_run_equals_an_unbroken_one(sections, folder, tmp_path):
    changes = [f"wav2vec.weights={folder}"]
    states = []
    for name, stops in (("whole", ["4"]), ("part", ["2", "4"])):
        for at, epochs in enumerate(stops):
            resume = ["--resume"] if at else []
            assert run.main([str(YAML), *words(sections, tmp_path / name, *changes), "--epochs", epochs, *resume]) == 0
        states.append(run_folder.load_run(tmp_path / name).network.state_dict())
    assert all(torch.equal(array, states[1][name]) for name, array in states[0].items())


def test_fine_tuning_begins_from_the_pretrained_weights(sections, folder, tmp_path, monkeypatch):
    heard: list[dict[str, torch.Tensor]] = []
    monkeypatch.setattr(loop, "fit", lambda looped, *_: heard.append(looped.network.wav2vec.latents.state_dict()))
    monkeypatch.setattr(checkpoint, "seconds", lambda _: 0.0)
    run.main([str(YAML), *words(sections, tmp_path / "run", f"wav2vec.weights={folder}"), "--epochs", "2"])
    pretrained = wav2vec.Latents(weights.pretrained(str(folder)), "context").state_dict()
    assert all(torch.equal(array, heard[0][name]) for name, array in pretrained.items())


def test_the_config_is_the_paper_with_all_three_features():
    config = settings.load(YAML)
    assert isinstance(config, tdnn.Config) and config.tgram and config.wav2vec is not None
    assert config.training.learning_rate == 2e-4 and config.training.epochs == 100 and config.training.batch == 6 * 8
