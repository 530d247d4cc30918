"""INT8 in two forms and half precision: each as its runtime wants it, and the ranks of FP32. About 15 s."""

import shutil
import subprocess
import sys
import time
import weakref

import msgspec
import numpy as np
import onnx
import pytest
from scipy.stats import spearmanr

from calib.clips import index
from calib.collect import collect
from calib.machines import fit_machines, score_clips
from edge_runtime import bundle, config, features
from edge_runtime.backends import Several, open_backend
from edge_runtime.bundle import Model
from edge_runtime.cli import run_command
from edge_runtime.errors import DataError
from edge_runtime.scoring import Fusion, Nearest, Probability
from export import drift, qdq, quantize, ranges
from export.forms import Wanted
from export.gate import Limits
from export.lint import faults
from export.quantization import Quantization
from tests.conftest import ROOT, write_wav
from tests.export.conftest import MACHINES, MODEL, machine_sound


@pytest.mark.parametrize("form", ["cpu", "trt"])
def test_a_quantized_file_has_its_form_and_the_same_inputs_and_outputs(all_int8, form):
    file = all_int8 / quantize.FILES[form]
    assert faults(file, form) == []
    graph, fp32 = onnx.load(file).graph, onnx.load(all_int8 / bundle.FP32).graph
    assert [value.name for value in graph.input] == [value.name for value in fp32.input]
    assert [value.name for value in graph.output] == [value.name for value in fp32.output]
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("DequantizeLinear") >= 4 + 4  # three convolutions and the head: weights and inputs


def test_operations_of_the_graph_are_those_of_the_network(exported):
    model = bundle.load_model(exported)
    assert sum(qdq.multiply_accumulates(qdq.load(exported / bundle.FP32)).values()) == model.macs


def test_gates_stay_in_float(all_int8):
    graph = qdq.Graph(onnx.load(all_int8 / bundle.CPU).graph)
    gated = [node for node in graph.nodes if node.name in graph.gates() and node.op_type in qdq.WEIGHTED]
    assert len(gated) == 2
    assert all(node.input[1] in graph.constants for node in gated)


@pytest.mark.parametrize("form", ["cpu", "trt", "fp16"])
def test_every_form_ranks_test_clips_as_fp32_does(quantized, clips, form):
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
    made = quantize.quantize(folder, clips, Wanted(noise=0.0, share=1.0), count=20).forms["cpu"]
    assert made.share == pytest.approx(1.0)  # none is without any noise
    assert made.figures.noise < 1e-9
    assert {left.why for left in made.in_float} == {"noise", "gate of squeeze-and-excitation"}


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

    ranges.calibrate(exported / bundle.FP32, windows())
    assert most <= ranges.CHUNK + 1


def test_calibration_clips_come_from_every_machine_and_none_is_held_back_twice(clips):
    chosen, held = quantize.split(clips, 6)
    assert {clip.machine for clip in chosen} == set(MACHINES) and len(chosen) == 6
    assert not set(chosen) & set(held)
    assert all(clip.split == "train" for clip in chosen + held)


