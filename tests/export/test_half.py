"""Half precision: strongly typed, finite, and no more of it in float than must be. About 3 s."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from edge_runtime import bundle
from edge_runtime.backends import open_backend
from export import half, qdq, rounded

LOUD = """g (float[b,4] x) => (float[b,4] y) <float[4,4] w, float[4,4] v, float h = {0.001}> {
    a = MatMul(x, w)  c = Mul(a, a)  d = Mul(c, h)  y = MatMul(d, v) }"""


def network(text: str, out, **weights):
    """A file of a graph in ONNX's own notation; its nodes are called by what they write."""
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 20]> {text}')
    for node in model.graph.node:
        node.name = node.output[0]
    for tensor in [one for one in model.graph.initializer if one.name in weights]:
        tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name].astype(np.float32), tensor.name))
    for name in set(weights) - {one.name for one in model.graph.initializer}:
        model.graph.initializer.append(numpy_helper.from_array(weights[name].astype(np.float32), name))
    onnx.save(model, out)
    return qdq.load(out)


def test_what_overflows_stays_in_float_and_the_result_is_finite(tmp_path):
    """Squares of 1000 are beyond half precision; their thousandth is not."""
    weights = {"w": 500.0 * np.eye(4), "v": np.eye(4)}
    model = network(LOUD, tmp_path / "loud.onnx", **weights)
    window = {"x": np.full((1, 4), 2.0, np.float32)}
    kept = half.kept(model, [window])
    assert kept == {"c": "values up to 1.0e+06", "d": "values up to 1.0e+06"}
    half.write(model, kept, tmp_path / "half.onnx")
    described = bundle.Model("m", "s", {}, {})
    rounded.write(tmp_path / "half.onnx", tmp_path / "half.onnx")
    (found,) = open_backend(tmp_path / "half.onnx", described).run(window).values()
    np.testing.assert_allclose(found, 1000.0, rtol=1e-3)
    half.write(model, [], tmp_path / "all.onnx")
    rounded.write(tmp_path / "all.onnx", tmp_path / "all.onnx")
    (broken,) = open_backend(tmp_path / "all.onnx", described).run(window).values()
    assert not np.isfinite(broken).any()


def test_inputs_and_outputs_stay_float_and_weights_do_not(all_int8):
    graph = onnx.load(all_int8 / bundle.FP16).graph
    assert all(v.type.tensor_type.elem_type == TensorProto.FLOAT for v in (*graph.input, *graph.output))
    read = {node.input[1] for node in graph.node if node.op_type in qdq.WEIGHTED}
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert {kinds[name] for name in read} == {TensorProto.FLOAT16}


def test_decibels_are_scaled_in_float(all_int8, exported):
    """Half precision tells -100 dB from -99.94 dB and nothing between."""
    graph = qdq.Graph(onnx.load(all_int8 / bundle.FP16).graph)
    waiting, passed = ["log_mel"], []
    while waiting:
        for node in graph.readers[waiting.pop()]:
            passed.append(node.op_type)
            waiting += [] if node.op_type == "Cast" else node.output
    assert {"Add", "Div"} <= set(passed) and "Conv" not in passed


def test_the_simulation_computes_what_numpy_computes_in_half_precision(tmp_path):
    model = network(LOUD, tmp_path / "loud.onnx", w=np.random.default_rng(1).normal(size=(4, 4)), v=np.eye(4))
    half.write(model, [], tmp_path / "half.onnx")
    rounded.write(tmp_path / "half.onnx", tmp_path / "half.onnx")
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    (found,) = open_backend(tmp_path / "half.onnx", bundle.Model("m", "s", {}, {})).run({"x": x}).values()

    def as_half(array):
        return array.astype(np.float16).astype(np.float32)

    w = as_half(numpy_helper.to_array(next(one for one in model.graph.initializer if one.name == "w")))
    a = as_half(as_half(x) @ w)
    assert np.array_equal(found, as_half(as_half(a * a) * as_half(np.float32(0.001))))


def test_half_precision_gives_what_fp32_gives(all_int8, exported, tmp_path):
    model = bundle.load_model(exported)
    rounded.write(all_int8 / bundle.FP16, tmp_path / bundle.FP16)
    window = {"log_mel": np.random.default_rng(0).normal(-50, 10, (3, 31, 128)).astype(np.float32)}
    ours, theirs = (
        open_backend(all_int8 / name, model).run(window)["embedding"] for name in (bundle.FP32, bundle.FP16)
    )
    assert 0.0 < np.abs(ours - theirs).max() < 5e-3 * np.abs(ours).max()  # eleven bits, some layers deep


@pytest.mark.parametrize("kept", [0.0, 0.5, 1.0])
def test_any_nodes_may_stay_in_float(exported, tmp_path, kept):
    model = qdq.load(exported / bundle.FP32)
    names = [node.name for node in model.graph.node]
    left = np.random.default_rng(0).permutation(names)[: round(kept * len(names))]
    half.write(model, set(left), tmp_path / "half.onnx")
    onnx.checker.check_model(str(tmp_path / "half.onnx"), full_check=True)
    kinds = {tensor.data_type for tensor in onnx.load(tmp_path / "half.onnx").graph.initializer}
    assert (TensorProto.FLOAT16 in kinds) == (kept < 1.0)
