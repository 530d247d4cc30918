"""The branch of wav2vec 2.0: a small random one in a folder, against transformers; how it is trained and refused."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.nn import functional

transformers = pytest.importorskip("transformers", reason="pip install '.[wav2vec]'")

from edge_runtime.errors import ConfigError
from export.bench import plan, registry
from export.to_onnx import write_graph
from tests.conftest import ROOT, TINY_WAV2VEC, hum, save_wav2vec, write_wav
from tests.train.conftest import error
from train import loop, run, settings
from train.models import tdnn
from train.models.base import Batch, SoundClass
from train.models.tdnn import wav2vec, weights
from train.models.tdnn.config import Wav2Vec
from train.run import describe, shapes

FRAMES = 24  # 0.8 s
YAML = ROOT / "train" / "configs" / "tdnn.yaml"
LARGE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}  # how the large ones differ
CLASSES = [SoundClass("fan", f"section_{at:02d}", "a", None) for at in range(2)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_wav2vec(tmp_path_factory.mktemp("wav2vec"))


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


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """Two sections of one type under two speeds: 4 training clips each, and a test clip of either label."""
    root = tmp_path_factory.mktemp("recordings")
    for section, pitch in (("00", 60.0), ("01", 95.0)):
        for at in range(6):
            part, label = ("train" if at < 4 else "test"), ("anomaly" if at == 5 else "normal")
            name = f"section_{section}_source_{part}_{label}_{at:04d}_spd_{at % 2}.wav"
            write_wav(root / "dev_data" / "fan" / part / name, hum(0.85, seed=at, pitch=pitch))
    return root


def words(recordings: Path, out: Path, *changes: str) -> list[str]:
    small = [f"window_frames={FRAMES}", "hop_frames=4", "training.batch=4", "clips_per_class=2", "training.workers=0"]
    sets = [word for change in (*small, "wav2vec.epochs=1", *changes) for word in ("--set", change)]
    return ["--data", str(recordings), "--out", str(out), *sets]


def test_a_run_needs_its_weights_no_more_once_it_has_begun(recordings, folder, tmp_path):
    own = shutil.copytree(folder, tmp_path / "own")
    out, change = tmp_path / "run", f"wav2vec.weights={own}"
    frozen: list[torch.Tensor] = []
    assert run.main([str(YAML), *words(recordings, out, change), "--epochs", "2"]) == 0
    shutil.rmtree(own)
    trained = run.load_run(out)
    assert isinstance(trained.config, tdnn.Config) and trained.config.wav2vec is not None
    shape = trained.config.wav2vec.architecture
    assert set(shape) == weights.SHAPE and {key: shape[key] for key in TINY_WAV2VEC} == TINY_WAV2VEC
    frozen = [weight.clone() for weight in trained.network.wav2vec.latents.parameters()]  # type: ignore[union-attr, operator]
    assert (
        run.main([str(out / "config.yaml"), "--data", str(recordings), "--out", str(out), "--resume", "--epochs", "3"])
        == 0
    )
    again = run.load_run(out).network.wav2vec.latents.parameters()  # type: ignore[union-attr, operator]
    assert all(torch.equal(one, other) for one, other in zip(frozen, again, strict=True))


def test_a_resumed_run_equals_an_unbroken_one(recordings, folder, tmp_path):
    changes = [f"wav2vec.weights={folder}"]
    states = []
    for name, stops in (("whole", ["4"]), ("part", ["2", "4"])):
        for at, epochs in enumerate(stops):
            resume = ["--resume"] if at else []
            assert (
                run.main([str(YAML), *words(recordings, tmp_path / name, *changes), "--epochs", epochs, *resume]) == 0
            )
        states.append(run.load_run(tmp_path / name).network.state_dict())
    assert all(torch.equal(array, states[1][name]) for name, array in states[0].items())


def test_fine_tuning_begins_from_the_pretrained_weights(recordings, folder, tmp_path, monkeypatch):
    heard: list[dict[str, torch.Tensor]] = []
    monkeypatch.setattr(loop, "fit", lambda looped, *_: heard.append(looped.network.wav2vec.latents.state_dict()))
    monkeypatch.setattr(loop, "seconds", lambda _: 0.0)
    run.main([str(YAML), *words(recordings, tmp_path / "run", f"wav2vec.weights={folder}"), "--epochs", "2"])
    pretrained = wav2vec.Latents(weights.pretrained(str(folder)), "context").state_dict()
    assert all(torch.equal(array, heard[0][name]) for name, array in pretrained.items())


def other_model(folder: Path, tmp_path: Path) -> Path:
    return _told(folder, tmp_path, model_type="hubert")


def _told(folder: Path, tmp_path: Path, **changes: Any) -> Path:
    copy = shutil.copytree(folder, tmp_path / "copy")
    told = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**told, **changes}))
    return copy


def no_weights(folder: Path, tmp_path: Path) -> Path:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "model.safetensors").unlink()
    return copy


def broken(folder: Path, tmp_path: Path) -> Path:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "model.safetensors").write_bytes(b"nothing")
    return copy


def of_another_shape(folder: Path, tmp_path: Path) -> Path:
    return _told(folder, tmp_path, hidden_size=32)


def with_more_layers(folder: Path, tmp_path: Path) -> Path:
    return _told(folder, tmp_path, num_hidden_layers=3)


WRONG = [
    (lambda *_: "/nowhere/at all", "no such folder, and no name of the hub, which is OWNER/MODEL"),
    (lambda _, empty: empty, "no config.json in it; wanted config.json with model_type wav2vec2"),
    (other_model, "config.json is of model_type hubert"),
    (no_weights, "no model.safetensors and no pytorch_model.bin in it"),
    (broken, "cannot be read"),
    (of_another_shape, "cannot be read"),
    (with_more_layers, "no weights of encoder.layers.2"),
    (lambda *_: "nobody/nothing", "it is not on this computer; get it with `hf download nobody/nothing`"),
]


@pytest.mark.parametrize(("wrong", "said"), WRONG)
def test_weights_that_are_none_are_refused_in_one_line_and_no_run_is_begun(
    recordings, folder, tmp_path, capsys, monkeypatch, wrong, said
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    place, out = wrong(folder, tmp_path), tmp_path / "run"
    line = error(capsys, run.main, YAML, *words(recordings, out, f"wav2vec.weights={place}"))
    assert f"wav2vec.weights {place}: " in line and said in line
    assert not out.exists()


def test_a_missing_package_is_one_line_with_what_to_install(recordings, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    line = error(capsys, run.main, YAML, *words(recordings, tmp_path / "run"))
    assert "pip install 'auscult[wav2vec]'" in line
    listed = {one.name: one for one in registry.listing()}
    assert listed["tdnn"].parameters == 0 and "pip install 'auscult[wav2vec]'" in listed["tdnn"].title
    assert listed["tdnn_edge"].parameters > 5e6


def test_a_benchmark_looks_nowhere_else_and_says_what_is_not_here(recordings, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", _local_only)
    changes = ["tdnn:wav2vec.weights=nobody/nothing", "training.batch=16"]
    asked = plan.Request(data=recordings, out=tmp_path, systems=["tdnn", "tdnn_edge"], changes=changes)
    found = plan.plan(asked)
    assert "hf download nobody/nothing" in found.missing["tdnn"] and "tdnn_edge" not in found.missing
    asked = plan.Request(
        data=recordings, out=tmp_path, systems=["tdnn"], changes=[f"wav2vec.weights={folder}", changes[1]]
    )
    assert plan.plan(asked).missing == {}


def _local_only(*_: Any, local_files_only: bool = False, **__: Any) -> str:
    assert local_files_only
    raise FileNotFoundError


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("wav2vec.epochs=100", "wav2vec.epochs 100 of training.epochs 100"),
        ("wav2vec.architecture={width: 3}", "architecture: no width; there is conv_bias"),
        ("wav2vec.latents=middle", "latents"),
    ],
)
def test_settings_that_cannot_be_are_refused(change, said):
    with pytest.raises(ConfigError, match=said):
        settings.load(YAML, [change])


def test_an_architecture_that_is_none_is_refused(folder):
    with pytest.raises(ConfigError, match=r"wav2vec\.architecture: .*leave it out"):
        network_of(tdnn.Config(wav2vec=Wav2Vec(str(folder), architecture={"num_attention_heads": 7})))
    with pytest.raises(ConfigError, match=r"of another shape than wav2vec\.architecture says"):
        started(config_of(folder, architecture={**TINY_WAV2VEC, "intermediate_size": 64}))


def test_the_config_is_the_paper_with_all_three_features():
    config = settings.load(YAML)
    assert isinstance(config, tdnn.Config) and config.tgram and config.wav2vec is not None
    assert config.training.learning_rate == 2e-4 and config.training.epochs == 100 and config.training.batch == 6 * 8
