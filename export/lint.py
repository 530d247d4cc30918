"""What must hold in an ONNX file before TensorRT sees it: some of it is refused, the rest costs accuracy unsaid.

    python export/lint.py model.trt.onnx
    python export/lint.py FILE --form fp16

Form: cpu (U8S8), trt (S8S8 with explicit Q/DQ), fp16, fp32; without --form by the file's name. Prints a line for each
fault, and nothing where there is none. Exit code 1: there are faults.

All forms but cpu: opset at most 20, operators of ONNX alone and none that TensorRT 10.3 lacks; zero-points 0 and int8,
biases not quantized. Where weights are quantized, each output channel has its own scale: on axis 0 of a convolution or
a transposed Gemm, on axis 1 of a MatMul, whose weights are [in, out] (parsed and built by TensorRT-RTX 1.7). Of a
residual addition both inputs are quantized or neither; nothing is quantized between a convolution and its activation.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

if __package__ in (None, ""):  # run by path: the repository root, not this folder, comes first
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from edge_runtime import bundle
from edge_runtime.bundle import Form
from edge_runtime.cli import parser, run_command
from edge_runtime.errors import ConfigError
from export.qdq import WEIGHTED, Graph

OPSET = 20  # the highest that TensorRT 10.3 reads
MISSING = {  # of the operators of opset 20 in the parser of TensorRT 10
    *(
        "BitShift",
        "BlackmanWindow",
        "Col2Im",
        "ConcatFromSequence",
        "ConvInteger",
        "DFT",
        "Det",
        "DynamicQuantizeLinear",
    ),
    *("HammingWindow", "HannWindow", "MatMulInteger", "MaxRoiPool", "MaxUnpool", "MelWeightMatrix", "Multinomial"),
    *("NegativeLogLikelihoodLoss", "Optional", "OptionalGetElement", "OptionalHasElement", "QLinearConv"),
    *("QLinearMatMul", "STFT", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert"),
    *("SequenceLength", "SequenceMap", "SoftmaxCrossEntropyLoss", "SplitToSequence", "StringNormalizer"),
    *("TfIdfVectorizer", "Unique", "Bernoulli", "AffineGrid", "StringConcat", "StringSplit", "RegexFullMatch"),
}
ACTIVATIONS = {
    "Relu",
    "LeakyRelu",
    "PRelu",
    "Clip",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Tanh",
    "Elu",
    "Selu",
    "Gelu",
}
PAIR = ("QuantizeLinear", "DequantizeLinear")
NAMED = {file: form for form, file in bundle.FORMS.items()}


def faults(file: Path, form: Form) -> list[str]:
    """What in a file its form forbids, in words; nothing where it is as it should be."""
    try:
        model = onnx.load(file)
        onnx.checker.check_model(str(file), full_check=True)
    except (DecodeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return [f"not an ONNX file or truncated: {str(error).strip().splitlines()[0]}"]
    for node in model.graph.node:
        node.name = node.name or node.output[0]
    graph = Graph(model.graph)
    graph.constants |= {node.output[0]: node.attribute[0].t for node in graph.nodes if _holds_tensor(node)}
    gated = graph.gates() | graph.choosers()
    found = [] if form == "cpu" else _strange(model)
    for node in graph.nodes:
        found += _pair(node, graph, form)
        if node.op_type in WEIGHTED:
            found += _weights(node, graph, node.name in gated, form)
        if form != "cpu":
            found += _places(node, graph)
    return found + _precision(model, form)


def _holds_tensor(node: NodeProto) -> bool:
    return node.op_type == "Constant" and [attribute.name for attribute in node.attribute] == ["value"]


def _strange(model: ModelProto) -> list[str]:
    """Opset and operators that TensorRT does not read."""
    found = []
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx") and opset.version > OPSET:
            found.append(f"opset {opset.version}, wanted {OPSET} at most")
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            found.append(f"{node.name}: a {node.op_type} node of {node.domain}, which TensorRT's parser does not know")
        elif node.op_type in MISSING:
            found.append(f"{node.name}: a {node.op_type} node: TensorRT's parser has none")
    return found


def _pair(node: NodeProto, graph: Graph, form: Form) -> list[str]:
    """Type and zero-point of one QuantizeLinear or DequantizeLinear."""
    if node.op_type not in PAIR:
        return []
    zero = graph.constants.get(node.input[2]) if len(node.input) > 2 else None
    if len(node.input) > 2 and zero is None:
        return [f"{node.name}: its zero-point {node.input[2]} is no constant"]
    if zero is None and node.op_type == "QuantizeLinear" and form != "cpu":
        return [f"{node.name}: no zero-point, which makes it uint8, wanted int8"]
    values = np.int8(0) if zero is None else numpy_helper.to_array(zero)
    if form == "cpu":
        wrong = values.dtype != np.uint8 and values.any()
    else:
        bias = graph.constants.get(node.input[0])
        if values.dtype == np.int32 or (bias is not None and bias.data_type == TensorProto.INT32):
            return [f"{node.name}: INT32 bias with DequantizeLinear; biases stay in float"]
        if values.dtype != np.int8:
            return [f"{node.name}: {values.dtype}, wanted int8"]
        wrong = values.any()
    return [f"{node.name}: non-zero zero-point {values.ravel()[np.flatnonzero(values)[0]]}, wanted 0"] if wrong else []


def _weights(node: NodeProto, graph: Graph, gated: bool, form: Form) -> list[str]:
    """Each output channel has its own scale; activations and weights are quantized both or neither.

    No gate is, nor what a TopK chooses by.
    """
    weights, activations = (_dequantizer(name, graph) for name in (node.input[1], node.input[0]))
    if weights is None or weights.input[0] not in graph.constants:  # a product of two activations has no weights
        return []
    if form != "cpu" and len(node.input) > 2 and _dequantizer(node.input[2], graph):
        return [f"{node.name}: its bias is quantized; biases stay in float"]
    if gated:
        return [f"{node.name}: a gate, or what a TopK chooses by, is quantized"]
    found = [] if activations is not None else [f"{node.name}: weights are quantized, {node.input[0]} is not"]
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    wanted = 0 if node.op_type == "Conv" or transposed else 1
    axis = next((attribute.i for attribute in weights.attribute if attribute.name == "axis"), None)
    if axis != wanted:
        found.append(f"{node.name}: weights scaled along axis {axis}, wanted {wanted}")
    return found


def _places(node: NodeProto, graph: Graph) -> list[str]:
    """An addition that is half quantized, and a pair between a product and its activation."""
    pairs = [_dequantizer(name, graph) for name in node.input]
    if node.op_type == "Add" and not any(name in graph.constants for name in node.input):
        if len(quantized := [pair for pair in pairs if pair is not None]) == 1:
            return [f"{node.name}: only {quantized[0].output[0]} is quantized of what it adds"]
    elif node.op_type in ACTIVATIONS and pairs and pairs[0] is not None:
        quantizer = graph.writer.get(pairs[0].input[0])
        product = graph.writer.get(quantizer.input[0]) if quantizer is not None else None
        if product is not None and product.op_type in WEIGHTED:
            return [f"{node.name}: Q/DQ between {product.name} and its activation"]
    return []


def _precision(model: ModelProto, form: Form) -> list[str]:
    """Whether a file is what its form says."""
    kinds = {node.op_type for node in model.graph.node}
    halves = any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)
    found = [f"{kind} in a file without integers" for kind in PAIR if form in ("fp16", "fp32") and kind in kinds]
    if form in ("cpu", "trt", "fp32") and halves:
        found.append(f"half precision in a file of form {form}")
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type != TensorProto.FLOAT:
            kind = TensorProto.DataType.Name(value.type.tensor_type.elem_type)
            found.append(f"{value.name}: {kind}, wanted FLOAT: inputs and outputs of every form are float32")
    return found


def _dequantizer(tensor: str, graph: Graph) -> NodeProto | None:
    node = graph.writer.get(tensor)
    return node if node is not None and node.op_type == "DequantizeLinear" else None


def main(argv: Sequence[str] | None = None) -> int:
    """Print every fault of a file; 1 where there is one."""
    arguments = parser(__doc__)
    arguments.add_argument("file", metavar="FILE", type=Path, help="ONNX file")
    arguments.add_argument("--form", choices=get_args(Form), help="what it is to be (default: by its name)")
    options = arguments.parse_args(argv)
    form = options.form or NAMED.get(options.file.name)
    if form is None:
        raise ConfigError(f"{options.file}: its name says no form; give --form {{{','.join(get_args(Form))}}}")
    if not options.file.is_file():
        raise ConfigError(f"{options.file}: no such file; give an ONNX file")
    found = faults(options.file, form)
    for fault in found:
        print(f"{options.file}: {fault}")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
