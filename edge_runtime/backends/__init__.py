"""Named arrays in, named arrays out; only the library that is asked for is imported."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import BackendError

Arrays = dict[str, NDArray[np.float32]]

BACKENDS = ("onnxruntime",)


class Backend(Protocol):
    """Runs a network on a batch: every array begins with the batch axis."""

    def run(self, inputs: Arrays) -> Arrays:
        """Inputs by name -> outputs by name."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class TimeMean:
    """The detector without a network: its embedding is the mean over time of its only input."""

    def run(self, inputs: Arrays) -> Arrays:
        """{name: [batch, frames, bands]} -> {"embedding": [batch, bands]}."""
        (array,) = inputs.values()
        return {"embedding": array.mean(axis=1, dtype=np.float64).astype(np.float32)}

    def close(self) -> None:
        """Nothing is held."""


def open_backend(network: Path | None, name: str = "onnxruntime") -> Backend:
    """The backend for an ONNX file; for None, the detector without a network."""
    if network is None:
        return TimeMean()
    if name == "onnxruntime":
        from edge_runtime.backends.ort import OnnxRuntime

        return OnnxRuntime(network)
    raise BackendError(f"unknown backend {name}; there is {', '.join(BACKENDS)}")