def test_quantizing_writes_all_files_or_none(exported, clips, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    config.save_json(folder / bundle.MODEL, msgspec.structs.replace(MODEL, window=features.WINDOW, outputs={}))
    with pytest.raises(DataError, match="shorter than the window"):
        quantize.quantize(folder, clips)
    assert sorted(file.name for file in folder.iterdir()) == ["model.json", "model.onnx"]


def test_the_quantize_command_refuses_in_one_line(
    quantized, fitted_once, model_folder, exported, clips, tmp_path, capsys
):
    fitted = shutil.copytree(fitted_once, tmp_path / "fitted")
    error_of(quantized, "--simulated")  # quantized already
    for name in (bundle.CPU, bundle.TRT, bundle.FP16, bundle.QUANTIZATION):
        (fitted / name).unlink()
    error_of(fitted, "--simulated")  # machines of the FP32 network
    error_of(model_folder, "--simulated")  # no network
    error_of(tmp_path / "nothing", "--simulated")
    error_of(quantized, "--simulated", "--percentile", 40)
    error_of(exported, "--simulated", "--noise", "inf")  # which JSON cannot say
    error_of(
        exported, "--data", clips[0].path.parents[3], "--choose-on", clips[0].path.parents[3]
    )  # what is reported on
    assert capsys.readouterr().err.count("\n") == 7


def test_what_was_found_is_written_beside_the_forms_and_goes_into_the_bundle(quantized, clips):
    found = config.load_json(quantized / bundle.QUANTIZATION, Quantization)
    assert bundle.QUANTIZATION in bundle.payload(quantized) and bundle.FP16 in bundle.payload(quantized)
    assert found.network == bundle.sha256(quantized / bundle.FP32) and found.failures == []
    assert (found.calibration_clips.clips, found.held_back_clips.clips, found.labelled_clips) == (20, 8, None)
    assert set(found.forms) == {"cpu", "trt", "fp16"}
    assert found.forms["cpu"].figures.spearman == {"fan": None, "pump": None}  # four clips of a machine say nothing


@pytest.mark.parametrize("form", ["cpu", "trt"])
def test_the_calibration_that_blurs_held_back_clips_least_is_taken(quantized, form):
    found = config.load_json(quantized / bundle.QUANTIZATION, Quantization).forms[form]
    assert set(found.tried) == set(ranges.METHODS)
    assert found.calibration == min(found.tried, key=found.tried.__getitem__)


def test_a_lone_peak_stretches_the_range_of_minmax_alone(exported):
    """One cell of one window is a thousand times as loud as the rest."""

    def windows():
        for seed in range(8):
            array = np.random.default_rng(seed).normal(0, 1, (1, 31, 128)).astype(np.float32)
            array[0, 0, 0] = 1000.0 if seed == 5 else 0.0
            yield {"log_mel": array}

    found = ranges.calibrate(exported / bundle.FP32, windows(), percentile=99.9)
    nodes = onnx.load(exported / bundle.FP32).graph.node
    scaled = next(node.input[0] for node in nodes if node.op_type == "Conv")  # (log_mel + 60) / 20
    most = {method: float(found[method][scaled].range_value[1]) for method in ranges.METHODS}
    assert most["minmax"] == pytest.approx((1000 + 60) / 20, rel=1e-5)
    assert most["entropy"] < 10.0 and most["percentile"] < 10.0


def test_a_form_that_fails_in_float_too_is_not_written(exported, clips, labelled, tmp_path, capsys):
    """No area under a curve grows by a half."""
    folder = shutil.copytree(exported, tmp_path / "model")
    data = clips[0].path.parents[3]
    words = [folder, "--data", data, "--choose-on", labelled, "--max-auc-drop", -0.5, "--noise", 1e9]
    assert run_command(quantize.main, [str(word) for word in words]) == 1
    assert "fan: AUC falls by" in capsys.readouterr().out
    assert sorted(file.name for file in folder.iterdir()) == ["model.json", "model.onnx"]


def test_labelled_clips_are_judged_and_named_so_that_nothing_is_reported_on_them(exported, clips, labelled, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "model")
    found = quantize.quantize(folder, clips, Wanted(limits=Limits(max_auc_drop=1.0)), labelled=index(labelled))
    tested = [clip for clip in index(labelled) if clip.split == "test"]
    assert found.labelled_clips and set(found.labelled_clips.files) == {bundle.sha256(clip.path) for clip in tested}
    assert set(found.forms["trt"].figures.auc_drop) == set(MACHINES)
    assert all(value is not None for value in found.forms["trt"].figures.spearman.values())


@pytest.fixture(scope="module")
def labelled(clips, tmp_path_factory):
    """Another data set of the same machines."""
    root = tmp_path_factory.mktemp("labelled")
    for number, (name, pitch) in enumerate(MACHINES.items()):
        for i in range(16):
            kind = "train/normal" if i < 4 else "test/anomaly" if i % 2 else "test/normal"
            sound = machine_sound(pitch, 5000 + 100 * number + i, "anomaly" in kind)
            write_wav(root / name / kind / f"{i:02d}.wav", sound)
    return root


def error_of(*words: object) -> None:
    """The command ends with exit code 2."""
    assert run_command(quantize.main, [str(word) for word in words]) == 2


def test_a_quantization_that_is_terminated_leaves_nothing_behind(exported, clips, tmp_path):
    folder, root = shutil.copytree(exported, tmp_path / "model"), clips[0].path.parents[3]
    before = sorted(folder.iterdir())
    process = subprocess.Popen([sys.executable, ROOT / "export/quantize.py", folder, "--data", root])
    while process.poll() is None and not any(folder.glob(".quantize-*")):
        time.sleep(0.01)
    process.terminate()
    assert process.wait(timeout=60) == 143 and sorted(folder.iterdir()) == before
