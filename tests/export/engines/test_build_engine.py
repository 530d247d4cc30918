"""build_engine.py as it is typed: what is refused and why, what is kept, that nothing else is left."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_runtime import bundle as bundles
from edge_runtime.engine import environment, sidecar
from edge_runtime.engine.environment import Here
from tests.edge_runtime.networks import TIME_MEAN
from tests.export.engines.conftest import left

with_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="pip install '.[tensorrt-rtx]': x86-64 alone has it"
)
AHEAD = ("--provider", "tensorrt-rtx", "--compute-capability", "8.6")


def quantized_conv(zero=0, bias=False):
    """A convolution in Q/DQ as export/quantize.py writes it, but for a zero-point or a bias in INT32."""
    constants = {
        "scale": np.array(0.1, np.float32), "zero": np.array(zero, np.int8), "weights": np.ones((4, 1, 3, 3), np.int8),
        "scales": np.full(4, 0.1, np.float32), "zeros": np.zeros(4, np.int8),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["xq"], name="quantize_x"),
        helper.make_node("DequantizeLinear", ["xq", "scale", "zero"], ["xd"], name="dequantize_x"),
        helper.make_node("DequantizeLinear", ["weights", "scales", "zeros"], ["wd"], name="dequantize_w", axis=0),
    ]
    if bias:
        constants |= {"bias": np.ones(4, np.int32), "bias_zeros": np.zeros(4, np.int32)}
        nodes.append(
            helper.make_node("DequantizeLinear", ["bias", "scales", "bias_zeros"], ["bd"], name="dequantize_b", axis=0)
        )
    nodes.append(helper.make_node("Conv", ["xd", "wd", *(["bd"] if bias else [])], ["y"], name="conv"))
    return model(nodes, ["n", 1, 16, 16], ["n", 4, 14, 14], constants)


def spectrum():
    return model([helper.make_node("DFT", ["x"], ["y"], name="spectrum", axis=1)], ["n", 64, 1], ["n", 64, 2])


def large():
    """Two convolutions that need room between them."""
    weights = np.ones((32, 1, 5, 5), np.float32), np.ones((32, 32, 5, 5), np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["between"], name="conv1"),
        helper.make_node("Conv", ["between", "second"], ["y"], name="conv2"),
    ]
    return model(nodes, ["n", 1, 64, 64], ["n", 32, 56, 56], dict(zip(("first", "second"), weights, strict=True)))


def model(nodes, shape_in, shape_out, constants=None):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape_in)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape_out)],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


# What the command says where onnx is installed, and what TensorRT-RTX says where it is not, as on a board.
REFUSED = {
    "zero-point": (quantized_conv(zero=3), r"quantize_x: .*zero-point", r"QuantizeLinear quantize_x: .*zero point"),
    "bias": (quantized_conv(bias=True), r"(dequantize_b|conv): .*(int32|bias)", r"DequantizeLinear dequantize_b"),
    "DFT": (spectrum(), r"(DFT spectrum|spectrum: a DFT node)", r"DFT spectrum"),
}


@pytest.fixture(params=list(REFUSED))
def refused(request, tmp_path):
    made, linted, parsed = REFUSED[request.param]
    onnx.save(made, tmp_path / "bad.onnx")
    return tmp_path / "bad.onnx", linted, parsed


@with_rtx
def test_what_tensorrt_cannot_read_is_refused_by_name(refused, out, type_in):
    file, linted, _ = refused
    code, told, err = type_in("--onnx", file, "-e", out, *AHEAD)
    assert (code, told, left(out)) == (2, "", [])
    assert onnx_error(err, linted), err


@with_rtx
def test_a_board_without_onnx_refuses_it_by_name_too(refused, out, type_in, monkeypatch):
    file, _, parsed = refused
    monkeypatch.setitem(sys.modules, "onnx", None)
    code, told, err = type_in("--onnx", file, "-e", out, *AHEAD)
    assert (code, told, left(out)) == (2, "", [])
    assert "onnx is not installed: the file is not looked through" in err
    assert onnx_error(err, parsed), err


def onnx_error(err, words):
    """One line of error that names the file, the node and what is wrong."""
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    return re.search(r"bad\.onnx: .*" + words, line)


@with_rtx
def test_a_truncated_file_is_refused(tmp_path, out, type_in):
    (tmp_path / "cut.onnx").write_bytes(TIME_MEAN[:100])
    code, told, err = type_in("--onnx", tmp_path / "cut.onnx", "-e", out, *AHEAD)
    assert (code, told, left(out)) == (2, "", [])
    assert "cut.onnx: not a whole and valid ONNX file" in err


@with_rtx
def test_a_workspace_that_is_too_small_is_told_as_such(tmp_path, out, type_in):
    onnx.save(large(), tmp_path / "large.onnx")
    code, _, err = type_in("--onnx", tmp_path / "large.onnx", "-e", out, *AHEAD, "--workspace", 1, "--batch", 8)
    assert (code, left(out)) == (2, [])
    assert "large.onnx: a workspace of 1 MiB is too small" in err and "give --workspace more" in err
    assert type_in("--onnx", tmp_path / "large.onnx", "-e", out, *AHEAD, "--workspace", 64, "--batch", 8)[0] == 0


@with_rtx
def test_an_engine_goes_to_the_cache_and_says_what_it_is(folder, type_in, monkeypatch, tmp_path):
    monkeypatch.setenv("AUSCULT_CACHE", str(tmp_path / "cache"))
    code, told, _ = type_in(folder, *AHEAD, "-p", "fp32", "--batch", 2, "--json")
    (found,) = json.loads(told)
    assert code == 0
    assert Path(found["engine"]).is_relative_to(tmp_path / "cache" / "engines")
    assert found["made"]["replayed"] == "not replayed: no GPU here that it is built for"
    assert sidecar.read(Path(found["engine"])).batch == 2
    assert bundles.open_bundle(folder).machines  # nothing was written into it
    code, told, _ = type_in(folder, *AHEAD, "-p", "fp32")
    assert code == 0 and "layers: not read: no GPU here" in told


@with_rtx
def test_without_a_gpu_and_without_names_of_gpus_it_asks_for_them(folder, out, type_in):
    code, told, err = type_in(folder, "-e", out, "--provider", "tensorrt-rtx")
    assert (code, told, left(out)) == (2, "", [])
    assert "no GPU here" in err and "such as --compute-capability 8.6 8.9" in err
    assert "python -m edge_runtime run BUNDLE" in err


def test_without_any_tensorrt_it_says_what_to_install_and_what_works(folder, out, type_in, monkeypatch):
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    code, told, err = type_in(folder, "-e", out)
    assert (code, told, left(out)) == (2, "", [])
    assert "no TensorRT here" in err and "pip install" in err and "python -m edge_runtime run BUNDLE" in err


def test_tensorrt_without_a_gpu_says_that_it_needs_one(folder, out, type_in, monkeypatch):
    monkeypatch.setattr(environment, "look", lambda: Here(["tensorrt"], None, "CUDA: no NVIDIA driver here", False))
    code, _, err = type_in(folder, "-e", out, "--provider", "tensorrt")
    assert (code, left(out)) == (2, [])
    assert "tensorrt builds on the GPU it builds for, and there is none" in err and "no NVIDIA driver" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "give either BUNDLE or --onnx FILE"),
        (["BUNDLE", "--onnx", "model.onnx"], "give either BUNDLE or --onnx FILE"),
        (["--onnx", "none.onnx"], "--onnx none.onnx: no such file"),
        (["BUNDLE", "--batch", "0"], "--batch 0: wanted 1 or more"),
        (["BUNDLE", "--workspace", "0"], "--workspace 0: wanted 1 or more"),
        (["BUNDLE", "--time-limit", "-1"], "--time-limit -1.0: wanted 1 or more"),
        (["BUNDLE", "--compute-capability", "86"], "--compute-capability 86: wanted numbers such as 8.6"),
        (["BUNDLE", "-e", "INSIDE"], "a bundle never changes once packed; give a path outside of it"),
        (["BUNDLE", "-p", "fp16"], "--precision fp16: no model.fp16.onnx in"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(folder, type_in, words, told):
    code, _, err = type_in(*[{"BUNDLE": folder, "INSIDE": folder / "a.engine"}.get(word, word) for word in words])
    assert code == 2
    assert told in err and err.count("\n") == 1


def test_an_engine_replaces_nothing_but_an_engine(tmp_path, type_in):
    onnx.save(quantized_conv(), tmp_path / "a.onnx")
    before = (tmp_path / "a.onnx").read_bytes()
    for place in (tmp_path / "a.onnx", tmp_path):
        code, _, err = type_in("--onnx", tmp_path / "a.onnx", "--compute-capability", "8.6", "-e", place)
        assert code == 2 and f"--engine {place}: exists and is no engine of this command" in err
    assert (tmp_path / "a.onnx").read_bytes() == before


def test_a_precision_that_the_file_does_not_have_is_refused(tmp_path, type_in):
    onnx.save(quantized_conv(), tmp_path / "a.onnx")
    code, _, err = type_in("--onnx", tmp_path / "a.onnx", "-p", "fp16")
    assert code == 2 and "a.onnx is int8; precision is in the ONNX file" in err


def test_a_bundle_without_a_network_has_nothing_to_build(packed, type_in):
    code, _, err = type_in(packed)
    assert code == 2 and "a detector without a network: there is nothing to build" in err
