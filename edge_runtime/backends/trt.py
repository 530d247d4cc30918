"""Engines of TensorRT 10.3 to 11 and of TensorRT-RTX on the first GPU.

Buffers are made once, for the largest batch, and their addresses stay: while the batch stays too, the engine's work is
one CUDA graph, captured after a first run. TensorRT-RTX captures by itself, as it compiles kernels while it runs.
"""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_runtime.backends import Arrays, cudart
from edge_runtime.backends.cudart import Cuda, Gpu, Graph
from edge_runtime.engine import environment, sidecar
from edge_runtime.engine.build import logger
from edge_runtime.errors import BackendError, first_line

MARKS = ("start", "copied in", "ran", "copied out")


class Buffer(msgspec.Struct, frozen=True):
    """One input or output, as large as it can be."""

    name: str
    host: NDArray[Any]  # [batch, ...] pinned
    device: int  # address


class TensorRT:
    """One engine; `seconds` are the parts of the last run."""

    def __init__(
        self,
        engine: Path,
        onnx: str | None = None,
        library: Any = None,
        memory: Any = None,
        gpu: Gpu | None = None,
    ) -> None:
        """Check the sidecar, then open the engine; `onnx`: SHA-256 of what it must have been built from.

        Library, memory and GPU are those that are here, unless a test brings its own.
        """
        self.made = sidecar.read(engine)
        trt = library if library is not None else environment.load(self.made.provider)
        sidecar.check(engine, self.made, trt.__version__, gpu or cudart.gpu(), onnx)
        self.seconds: dict[str, float] = {}
        self._cuda = memory if memory is not None else Cuda()
        self._engine: Any = None
        self._context: Any = None
        self._inputs: list[Buffer] = []
        self._outputs: list[Buffer] = []
        self._captures = False  # whether the engine's work is ours to capture
        self._batch = self.made.batch
        self._graph: Graph | None = None  # of runs with the batch that was last
        self._runs = 0  # with that batch
        try:
            self._marks = [self._cuda.event() for _ in MARKS]
            self._open(trt, engine)
        except BaseException:  # an interrupt too: whoever fails to be made is never closed
            self._cuda.close()
            raise

    def run(self, inputs: Arrays) -> Arrays:
        """Inputs by name, [batch, ...] float32 -> outputs by name; a large batch goes in parts."""
        windows = len(inputs[self._inputs[0].name])
        parts, spent = [], dict.fromkeys(("copy in", "engine", "copy out"), 0.0)
        for first in range(0, windows, self.made.batch):
            parts.append(self._part(inputs, slice(first, min(first + self.made.batch, windows)), spent))
        self.seconds = spent
        return {buffer.name: np.concatenate([part[buffer.name] for part in parts]) for buffer in self._outputs}

    def close(self) -> None:
        """Give back the engine and its memory; after an error of CUDA as well as may be."""
        with suppress(BackendError):
            self._forget_graph()
        self._context = self._engine = None
        self._cuda.close()

    def _open(self, trt: Any, engine: Path) -> None:
        self._log = logger(trt)
        self._runtime = trt.Runtime(self._log)
        self._engine = self._runtime.deserialize_cuda_engine(engine.read_bytes())
        if self._engine is None:
            raise BackendError(f"{engine}: {self.made.provider} does not open it: {self._last_fault()}")
        self._context, self._captures = _context(trt, self._engine)
        if self._context is None:
            raise BackendError(f"{engine}: no memory to run it: {self._last_fault()}")
        self._context.nvtx_verbosity = trt.ProfilingVerbosity.NONE  # or what the inspector is told would cost each run
        self._inputs, self._outputs = self._buffers(trt)

    def _buffers(self, trt: Any) -> tuple[list[Buffer], list[Buffer]]:
        """Of inputs and outputs, made for the largest batch; the engine is told their addresses once."""
        names = [self._engine.get_tensor_name(number) for number in range(self._engine.num_io_tensors)]
        goes_in = [self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names]
        inputs = [name for name, yes in zip(names, goes_in, strict=True) if yes]
        for name in inputs:
            self._set_batch(name, self.made.batch)
        outputs = [name for name in names if name not in inputs]
        return [self._buffer(trt, name) for name in inputs], [self._buffer(trt, name) for name in outputs]

    def _buffer(self, trt: Any, name: str) -> Buffer:
        host = self._cuda.host(
            tuple(self._context.get_tensor_shape(name)), trt.nptype(self._engine.get_tensor_dtype(name))
        )
        device = self._cuda.device(host.nbytes)
        self._must(self._context.set_tensor_address(name, device), f"the address of {name}")
        return Buffer(name, host, device)

    def _part(self, inputs: Arrays, part: slice, spent: dict[str, float]) -> Arrays:
        """At most `batch` windows."""
        batch, started = part.stop - part.start, time.perf_counter()
        if batch != self._batch:
            self._change_batch(batch)
        for buffer in self._inputs:
            np.copyto(buffer.host[:batch], inputs[buffer.name][part], casting="same_kind")
        spent["copy in"] += time.perf_counter() - started
        self._queue(batch)
        self._cuda.wait()
        for name, begin, end in zip(spent, self._marks, self._marks[1:], strict=False):
            spent[name] += self._cuda.seconds(begin, end)
        return {buffer.name: buffer.host[:batch].astype(np.float32) for buffer in self._outputs}

    def _queue(self, batch: int) -> None:
        start, copied_in, ran, copied_out = self._marks
        self._cuda.record(start)
        for buffer in self._inputs:
            self._cuda.copy_in(buffer.device, buffer.host[:batch])
        self._cuda.record(copied_in)
        self._execute()
        self._cuda.record(ran)
        for buffer in self._outputs:
            self._cuda.copy_out(buffer.host[:batch], buffer.device)
        self._cuda.record(copied_out)

    def _execute(self) -> None:
        """As a graph from the second run on: the first settles what must not be captured."""
        if self._runs == 1 and self._captures:
            self._graph = self._captured()
        self._runs += 1
        if self._graph is not None:
            self._graph.launch()
        else:
            self._enqueue()

    def _captured(self) -> Graph | None:
        """An engine that cannot be captured runs without."""
        try:
            graph: Graph = self._cuda.capture(self._enqueue)
        except BackendError:
            self._captures = False
            return None
        return graph

    def _change_batch(self, batch: int) -> None:
        """A graph holds for the shapes that it was captured with."""
        self._forget_graph()
        for buffer in self._inputs:
            self._set_batch(buffer.name, batch)
        self._batch = batch

    def _forget_graph(self) -> None:
        graph, self._graph, self._runs = self._graph, None, 0
        if graph is not None:
            graph.close()

    def _enqueue(self) -> None:
        self._must(self._context.execute_async_v3(self._cuda.stream), "a run")

    def _set_batch(self, name: str, batch: int) -> None:
        self._must(self._context.set_input_shape(name, (batch, *self._engine.get_tensor_shape(name)[1:])), "the batch")

    def _must(self, done: bool, what: str) -> None:
        if not done:
            raise BackendError(f"{self.made.provider} refuses {what}: {self._last_fault()}")

    def _last_fault(self) -> str:
        return first_line(Exception(self._log.faults[-1])) if self._log.faults else "no reason given"


def _context(trt: Any, engine: Any) -> tuple[Any, bool]:
    """What runs the engine, and whether its work is ours to capture."""
    if hasattr(trt, "CudaGraphStrategy"):
        config = engine.create_runtime_config()
        config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        return engine.create_execution_context(config), False
    return engine.create_execution_context(), True
