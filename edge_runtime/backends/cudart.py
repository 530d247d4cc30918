"""The few calls of CUDA that running an engine takes, each checked. The library is cuda-bindings.

It has wheels for x86-64 and aarch64 and for Python 3.10, and needs nothing of CUDA but the driver.
"""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import BackendError, first_line

Array = NDArray[Any]


class Gpu(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What engines are built for."""

    name: str  # "Orin", "NVIDIA GeForce RTX 4070"
    compute_capability: str  # "8.7"


class CudaError(BackendError):
    """A call of CUDA failed, which need not be the engine's fault."""


class Graph(Protocol):
    """What was captured of a stream."""

    def launch(self) -> None:
        """Queue all of it on its stream."""
        ...

    def close(self) -> None:
        """Give it back."""
        ...


class Cuda:
    """One stream and the memory that belongs to it; `close` frees all."""

    def __init__(self) -> None:
        self._cuda = _library()
        self._freeing: list[Callable[[], Any]] = []
        self.stream: int = int(self._call("cudaStreamCreate"))
        self._freeing.append(lambda: self._cuda.cudaStreamDestroy(self.stream))

    def device(self, size: int) -> int:
        """Address of `size` bytes on the GPU."""
        address = int(self._call("cudaMalloc", size))
        self._freeing.append(lambda: self._cuda.cudaFree(address))
        return address

    def host(self, shape: tuple[int, ...], kind: Any) -> Array:
        """An array in pinned memory, which the GPU reads and writes by itself."""
        import ctypes

        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        address = int(self._call("cudaHostAlloc", size, 0))
        self._freeing.append(lambda: self._cuda.cudaFreeHost(address))
        return np.frombuffer((ctypes.c_ubyte * size).from_address(address), kind).reshape(shape)

    def copy_in(self, address: int, array: Array) -> None:
        """Queue: pinned memory to the GPU."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, kind, self.stream)

    def copy_out(self, array: Array, address: int) -> None:
        """Queue: the GPU to pinned memory."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", array.ctypes.data, address, array.nbytes, kind, self.stream)

    def event(self) -> Any:
        """A mark that can be set on the stream again and again."""
        event = self._call("cudaEventCreate")
        self._freeing.append(lambda: self._cuda.cudaEventDestroy(event))
        return event

    def record(self, event: Any) -> None:
        """Queue: set the mark."""
        self._call("cudaEventRecord", event, self.stream)

    def seconds(self, start: Any, end: Any) -> float:
        """Between two marks that the stream has passed."""
        return float(self._call("cudaEventElapsedTime", start, end)) / 1000.0

    def wait(self) -> None:
        """Until all that is queued is done."""
        self._call("cudaStreamSynchronize", self.stream)

    def capture(self, work: Callable[[], None]) -> Graph:
        """What `work` queues, to be queued again in one call; it does not run now."""
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", self.stream, mode)
        try:
            work()
        finally:
            graph = self._call("cudaStreamEndCapture", self.stream)
        return _Graph(self, graph)

    def close(self) -> None:
        """Free everything, the last first; errors no longer matter."""
        for free in reversed(self._freeing):
            free()
        self._freeing.clear()

    def _call(self, name: str, *arguments: Any) -> Any:
        return checked(self._cuda, name, *arguments)


class _Graph:
    """A captured graph, ready to be launched on the stream it came from."""

    def __init__(self, cuda: Cuda, graph: Any) -> None:
        self._cuda, self._graph = cuda, graph
        self._ready = cuda._call("cudaGraphInstantiate", graph, 0)

    def launch(self) -> None:
        self._cuda._call("cudaGraphLaunch", self._ready, self._cuda.stream)

    def close(self) -> None:
        self._cuda._call("cudaGraphExecDestroy", self._ready)
        self._cuda._call("cudaGraphDestroy", self._graph)


def checked(library: Any, name: str, *arguments: Any) -> Any:
    """Call `name` -> what it gives; an error of CUDA becomes one of ours that names the call."""
    status, *found = getattr(library, name)(*arguments)
    if int(status) != 0:
        words = library.cudaGetErrorString(status)[1]
        words = words.decode() if isinstance(words, bytes) else str(words)
        raise CudaError(f"CUDA: {name}: {status.name}: {words}")
    return found[0] if found else None


def gpu() -> Gpu:
    """The GPU that engines run on here, the first one; an error says why there is none."""
    library = _library()
    version()
    if checked(library, "cudaGetDeviceCount") < 1:
        raise BackendError("CUDA: no GPU here")
    found = checked(library, "cudaGetDeviceProperties", 0)
    name = found.name.decode() if isinstance(found.name, bytes) else str(found.name)
    return Gpu(name.rstrip("\0"), f"{found.major}.{found.minor}")


def version() -> str:
    """CUDA as the driver has it: "12.6"."""
    number = int(checked(_library(), "cudaDriverGetVersion"))
    if number == 0:
        raise BackendError("CUDA: no NVIDIA driver here")
    return f"{number // 1000}.{number % 1000 // 10}"


def _library() -> Any:
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise BackendError(
            f"cuda-bindings cannot be imported ({first_line(error)}); pip install 'cuda-bindings<13'"
        ) from None
    return runtime
