"""A float network in half precision, strongly typed: for GPUs.

Inputs and outputs stay float32, and casts stand where the two precisions meet. In float32 stay what comes before the
first weights (decibels lose their hundredths in half), roots, norms, softmax and means, what a TopK chooses by, and
whatever leaves the range of half precision on real windows.
"""

from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edge_runtime.backends import Arrays
from export.qdq import Graph

MOST = 1e4  # of a value: half precision ends at 65504, and other sound may be louder
ROUNDING = 1e-3  # of a tensor's size: plain rounding to half loses 3e-4, values too small for it more
EXACT = {
    *("GlobalAveragePool", "ReduceMean", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp"),
    *("Sqrt", "Pow", "Reciprocal", "Exp", "Log", "Softmax", "LogSoftmax", "CumSum"),
    *("LayerNormalization", "InstanceNormalization", "LpNormalization", "TopK"),
}
FLOAT_SLOTS = {"Resize": {1, 2}}  # inputs that are float32 whatever the rest is
HALF, FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT


def kept(model: ModelProto, batches: Iterable[Arrays]) -> dict[str, str]:
    """Node -> why it stays in float32, of a network from `qdq.load` that hears a few windows."""
    graph = Graph(model.graph)
    behind = _behind_weights(graph)
    choosers, poor = graph.choosers(), _poor(model, batches)
    found = {}
    for node in graph.nodes:
        why = [poor[name] for name in (*node.input, *node.output) if name in poor]
        if node.name not in behind:
            found[node.name] = "before the first weights"
        elif node.name in choosers:
            found[node.name] = "a TopK chooses by it"
        elif node.op_type in EXACT:
            found[node.name] = "root, norm, softmax or mean"
        elif why:
            found[node.name] = why[0]
    return found


def _behind_weights(graph: Graph) -> set[str]:
    """Names of the nodes with weights, and of all that read what those give."""
    found: set[str] = set()
    reached: set[str] = set()
    for node in graph.nodes:  # in topological order
        if graph.weighted(node) or reached & set(node.input):
            found.add(node.name)
            reached |= set(node.output)
    return found


def _poor(model: ModelProto, batches: Iterable[Arrays]) -> dict[str, str]:
    """Tensor -> what half precision does to it, where that is too much; weights too."""
    found = {name: worst for name, array in _floats(model).items() if (worst := _loss(array))}
    listening = ModelProto()
    listening.CopyFrom(model)
    own = {value.name for value in model.graph.output}
    seen = [value for value in model.graph.value_info if value.type.tensor_type.elem_type == FLOAT]
    listening.graph.output.extend(value for value in seen if value.name not in own)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # every tensor is asked for
    session = onnxruntime.InferenceSession(listening.SerializeToString(), options, ["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    for batch in batches:
        heard = zip([*batch, *names], [*batch.values(), *session.run(names, batch)], strict=True)
        found |= {name: worst for name, array in heard if name not in found and (worst := _loss(array))}
    return found


def _floats(model: ModelProto) -> dict[str, NDArray[np.float32]]:
    tensors = model.graph.initializer
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors if tensor.data_type == FLOAT}


def _loss(array: NDArray[np.float32]) -> str:
    """What half precision does to an array, or nothing."""
    most = float(np.abs(array).max(initial=0.0))
    if not most <= MOST:
        return f"values up to {most:.1e}"
    moved = array - array.astype(np.float16).astype(np.float32)
    lost = float(np.linalg.norm(moved)) / max(float(np.linalg.norm(array)), 1e-30)
    return f"rounding to half loses {lost:.1%} of it" if lost > ROUNDING else ""


def write(model: ModelProto, in_float: Collection[str], out: Path) -> None:
    """Write a network from `qdq.load` in half precision, less the nodes named.

    A tensor t is called t in float32 and t_half in half precision; where one is read and the other written, a cast
    stands behind the writer.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    graph, floats, constants = copy.graph, _float_tensors(copy), _floats(copy)
    for node in graph.node:
        if node.name not in in_float:
            _rename(node, floats | set(constants))
    read = {name for node in graph.node for name in node.input}
    names = [name for name in constants if _half(name) in read]
    graph.initializer.extend(numpy_helper.from_array(constants[name].astype(np.float16), _half(name)) for name in names)
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)
    nodes = _with_casts(copy, floats, read)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    onnx.save(onnx.shape_inference.infer_shapes(copy, strict_mode=True, data_prop=True), out)


def _float_tensors(model: ModelProto) -> set[str]:
    values = [*model.graph.input, *model.graph.value_info, *model.graph.output]
    return {value.name for value in values if value.type.tensor_type.elem_type == FLOAT}


def _half(name: str) -> str:
    return f"{name}_half"


def _rename(node: NodeProto, floats: Collection[str]) -> None:
    """Let a node read and write half precision."""
    for place, name in enumerate(node.input):
        if name in floats and place not in FLOAT_SLOTS.get(node.op_type, ()):
            node.input[place] = _half(name)
    for place, name in enumerate(node.output):
        if name in floats:
            node.output[place] = _half(name)
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == FLOAT:
            attribute.i = HALF
        elif node.op_type == "ConstantOfShape" and attribute.t.data_type == FLOAT:
            attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(np.float16)))


def _with_casts(model: ModelProto, floats: Collection[str], read: Collection[str]) -> list[NodeProto]:
    """The nodes, and casts to what is read but not written."""
    needed = set(read) | {value.name for value in model.graph.output}
    nodes = [cast(value.name, _half(value.name), HALF) for value in model.graph.input if _half(value.name) in needed]
    for node in model.graph.node:
        nodes.append(node)
        for name in node.output:
            plain = name.removesuffix("_half")
            if name in floats and _half(name) in needed:
                nodes.append(cast(name, _half(name), HALF))
            elif name not in floats and plain in floats and plain in needed:
                nodes.append(cast(name, plain, FLOAT))
    return nodes


def cast(name: str, to: str, kind: int) -> NodeProto:
    """A node that writes a tensor in another precision."""
    return helper.make_node("Cast", [name], [to], f"{to}_cast", to=kind)
