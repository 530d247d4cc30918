"""A network as ONNX: equal to torch, or not there at all. About 15 s."""

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from calib.clips import Clip, training
from calib.collect import Collected
from edge_runtime import bundle
from edge_runtime.backends import open_backend
from edge_runtime.cli import run_command
from edge_runtime.errors import DataError
from edge_runtime.scoring import Network
from export import to_onnx
from tests.conftest import ROOT
from tests.export.conftest import MODEL


def test_the_exported_graph_gives_what_torch_gives(exported, network):
    batch = np.random.default_rng(0).normal(-50, 10, (5, 31, 128)).astype(np.float32)
    with torch.inference_mode():
        wanted = network(log_mel=torch.from_numpy(batch))["embedding"].numpy()
    found = open_backend(exported / bundle.FP32, bundle.load_model(exported)).run({"log_mel": batch})["embedding"]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)  # float32 sums in another order


def test_the_graph_takes_and_gives_the_names_of_the_model(exported):
    model = bundle.load_model(exported)
    session = onnxruntime.InferenceSession(exported / bundle.FP32)
    assert [(one.name, one.shape[1:]) for one in session.get_inputs()] == [("log_mel", [31, 128])]
    assert [(one.name, one.shape[1:]) for one in session.get_outputs()] == [("embedding", [16])]
    assert model.outputs == {"embedding": [16]}


def test_parameters_and_operations_are_counted(exported):
    model = bundle.load_model(exported)
    convolutions = 16 * 64 * 8 * (25 + 2 * 8 * 9)  # on a map of 16 x 64: 5 x 5 over 1 channel, twice 3 x 3 over 8
    assert model.macs == convolutions + 2 * 8 * 4 + 512 * 16
    assert model.parameters == (8 * 25 + 8) + 2 * (8 * 72 + 8) + 4 * 8 + (8 * 4 + 4) + (4 * 8 + 8) + 512 * 16


def test_a_graph_of_other_weights_is_refused_and_leaves_nothing(network, clips, tmp_path):
    def write_other(network, model, file):
        to_onnx.write_graph(network, model, file)
        graph = onnx.load(file)
        weights = max(graph.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
        array = numpy_helper.to_array(weights).copy()
        array[0] += 0.01 * np.abs(array).max()
        weights.CopyFrom(numpy_helper.from_array(array, weights.name))
        onnx.save(graph, file)

    found = to_onnx.export(network, MODEL, clips, tmp_path / "model", write_other)
    assert not found.equal and found.differences["embedding"] > to_onnx.TOLERANCE
    assert list(tmp_path.iterdir()) == []


def test_both_the_outputs_and_the_decisions_must_be_equal():
    same = to_onnx.Equality(10, {"embedding": 0.9e-4, "score": 0.9e-4}, decisions=10, changed=[], ties=1)
    assert same.equal
    assert not msgspec.structs.replace(same, differences={"embedding": 1.1e-4, "score": 0.0}).equal
    assert not msgspec.structs.replace(same, changed=["00.wav"]).equal


def test_embeddings_are_compared_at_unit_length_and_scores_and_logits_relatively():
    ours, theirs = np.array([[3.0, 4.0], [0.6, 0.8]]), np.array([[3.0, 4.0], [0.6, 0.8 + 1e-3]])
    assert to_onnx.difference("logits", ours, theirs) == pytest.approx(1e-3 / 4.0)
    assert to_onnx.difference("embedding", ours, 2 * ours) == pytest.approx(0.0, abs=1e-12)
    # along the unit vector's normal
    assert to_onnx.difference("embedding", ours, theirs) == pytest.approx(0.48e-3, rel=1e-2)
    assert to_onnx.difference("score", np.array([100.0, 1.0]), np.array([100.0, 1.5])) == pytest.approx(5e-3)


def test_an_error_while_writing_leaves_nothing(network, clips, tmp_path):
    def fail(network, model, file):
        file.write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError):
        to_onnx.export(network, MODEL, clips, tmp_path / "model", fail)
    assert list(tmp_path.iterdir()) == []


def heard(clips: list[Clip], scores: np.ndarray) -> Collected:
    chosen = training(clips)[: len(scores)]
    mel, fit = np.zeros((len(scores), 128), np.float32), np.ones(len(scores), bool)
    return Collected(chosen, np.arange(len(scores)), {"score": scores}, mel, fit)


def test_only_a_window_on_the_threshold_may_be_decided_otherwise(clips):
    model = msgspec.structs.replace(MODEL, scoring=Network())
    scores = np.arange(1.0, 11.0)  # with 10 clips the threshold is the highest score
    on_it, past_it, below = np.zeros(10), np.zeros(10), np.zeros(10)
    on_it[9], past_it[8], below[9] = 1e-6, 1.5, -0.5
    assert to_onnx.decisions(heard(clips, scores), heard(clips, scores + on_it), model) == (10, [], 1)
    assert to_onnx.decisions(heard(clips, scores), heard(clips, scores + below), model) == (10, [], 1)
    decided, changed, ties = to_onnx.decisions(heard(clips, scores), heard(clips, scores + past_it), model)
    assert (decided, changed, ties) == (10, [training(clips)[8].name], 1)


def test_without_two_training_clips_of_a_machine_nothing_is_exported(network, clips, tmp_path):
    with pytest.raises(DataError, match="two normal training clips"):
        to_onnx.export(network, MODEL, [clip for clip in clips if clip.split == "test"], tmp_path / "model")


def test_a_run_becomes_a_model_folder(clips, tmp_path, capsys):
    from train.run import main as train

    data_set, run, out = (str(path) for path in (clips[0].path.parents[3], tmp_path / "run", tmp_path / "model"))
    small = ["--set", "window_frames=31", "--set", "training.epochs=1", "--set", "training.workers=0"]
    words = [str(ROOT / "train/configs/autoencoder.yaml"), "--machine-type", "fan", "--data", data_set, "--out", run]
    assert run_command(train, [*words, *small]) == 0
    assert run_command(to_onnx.main, [run, "--data", data_set, "--out", out]) == 0
    said = capsys.readouterr()
    assert "parameters 267,928" in said.out and "GFLOPs" in said.out
    assert "0 clips decided otherwise" in said.err
    assert set(bundle.load_model(tmp_path / "model").outputs) == {"score", "embedding"}


def test_the_export_command_refuses_in_one_line(exported, clips, tmp_path, capsys):
    error_of(tmp_path, "--simulated", "--out", exported)
    error_of(tmp_path / "nothing", "--simulated", "--out", tmp_path / "model")
    error_of(tmp_path / "nothing", "--out", tmp_path / "model")
    assert capsys.readouterr().err.count("\n") == 3


def error_of(*words: object) -> None:
    """The command ends with exit code 2."""
    assert run_command(to_onnx.main, [str(word) for word in words]) == 2
