"""Named arrays in, named arrays out; only the library that is asked for is imported."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_runtime import BACKENDS
from edge_runtime.bundle import Model
from edge_runtime.errors import BackendError
from edge_runtime.pooling import pool

Arrays = dict[str, NDArray[np.float32]]


class Backend(Protocol):
    """Runs a network on a batch: every array begins with the batch axis."""

    def run(self, inputs: Arrays) -> Arrays:
        """Inputs by name, perhaps more than it takes -> outputs by name."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class Pooled:
    """What a model gives: the outputs of its network, where it has one, and those that are pooled beside it."""

    def __init__(self, model: Model, network: Backend | None = None) -> None:
        self._model, self._network = model, network

    @property
    def seconds(self) -> dict[str, float]:
        """The parts of the network's last run, where it tells them: "copy in", "engine", "copy out"."""
        return getattr(self._network, "seconds", {})

    def run(self, inputs: Arrays) -> Arrays:
        """Inputs by name, the network's and those beside it -> outputs by name."""
        found = self._network.run(inputs) if self._network is not None else {}
        return found | {name: pool(inputs[pooling.input], pooling) for name, pooling in self._model.poolings.items()}

    def close(self) -> None:
        """Close the network."""
        if self._network is not None:
            self._network.close()


class Several:
    """Backends that hear the same windows; the output "embedding" of backend "cpu" is called "cpu/embedding"."""

    def __init__(self, backends: dict[str, Backend]) -> None:
        self._backends = backends

    def run(self, inputs: Arrays) -> Arrays:
        """Inputs by name -> the outputs of all."""
        return {
            f"{who}/{name}": array
            for who, backend in self._backends.items()
            for name, array in backend.run(inputs).items()
        }

    def close(self) -> None:
        """Close all."""
        for backend in self._backends.values():
            backend.close()


def open_backend(network: Path | None, model: Model, name: str = "onnxruntime") -> Backend:
    """The backend for a model with its ONNX file ("tensorrt": its engine); for None, the detector without a network."""
    if name not in BACKENDS:
        raise BackendError(f"unknown backend {name}; there is {', '.join(BACKENDS)}")
    if network is None:
        return Pooled(model)
    if name == "tensorrt":
        from edge_runtime.backends.trt import TensorRT

        return Pooled(model, TensorRT(network))
    from edge_runtime.backends.ort import OnnxRuntime

    return Pooled(model, OnnxRuntime(network))
