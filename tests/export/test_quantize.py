"""INT8 in two forms: each as its runtime wants it, and the ranks of FP32. About 10 s."""

import shutil
import weakref
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from scipy.stats import spearmanr

from calib.collect import collect
from calib.machines import fit_machines, score_clips
from edge_runtime import bundle, config, features
from edge_runtime.backends import Several, open_backend
from edge_runtime.bundle import Model
from edge_runtime.cli import run_command
from edge_runtime.errors import DataError
from edge_runtime.scoring import Fusion, Nearest, Probability
from export import drift, qdq, quantize
from export.lint import faults
from tests.export.conftest import MACHINES, MODEL


@pytest.mark.parametrize("form", ["cpu", "trt"])
def test_a_quantized_file_has_its_form_and_the_same_inputs_and_outputs(all_int8, form):
    file = all_int8 / quantize.FILES[form]
    assert faults(file, form) == []
    graph, fp32 = onnx.load(file).graph, onnx.load(all_int8 / bundle.FP32).graph
    assert [value.name for value in graph.input] == [value.name for value in fp32.input]
    assert [value.name for value in graph.output] == [value.name for value in fp32.output]
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("DequantizeLinear") >= 4 + 4  # three convolutions and the head: weights and inputs


def test_the_cpu_form_is_not_fit_for_tensorrt(all_int8):
    assert any("INT32" in fault or "int32" in fault for fault in faults(all_int8 / bundle.CPU, "trt"))


def changed(file: Path, out: Path, change) -> Path:
    model = onnx.load(file)
    change(model.graph)
    onnx.save(model, out)
    return out


def test_the_check_of_a_form_sees_what_is_wrong(all_int8, tmp_path):
    def zero_point(graph):
        names = {node.input[2] for node in graph.node if node.op_type == "QuantizeLinear"}
        tensor = next(tensor for tensor in graph.initializer if tensor.name in names)
        tensor.CopyFrom(numpy_helper.from_array(np.array(3, np.int8), tensor.name))

    def axis(graph):
        producers = {node.output[0]: node for node in graph.node}
        node = producers[next(node for node in graph.node if node.op_type == "Conv").input[1]]
        next(attribute for attribute in node.attribute if attribute.name == "axis").i = 1

    def half_an_addition(graph):
        producers = {node.output[0]: node for node in graph.node}
        addition = next(node for node in graph.node if node.op_type == "Add" and set(node.input) <= set(producers))
        addition.input[0] = producers[producers[addition.input[0]].input[0]].input[0]

    wrong = {zero_point: "zero-point 3", axis: "along axis 1", half_an_addition: "only"}
    for change, words in wrong.items():
        found = faults(changed(all_int8 / bundle.TRT, tmp_path / "wrong.onnx", change), "trt")
        assert any(words in fault for fault in found), (change.__name__, found)


def test_operations_of_the_graph_are_those_of_the_network(exported):
    model = bundle.load_model(exported)
    assert sum(qdq.multiply_accumulates(qdq.load(exported / bundle.FP32)).values()) == model.macs


def test_gates_stay_in_float(all_int8):
    graph = qdq.Graph(onnx.load(all_int8 / bundle.CPU).graph)
    gated = [node for node in graph.nodes if node.name in graph.gates() and node.op_type in qdq.WEIGHTED]
    assert len(gated) == 2
    assert all(node.input[1] in graph.constants for node in gated)


@pytest.mark.parametrize("form", ["cpu", "trt"])
def test_int8_ranks_test_clips_as_fp32_does(quantized, clips, form):
    files = {"fp32": quantized / bundle.FP32, form: quantized / quantize.FILES[form]}
    model = bundle.load_model(quantized)
    several = Several({who: open_backend(file, model) for who, file in files.items()})
    every = collect(clips, model, several)
    ranks = {}
    for who in files:
        own = every.part(who)
        machines = fit_machines(own.select([clip.split == "train" for clip in clips]), model.scoring)
        test = own.select([clip.split == "test" for clip in clips])
        ranks[who] = {name: score_clips(test.machine(name), machines[name]) for name in MACHINES}
    for name in MACHINES:
        assert spearmanr(ranks["fp32"][name], ranks[form][name]).statistic > 0.98


