"""Where an ONNX graph is quantized, and in which of two forms; `export/lint.py` holds what must be true of the file.

    cpu    U8S8: asymmetric uint8 activations, symmetric int8 weights; ReLUs and biases go into the integer kernels
    trt    S8S8: symmetric int8, zero-points 0, biases in float, of an addition both inputs or neither

Only Conv, Gemm and MatMul with constant weights are quantized, each output channel of a weight with its own scale.
The rest stays in float, and so do gates (the two products of squeeze-and-excitation) and what a TopK chooses by. The
weights of the cpu form use seven of their eight bits: the vector units of x86 without VNNI add pairs of products in 16
bits and would saturate.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec
import onnx
from onnx import GraphProto, ModelProto, NodeProto
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from edge_runtime.bundle import Form

WEIGHTED = ("Conv", "Gemm", "MatMul")
POOLED = ("ReduceMean", "GlobalAveragePool")


class Plan(msgspec.Struct, frozen=True):
    """Names of the nodes that take part."""

    weighted: list[str]  # integer products
    relus: list[str]  # right behind one, and its only reader; cpu form alone
    additions: list[str]  # of two activations; trt form alone

    def nodes(self, form: Form) -> list[str]:
        """Those that can be left in float one by one."""
        return self.weighted + (self.additions if form == "trt" else [])


class Graph:
    """Who writes and who reads each tensor."""

    def __init__(self, graph: GraphProto) -> None:
        self.nodes: list[NodeProto] = list(graph.node)
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.writer = {name: node for node in self.nodes for name in node.output}
        self.readers: dict[str, list[NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self.readers[name].append(node)

    def constant(self, names: Iterable[str]) -> bool:
        """Whether all of these tensors are constants."""
        return all(name in self.constants for name in names)

    def gates(self) -> set[str]:
        """Names of the nodes between a mean and the sigmoid that it feeds: squeeze-and-excitation."""
        found: set[str] = set()
        for node in self.nodes:
            if node.op_type in ("Sigmoid", "HardSigmoid"):
                found |= self._back_to_a_mean(node.input[0])
        return found

    def choosers(self) -> set[str]:
        """Names of the nodes that a TopK chooses by, back to weights: a step of rounding would choose another place."""
        found: set[str] = set()
        waiting = [node.input[0] for node in self.nodes if node.op_type == "TopK"]
        while waiting:
            node = self.writer.get(waiting.pop())
            if node is not None and node.name not in found:
                found.add(node.name)
                waiting += [] if self.weighted(node) else node.input
        return found

    def weighted(self, node: NodeProto) -> bool:
        """Whether it is a product with constant weights."""
        return node.op_type in WEIGHTED and self.constant(node.input[1:])

    def _back_to_a_mean(self, tensor: str) -> set[str]:
        """Names of the nodes behind a tensor up to means over it; none if there is another way in."""
        passed: set[str] = set()
        waiting = [tensor]
        while waiting:
            name = waiting.pop()
            node = self.writer.get(name)
            if node is None and name not in self.constants:
                return set()
            if node is not None and node.op_type not in POOLED and node.name not in passed:
                passed.add(node.name)
                waiting += node.input
        return passed


def load(network: Path) -> ModelProto:
    """An ONNX file with the shape of every tensor."""
    return onnx.shape_inference.infer_shapes(onnx.load(network))


def plan(model: ModelProto, in_float: Collection[str] = ()) -> Plan:
    """Which nodes to quantize, less those named to stay in float."""
    graph, left = Graph(model.graph), {*never(model), *in_float}
    weighted = [node.name for node in graph.nodes if graph.weighted(node) and node.name not in left]
    relus = [node.name for node in graph.nodes if node.op_type == "Relu" and _only_behind(node, weighted, graph)]
    additions = [
        node.name
        for node in graph.nodes
        if node.op_type == "Add" and node.name not in left and not any(name in graph.constants for name in node.input)
    ]
    return Plan(weighted, relus, additions)


def never(model: ModelProto) -> dict[str, str]:
    """Product or addition -> why it is never quantized, whatever it costs."""
    graph = Graph(model.graph)
    gates, choosers = graph.gates(), graph.choosers()
    found = {}
    for node in graph.nodes:
        if node.op_type in (*WEIGHTED, "Add") and node.name in gates | choosers:
            found[node.name] = "a TopK chooses by it" if node.name in choosers else "gate of squeeze-and-excitation"
        elif node.op_type in WEIGHTED and not graph.weighted(node):
            found[node.name] = "product of two activations"
    return found


def _only_behind(relu: NodeProto, weighted: list[str], graph: Graph) -> bool:
    writer = graph.writer.get(relu.input[0])
    return writer is not None and writer.name in weighted and len(graph.readers[relu.input[0]]) == 1


def multiply_accumulates(model: ModelProto) -> dict[str, int]:
    """Products of each Conv, Gemm and MatMul, by name, for one window."""
    one = ModelProto()
    one.CopyFrom(model)
    del one.graph.value_info[:]
    for value in one.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    one = onnx.shape_inference.infer_shapes(one, data_prop=True)
    graph = Graph(one.graph)
    values = [*one.graph.input, *one.graph.value_info, *one.graph.output]
    shapes = {value.name: [size.dim_value or 1 for size in value.type.tensor_type.shape.dim] for value in values}
    shapes |= {name: list(tensor.dims) for name, tensor in graph.constants.items()}
    found = {}
    for node in graph.nodes:
        if node.op_type in WEIGHTED:
            data, weight, output = (shapes[name] for name in (*node.input[:2], node.output[0]))
            each = math.prod(weight[1:]) if node.op_type == "Conv" else data[-1]  # products of one number of the output
            found[node.name] = math.prod(output) * each
    return found


def write(model: ModelProto, chosen: Plan, ranges: TensorsData, form: Form, out: Path) -> None:
    """Write one quantized form of a network from `load`."""
    copy = ModelProto()
    copy.CopyFrom(model)
    trt = form == "trt"
    names = chosen.weighted + (chosen.additions if trt else chosen.relus)
    if not names:  # which the quantizer would take for all
        onnx.save(copy, out)
        return
    quantizer = QDQQuantizer(
        copy,
        True,  # per channel
        not trt,  # seven bits
        QuantType.QInt8,
        QuantType.QInt8 if trt else QuantType.QUInt8,
        ranges,
        names,
        [],
        [*WEIGHTED, "Add" if trt else "Relu"],
        {
            "ActivationSymmetric": trt,
            "WeightSymmetric": True,
            "QuantizeBias": not trt,
            # An integer Conv of onnxruntime has integer results; a Gemm or MatMul need not, and the embedding is one.
            "OpTypesToExcludeOutputQuantization": [*WEIGHTED, "Add"] if trt else ["Gemm", "MatMul"],
        },
    )
    quantizer.quantize_model()
    _spare(quantizer.model.model, [] if trt else names, names)
    quantizer.model.save_model_to_file(str(out), False)


def _spare(model: ModelProto, integer: Collection[str], names: Collection[str]) -> None:
    """Let nodes in float read what others read quantized; the quantizer gives every reader of a tensor the same.

    The result of an `integer` node stays as it is: it exists in integers only.
    """
    graph = Graph(model.graph)
    for node in graph.nodes:
        quantize = graph.writer.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if quantize is None or ((writer := graph.writer.get(quantize.input[0])) and writer.name in integer):
            continue
        for reader in graph.readers[node.output[0]]:
            if reader.name not in names:
                for place, name in enumerate(reader.input):
                    if name == node.output[0]:
                        reader.input[place] = quantize.input[0]
