"""Replay the bundle's golden clip on this device and name the first stage that differs.

    python -m edge_runtime check BUNDLE
    python -m edge_runtime check BUNDLE --backend tensorrt      the engine that export/build_engine.py built

Stages: hashes, input features, network outputs, score of each machine (its decision, where an engine made the outputs).
Exit code 1 when one differs.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_runtime import BACKENDS
from edge_runtime.backends import open_backend
from edge_runtime.bundle import CPU, Bundle, open_bundle
from edge_runtime.cli import parser
from edge_runtime.errors import BundleError
from edge_runtime.features import Floats, LogMel, compute
from edge_runtime.scoring import score

# Features differ by rounding alone (float64 FFTs of other processors: below 1e-13). INT8 kernels round each layer
# in their own way: on processors with and without VNNI embeddings were seen to differ by up to 1 % of their length.
FEATURE_TOLERANCE = 1e-3  # dB, or ratio to the largest magnitude
FLOAT_TOLERANCE = 1e-4  # ratio to the length of the output
INT8_TOLERANCE = 5e-2
SCORE_TOLERANCE = {False: 1e-2, True: 1e-1}  # ratio to threshold or score, whichever is greater; True for INT8


class Stage(NamedTuple):
    """One comparison: the difference found and the difference allowed."""

    name: str
    difference: float
    tolerance: float


def replay(folder: str | Path, backend: str = "onnxruntime") -> Iterator[Stage]:
    """Each stage in the order of the signal, as it is computed."""
    bundle = open_bundle(folder)
    golden = bundle.golden()
    if "sound" not in golden:
        raise BundleError(f"{folder}: golden.npz holds no sound; pack the model again")
    inputs = {name: compute(golden["sound"], spec) for name, spec in bundle.model.computed.items()}
    for name, spec in bundle.model.computed.items():
        scale = 1.0 if isinstance(spec, LogMel) else float(np.abs(golden[f"input.{name}"]).max())
        yield Stage(f"input {name}", _greatest(inputs[name], golden[f"input.{name}"]) / scale, FEATURE_TOLERANCE)
    yield from _engine(bundle) if backend == "tensorrt" else _cpu(bundle, inputs)


def _cpu(bundle: Bundle, inputs: dict[str, Floats]) -> Iterator[Stage]:
    """Outputs and scores of what the references were fitted with."""
    golden, int8 = bundle.golden(), bundle.network is not None and bundle.network.name == CPU
    backend = open_backend(bundle.network, bundle.model)
    outputs = backend.run({name: array[np.newaxis] for name, array in inputs.items()})
    backend.close()
    for name, array in outputs.items():
        length = max(float(np.linalg.norm(golden[f"output.{name}"])), 1e-12)
        difference = _greatest(array, golden[f"output.{name}"]) / length
        yield Stage(f"output {name}", difference, INT8_TOLERANCE if int8 else FLOAT_TOLERANCE)
    for name in bundle.machines:
        machine = bundle.machine(name)
        wanted = golden[f"score.{name}"]
        scale = max(abs(machine.threshold), float(np.abs(wanted).max()), 1e-12)
        difference = _greatest(score(outputs, machine), wanted) / scale
        yield Stage(f"score of {name}", difference, SCORE_TOLERANCE[int8])


def _engine(bundle: Bundle) -> Iterator[Stage]:
    """Outputs and decisions of the engine that would listen."""
    from edge_runtime.backends.trt import TensorRT
    from edge_runtime.engine import environment, ready
    from edge_runtime.engine.replay import replay as replayed

    engine, made = ready.installed(bundle.folder, environment.look())
    backend = TensorRT(engine, made.onnx)
    try:
        yield from replayed(bundle, backend)
    finally:
        backend.close()


def _greatest(found: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    if found.shape != wanted.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(found - wanted).max())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    arguments = parser(__doc__, "python -m edge_runtime check")
    arguments.add_argument("bundle", type=Path)
    arguments.add_argument("--backend", choices=BACKENDS, default="onnxruntime", help="what runs the network")
    options = arguments.parse_args(argv)
    folder = options.bundle
    for stage in replay(folder, options.backend):
        if not stage.difference <= stage.tolerance:
            print(f"{folder}: {stage.name} differs by {stage.difference:.2g}, {stage.tolerance:g} is allowed")
            return 1
        print(f"{stage.name}: differs by {stage.difference:.2g} of {stage.tolerance:g} allowed")
    print(f"{folder}: as packed")
    return 0
