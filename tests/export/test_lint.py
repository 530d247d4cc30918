"""Every rule of a form has a file that breaks it, and the fault names the cause. About 5 s."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_runtime import bundle
from edge_runtime.cli import run_command
from export import lint
from export.lint import faults


def test_the_cpu_form_is_not_fit_for_tensorrt(all_int8):
    assert any("INT32" in fault or "int32" in fault for fault in faults(all_int8 / bundle.CPU, "trt"))


def changed(file, out, change):
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

    wrong = {zero_point: "non-zero zero-point 3", axis: "along axis 1", half_an_addition: "only"}
    for change, words in wrong.items():
        found = faults(changed(all_int8 / bundle.TRT, tmp_path / "wrong.onnx", change), "trt")
        assert any(words in fault for fault in found), (change.__name__, found)


def parsed(text: str, out, opset: int = 20):
    """A file of a graph in ONNX's own notation."""
    onnx.save(onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : {opset}]> {text}'), out)
    return out


QDQ = """g (float[1,2,8] x) => (float[1,2,8] y)
    <float s = {0.1}, int8 z = {0}, int8[2,2,1] w = {1, 2, 3, 4}, float[2] t = {0.1, 0.1}, int8[2] zs = {0, 0}> {
    a = QuantizeLinear(x, s, z)  b = DequantizeLinear(a, s, z)  v = DequantizeLinear<axis = 0>(w, t, zs)
    c = Conv(b, v)  d = QuantizeLinear(c, s, z)  e = DequantizeLinear(d, s, z)  y = Relu(e) }"""
BIAS = """g (float[1,2] x) => (float[1,2] y) <float s = {0.1}, int32[2] q = {1, 2}> {
    b = DequantizeLinear(q, s)  y = Add(x, b) }"""
INT8_BIAS = """g (float[1,2,8] x) => (float[1,2,8] y)
    <float s = {0.1}, int8 z = {0}, int8[2,2,1] w = {1, 2, 3, 4}, float[2] t = {0.1, 0.1}, int8[2] b = {1, 2}> {
    a = QuantizeLinear(x, s, z)  c = DequantizeLinear(a, s, z)  v = DequantizeLinear<axis = 0>(w, t)
    d = DequantizeLinear(b, s)  y = Conv(c, v, d) }"""
UINT8 = "g (float[1,8] x) => (float[1,8] y) <float s = {0.1}> { a = QuantizeLinear(x, s)  y = DequantizeLinear(a, s) }"
DFT = """g (float[1,8,1] x) => (float[1,8,2] y) <int64 a = {1}, int64 n = {8}> { y = DFT(x, n, a) }"""
STRANGE = "g (float[1,8] x) => (float[1,8] y) { y = Identity(x) }"


@pytest.mark.parametrize(
    ("text", "opset", "words"),
    [
        (QDQ, 20, "and its activation"),
        (BIAS, 20, "INT32 bias with DequantizeLinear"),
        (INT8_BIAS, 20, "its bias is quantized; biases stay in float"),
        (UINT8, 20, "no zero-point, which makes it uint8"),
        (DFT, 20, "a DFT node: TensorRT's parser has none"),
        (STRANGE, 21, "opset 21, wanted 20 at most"),
        (
            STRANGE.replace("float[1,8] x", "float16[1,8] x").replace("=> (float", "=> (float16"),
            20,
            "x: FLOAT16, wanted",
        ),
    ],
)
def test_what_tensorrt_cannot_take_is_named(text, opset, words, tmp_path):
    found = faults(parsed(text, tmp_path / "wrong.onnx", opset), "trt")
    assert any(words in fault for fault in found), found


def test_half_precision_and_float_files_hold_no_integers(all_int8):
    for form in ("fp16", "fp32"):
        assert "QuantizeLinear in a file without integers" in faults(all_int8 / bundle.TRT, form)
    assert "half precision in a file of form fp32" in faults(all_int8 / bundle.FP16, "fp32")
    assert faults(all_int8 / bundle.FP16, "fp16") == faults(all_int8 / bundle.FP32, "fp32") == []


def test_scales_and_zero_points_may_stand_in_constant_nodes(tmp_path):
    text = """g (float[1,8] x) => (float[1,8] y) {
        s = Constant<value = float {0.1}>()  z = Constant<value = int8 {0}>()
        a = QuantizeLinear(x, s, z)  y = DequantizeLinear(a, s, z) }"""
    assert faults(parsed(text, tmp_path / "right.onnx"), "trt") == []
    wrong = text.replace("int8 {0}", "int8 {3}")
    assert any("non-zero zero-point 3" in fault for fault in faults(parsed(wrong, tmp_path / "wrong.onnx"), "trt"))


@pytest.mark.parametrize("kept", [0, 1000, -1])
def test_a_truncated_file_is_said_to_be_one(all_int8, tmp_path, kept):
    cut = tmp_path / "cut.onnx"
    cut.write_bytes((all_int8 / bundle.TRT).read_bytes()[:kept])
    (fault,) = faults(cut, "trt")
    assert fault.startswith("not an ONNX file or truncated")


def test_the_lint_command_prints_a_line_for_each_fault(all_int8, tmp_path, capsys):
    assert run_command(lint.main, [str(all_int8 / bundle.TRT)]) == 0
    assert capsys.readouterr().out == ""
    wrong = parsed(DFT, tmp_path / "wrong.onnx")
    assert run_command(lint.main, [str(wrong), "--form", "trt"]) == 1
    assert capsys.readouterr().out == f"{wrong}: y: a DFT node: TensorRT's parser has none\n"
    assert run_command(lint.main, [str(wrong)]) == 2  # of no known name
    assert run_command(lint.main, [str(tmp_path / "none.onnx"), "--form", "trt"]) == 2