def test_what_blurs_most_stays_in_float(exported, clips, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    made = quantize.quantize(folder, clips, count=20, limit=0.0, share=1.0)
    assert made.in_float["cpu"].share == pytest.approx(1.0)  # none is without any noise
    assert made.forms["cpu"].noise < 1e-9
    assert made.forms["cpu"].spearman == made.forms["fp32"].spearman == pytest.approx(1.0)


def test_of_a_fusion_every_back_end_of_the_network_is_listened_to_and_the_worst_counts():
    """A probability's rows are log probabilities of each segment; what is pooled beside the network does not move."""
    parts = [Nearest(metric="euclidean"), Probability(), Nearest(of="mel", metric="euclidean")]
    model = Model("m", "s", {}, {"embedding": [2], "logits": [2, 3]}, scoring=Fusion(parts=parts))
    rng = np.random.default_rng(0)
    outputs = {"embedding": rng.standard_normal((9, 2)), "logits": rng.standard_normal((9, 2, 3))}
    embedding, logits = drift.points(outputs, model)
    assert np.array_equal(embedding, outputs["embedding"]) and logits.shape == (9, 6)
    np.testing.assert_allclose(np.exp(logits).reshape(9, 2, 3).sum(axis=2), 1.0)
    moved = [embedding, logits + 0.1 * rng.standard_normal(logits.shape)]
    machines = ["m"] * 9
    assert drift.worst_noise([embedding, logits], moved, machines) == drift.noise(logits, moved[1], machines) > 1e-3


def test_noise_is_what_moves_apart_against_the_spread_within_machines():
    random = np.random.default_rng(0)
    machines = ["fan"] * 500 + ["pump"] * 500
    embeddings = random.normal(size=(1000, 8)) + 50.0 * (np.arange(1000) >= 500)[:, None]
    moved = embeddings + 0.1 * random.normal(size=(1000, 8))
    # a ratio of variances, each of 8000 normal numbers: 2 % is one standard deviation
    assert drift.noise(embeddings, moved + 3.0, machines) == pytest.approx(0.01, rel=0.06)
    assert drift.noise(embeddings, embeddings + 3.0, machines) == pytest.approx(0.0, abs=1e-12)


def test_calibration_holds_a_few_windows_at_a_time(exported):
    alive: list[weakref.ref] = []
    most = 0

    def windows():
        nonlocal most
        for seed in range(20):
            array = np.random.default_rng(seed).normal(-50, 10, (1, 31, 128)).astype(np.float32)
            alive.append(weakref.ref(array))
            most = max(most, sum(one() is not None for one in alive))
            yield {"log_mel": array}
            del array

    qdq.calibrate(exported / bundle.FP32, windows(), 99.999)
    assert most <= qdq.CHUNK + 1


def test_calibration_clips_come_from_every_machine_and_none_is_held_back_twice(clips):
    chosen, held = quantize.split(clips, 6)
    assert {clip.machine for clip in chosen} == set(MACHINES) and len(chosen) == 6
    assert not set(chosen) & set(held)
    assert all(clip.split == "train" for clip in chosen + held)


def test_quantizing_writes_both_files_or_none(exported, clips, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    config.save_json(folder / bundle.MODEL, msgspec.structs.replace(MODEL, window=features.WINDOW, outputs={}))
    with pytest.raises(DataError, match="shorter than the window"):
        quantize.quantize(folder, clips)
    assert sorted(file.name for file in folder.iterdir()) == ["model.json", "model.onnx"]


def test_the_quantize_command_refuses_in_one_line(quantized, fitted_once, model_folder, tmp_path, capsys):
    fitted = shutil.copytree(fitted_once, tmp_path / "fitted")
    error_of(quantized, "--simulated")  # quantized already
    (fitted / bundle.CPU).unlink()
    (fitted / bundle.TRT).unlink()
    error_of(fitted, "--simulated")  # machines of the FP32 network
    error_of(model_folder, "--simulated")  # no network
    error_of(tmp_path / "nothing", "--simulated")
    error_of(quantized, "--simulated", "--percentile", 40)
    assert capsys.readouterr().err.count("\n") == 5


def error_of(*words: object) -> None:
    """The command ends with exit code 2."""
    assert run_command(quantize.main, [str(word) for word in words]) == 2
