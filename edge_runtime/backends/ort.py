"""onnxruntime on the CPU: the backend that every machine has."""

from collections.abc import Sequence
from pathlib import Path

from edge_runtime.backends import Arrays
from edge_runtime.errors import BackendError

try:
    import onnxruntime
except ImportError as error:  # pragma: no cover - the package depends on it
    raise BackendError(f"onnxruntime cannot be imported ({error}); pip install onnxruntime") from None


class OnnxRuntime:
    """One session; one thread unless told otherwise, because small products stall on more."""

    def __init__(self, network: Path, threads: int = 1, without: Sequence[str] = ()) -> None:
        """`without`: names of onnxruntime's optimizers that are left out."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # a window's buffers fit the budget; the arena doubles them
        options.log_severity_level = 3  # errors
        try:
            self._session = onnxruntime.InferenceSession(
                str(network), options, providers=["CPUExecutionProvider"], disabled_optimizers=list(without)
            )
        except Exception as error:
            raise BackendError(f"{network}: onnxruntime refuses it: {str(error).splitlines()[0]}") from error
        self._inputs = [one.name for one in self._session.get_inputs()]
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Arrays) -> Arrays:
        """Inputs by name, [batch, ...] float32 -> outputs by name."""
        own = {name: inputs[name] for name in self._inputs}
        return dict(zip(self._outputs, self._session.run(self._outputs, own), strict=True))

    def close(self) -> None:
        """Free the session."""
        del self._session
