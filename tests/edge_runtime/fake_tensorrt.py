"""TensorRT and CUDA for machines without a GPU: an engine is an ONNX file that onnxruntime runs, a GPU is host memory.

What is queued on the stream happens when it is waited for, in the order in which it was queued, and what reads an
address reads what lies there then: a backend that copies too late, waits too early or binds the wrong address gives
wrong numbers. `calls` says what was called, `allocations` counts buffers.
"""

import ctypes
import time
from enum import Enum
from types import SimpleNamespace

import numpy as np
import onnxruntime

from edge_runtime.backends.cudart import Gpu
from edge_runtime.errors import BackendError

ORIN = Gpu("Orin", "8.7")
VERSION = "10.3.0"


class HostMemory:
    """Stands for edge_runtime.backends.cudart.Cuda."""

    def __init__(self, capturable=True):
        self.stream, self.capturable = 7, capturable
        self.calls, self.allocations, self.closed = [], 0, False
        self._queue, self._kept = [], {}

    def device(self, size):
        self.allocations += 1
        buffer = (ctypes.c_ubyte * size)()
        self._kept[ctypes.addressof(buffer)] = buffer
        return ctypes.addressof(buffer)

    def host(self, shape, kind):
        self.allocations += 1
        return np.full(shape, np.nan, kind)

    def copy_in(self, address, array):
        self.queue("copy in", lambda: ctypes.memmove(address, array.ctypes.data, array.nbytes))

    def copy_out(self, array, address):
        self.queue("copy out", lambda: ctypes.memmove(array.ctypes.data, address, array.nbytes))

    def event(self):
        return SimpleNamespace(at=None)

    def record(self, event):
        self._queue.append(lambda: setattr(event, "at", time.perf_counter()))

    def seconds(self, start, end):
        return end.at - start.at

    def queue(self, name, work):
        self.calls.append(name)
        self._queue.append(work)

    def wait(self):
        self.calls.append("wait")
        work, self._queue = self._queue, []
        for one in work:
            one()

    def capture(self, work):
        if not self.capturable:
            raise BackendError("CUDA: cudaStreamEndCapture: operation not permitted")
        self.calls.append("capture")
        before, self._queue = self._queue, []
        work()
        graph, self._queue = self._queue, before
        return SimpleNamespace(
            launch=lambda: self.queue("launch", lambda: [one() for one in graph]),
            close=lambda: self.calls.append("graph closed"),
        )

    def close(self):
        self.closed = True


class Context:
    def __init__(self, session, memory, fault):
        self._session, self._memory, self._fault = session, memory, fault
        self._batch, self._addresses = 1, {}

    def set_input_shape(self, name, shape):
        self._memory.calls.append(f"{name} {shape[0]}")
        self._batch = shape[0]
        return True

    def get_tensor_shape(self, name):
        (found,) = [one for one in (*self._session.get_inputs(), *self._session.get_outputs()) if one.name == name]
        return (self._batch, *found.shape[1:])

    def set_tensor_address(self, name, address):
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream):
        assert stream == self._memory.stream
        shapes = {one.name: self.get_tensor_shape(one.name) for one in self._session.get_inputs()}

        def work():
            found = self._session.run(None, {name: self._at(name, shape) for name, shape in shapes.items()})
            for one, array in zip(self._session.get_outputs(), found, strict=True):
                np.copyto(self._at(one.name, array.shape), self._fault(array))

        self._memory.queue("execute", work)
        return True

    def _at(self, name, shape):
        size = int(np.prod(shape)) * 4
        return np.frombuffer((ctypes.c_ubyte * size).from_address(self._addresses[name]), np.float32).reshape(shape)


class Engine:
    def __init__(self, session, memory, fault):
        self._session, self._memory, self._fault = session, memory, fault
        self._tensors = [*session.get_inputs(), *session.get_outputs()]
        self.num_io_tensors = len(self._tensors)

    def get_tensor_name(self, number):
        return self._tensors[number].name

    def get_tensor_mode(self, name):
        return Mode.INPUT if name in [one.name for one in self._session.get_inputs()] else Mode.OUTPUT

    def get_tensor_dtype(self, name):
        return "float32"

    def get_tensor_shape(self, name):
        (found,) = [one for one in self._tensors if one.name == name]
        return (-1, *found.shape[1:])

    def create_execution_context(self):
        return Context(self._session, self._memory, self._fault)


class Mode(Enum):
    INPUT = 1
    OUTPUT = 2


class Log:
    def __init__(self):
        pass


def tensorrt(memory, fault=lambda array: array):
    """The module; `fault` is what becomes of each output, which may raise."""

    class Runtime:
        def __init__(self, log):
            self._log = log

        def deserialize_cuda_engine(self, plan):
            try:
                session = onnxruntime.InferenceSession(plan, providers=["CPUExecutionProvider"])
            except Exception as error:
                self._log.log(SimpleNamespace(name="ERROR"), f"Error Code 1: {error}")
                return None
            return Engine(session, memory, fault)

    return SimpleNamespace(
        __version__=VERSION,
        ILogger=Log,
        Runtime=Runtime,
        TensorIOMode=Mode,
        ProfilingVerbosity=SimpleNamespace(NONE=0),
        nptype=np.dtype,
    )
