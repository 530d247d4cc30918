"""What must hold in a quantized ONNX file: TensorRT refuses some of it, the rest costs accuracy without a word."""

from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, numpy_helper

from export.qdq import WEIGHTED, Form, Graph


def faults(file: Path, form: Form) -> list[str]:
    """What in a quantized file its form forbids, in words; nothing where it is as it should be."""
    onnx.checker.check_model(str(file), full_check=True)
    graph = Graph(onnx.load(file).graph)
    gated = graph.gates() | graph.choosers()
    found = []
    for node in graph.nodes:
        found += _pair(node, graph, form)
        if node.op_type in WEIGHTED:
            found += _weights(node, graph, node.name in gated)
        if form == "trt" and node.op_type == "Add" and not any(name in graph.constants for name in node.input):
            quantized = [name for name in node.input if _dequantizer(name, graph)]
            found += [f"{node.name}: only {quantized[0]} is quantized of what it adds"] if len(quantized) == 1 else []
    return found


def _pair(node: NodeProto, graph: Graph, form: Form) -> list[str]:
    """Type and zero-point of one QuantizeLinear or DequantizeLinear."""
    if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
        return []
    zero = numpy_helper.to_array(graph.constants[node.input[2]])
    if form == "trt" and zero.dtype != np.int8:
        return [f"{node.name}: {zero.dtype}, wanted int8"]
    if zero.dtype != np.uint8 and zero.any():
        return [f"{node.name}: zero-point {zero.ravel()[0]}, wanted 0"]
    return []


def _weights(node: NodeProto, graph: Graph, gated: bool) -> list[str]:
    """Each output channel has its own scale; activations and weights are quantized both or neither.

    No gate is, nor what a TopK chooses by.
    """
    weights, activations = (_dequantizer(name, graph) for name in (node.input[1], node.input[0]))
    if weights is None or weights.input[0] not in graph.constants:  # a product of two activations has no weights
        return []
    if gated:
        return [f"{node.name}: a gate, or what a TopK chooses by, is quantized"]
    found = [] if activations is not None else [f"{node.name}: weights are quantized, {node.input[0]} is not"]
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    wanted = 0 if node.op_type == "Conv" or transposed else 1
    axis = next((attribute.i for attribute in weights.attribute if attribute.name == "axis"), None)
    if axis != wanted:
        found.append(f"{node.name}: weights scaled along axis {axis}, wanted {wanted}")
    return found


def _dequantizer(tensor: str, graph: Graph) -> NodeProto | None:
    node = graph.writer.get(tensor)
    return node if node is not None and node.op_type == "DequantizeLinear" else None
