"""Where an ONNX graph is quantized, and in which of two forms; `export/lint.py` holds what must be true of the file.

    cpu    U8S8: asymmetric uint8 activations, symmetric int8 weights; ReLUs and biases go into the integer kernels
    trt    S8S8: symmetric int8, zero-points 0, biases in float, of an addition both inputs or neither

Only Conv, Gemm and MatMul with constant weights are quantized, each output channel of a weight with its own scale.
The rest stays in float, and so do gates (the two products of squeeze-and-excitation) and what a TopK chooses by. The
weights of the cpu form use seven of their eight bits: the vector units of x86 without VNNI add pairs of products in 16
bits and would saturate.
"""

import io
import math
from collections import defaultdict
from collections.abc import Collection, Iterable
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import msgspec
import onnx
from onnx import GraphProto, ModelProto, NodeProto
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import CalibrationDataReader, TensorsData, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from edge_runtime.backends import Arrays

Form = Literal["cpu", "trt"]
WEIGHTED = ("Conv", "Gemm", "MatMul")
POOLED = ("ReduceMean", "GlobalAveragePool")
CHUNK = 4  # windows whose tensors are held at a time


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
        """Names of the weighted nodes that a TopK chooses by: a step of rounding would choose another place."""
        found: set[str] = set()
        passed: set[str] = set()
        waiting = [node.input[0] for node in self.nodes if node.op_type == "TopK"]
        while waiting:
            name = waiting.pop()
            node = self.writer.get(name)
            if node is None or name in passed:
                continue
            passed.add(name)
            if node.op_type in WEIGHTED and self.constant(node.input[1:]):
                found.add(node.name)
            else:
                waiting += node.input
        return found

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
    graph = Graph(model.graph)
    left = graph.gates() | graph.choosers() | set(in_float)
    weighted = [
        node.name
        for node in graph.nodes
        if node.op_type in WEIGHTED and node.name not in left and graph.constant(node.input[1:])
    ]
    relus = [node.name for node in graph.nodes if node.op_type == "Relu" and _only_behind(node, weighted, graph)]
    additions = [
        node.name
        for node in graph.nodes
        if node.op_type == "Add" and node.name not in left and not any(name in graph.constants for name in node.input)
    ]
    return Plan(weighted, relus, additions)


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


class _Batches(CalibrationDataReader):
    """A few batches for a calibrator of onnxruntime."""

    def __init__(self, batches: list[Arrays]) -> None:
        self._rest = iter(batches)

    def get_next(self) -> Arrays | None:
        return next(self._rest, None)


def calibrate(network: Path, batches: Iterable[Arrays], percentile: float | None) -> TensorsData:
    """The range of every activation: between two percentiles of its values, or (None) of all of them.

    Ranges or histograms are added up over chunks, so that memory does not grow with the number of batches.
    """
    method = CalibrationMethod.MinMax if percentile is None else CalibrationMethod.Percentile
    options = {"symmetric": False} if percentile is None else {"symmetric": False, "percentile": percentile}
    with TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):  # it prints its progress
        augmented = str(Path(folder) / "augmented.onnx")
        calibrator = create_calibrator(
            network,
            [*WEIGHTED, "Relu", "Add"],
            augmented_model_path=augmented,
            calibrate_method=method,
            extra_options=options,
        )
        chunk: list[Arrays] = []
        for batch in batches:
            chunk.append(batch)
            if len(chunk) == CHUNK:
                calibrator.collect_data(_Batches(chunk))
                chunk = []
        if chunk:
            calibrator.collect_data(_Batches(chunk))
        return calibrator.compute_data()


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
