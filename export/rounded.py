"""A network in half precision as float32 with every result rounded to half: what a GPU gives, on any CPU.

onnxruntime has few kernels of half precision on the CPU: it runs most nodes in float32 and drops the casts between
them, so that nothing overflows there. Casts that are written down are never dropped.
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from export.half import FLOAT, HALF, cast

MOVING = {
    *("Reshape", "Transpose", "Slice", "Squeeze", "Unsqueeze", "Concat", "Split", "Gather", "GatherElements", "Expand"),
    *("Relu", "MaxPool", "Flatten", "Identity", "Pad", "Tile", "Where"),
}


def write(file: Path, out: Path) -> None:
    """Write a network in half precision as one that computes in float32 and rounds every result to half.

    A half tensor t is called t_32 here.
    """
    model = onnx.shape_inference.infer_shapes(onnx.load(file))
    graph = model.graph
    halves = {one.name for one in (*graph.value_info, *graph.initializer) if _kind(one) == HALF}
    nodes = [one for node in graph.node for one in _rounded(node, halves)]
    for tensor in [tensor for tensor in graph.initializer if tensor.name in halves]:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, f"{tensor.name}_32"))
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    onnx.save(model, out)


def _rounded(node: NodeProto, halves: Collection[str]) -> list[NodeProto]:
    """A node in float32, and casts to half and back behind it; a node that only moves numbers needs none."""
    written = [name for name in node.output if name in halves]
    if node.op_type == "Cast" and node.input[0] in halves:
        return [helper.make_node("Identity", [f"{node.input[0]}_32"], node.output, node.name)]
    node.input[:] = [f"{name}_32" if name in halves else name for name in node.input]
    if node.op_type in MOVING:
        node.output[:] = [f"{name}_32" if name in halves else name for name in node.output]
        return [node]
    if node.op_type != "Cast":
        node.output[:] = [f"{name}_full" if name in halves else name for name in node.output]
    nodes = [node]
    for name in written:
        nodes += [cast(f"{name}_full", name, HALF)] if node.op_type != "Cast" else []
        nodes.append(cast(name, f"{name}_32", FLOAT))
    return nodes


def _kind(value: onnx.ValueInfoProto | TensorProto) -> int:
    return value.type.tensor_type.elem_type if isinstance(value, onnx.ValueInfoProto) else value.data_type
