"""An engine as the backend runs it: addresses, shapes, the order of calls, what is refused before it is opened."""

import numpy as np
import pytest

from edge_runtime.backends import Pooled, cudart
from edge_runtime.backends.cudart import Gpu
from edge_runtime.backends.trt import TensorRT
from edge_runtime.engine import sidecar
from edge_runtime.errors import BackendError
from tests.edge_runtime.fake_tensorrt import ORIN, HostMemory, tensorrt
from tests.edge_runtime.networks import write_engine

FULL = ["copy in", "execute", "copy out", "wait"]
REPLAYED = ["copy in", "launch", "copy out", "wait"]


@pytest.fixture
def file(tmp_path):
    return write_engine(tmp_path / "a.engine")


def opened(file, memory=None, **changes):
    memory = memory or HostMemory()
    return TensorRT(file, **{"library": tensorrt(memory), "memory": memory, "gpu": ORIN, **changes})


def sound(windows, seed=0):
    return {"log_mel": np.random.default_rng(seed).standard_normal((windows, 31, 128)).astype(np.float32)}


def equal(backend, inputs):
    found = backend.run(inputs)["embedding"]
    return found.dtype == np.float32 and np.allclose(found, inputs["log_mel"].mean(axis=1), atol=1e-6)


def test_every_batch_up_to_the_largest_gives_its_own_outputs(file):
    backend = opened(file)
    for seed, windows in enumerate([1, 1, 1, 4, 4, 2, 1, 3]):
        assert equal(backend, sound(windows, seed)), windows


def test_more_windows_than_the_engine_takes_go_in_parts(file):
    assert equal(opened(file), sound(11))


def test_the_first_run_is_queued_call_by_call_and_later_ones_as_a_graph(file):
    memory = HostMemory()
    backend = opened(file, memory)
    runs = []
    for seed in range(3):
        memory.calls.clear()
        assert equal(backend, sound(4, seed))
        runs.append(list(memory.calls))
    assert runs == [FULL, ["copy in", "capture", "execute", *REPLAYED[1:]], REPLAYED]


def test_another_batch_is_told_once_and_ends_the_graph(file):
    memory = HostMemory()
    backend = opened(file, memory)
    for _ in range(3):
        backend.run(sound(4))
    memory.calls.clear()
    backend.run(sound(2))
    assert memory.calls == ["graph closed", "log_mel 2", *FULL]
    memory.calls.clear()
    assert equal(backend, sound(2, 5))
    assert memory.calls == ["copy in", "capture", "execute", *REPLAYED[1:]]


def test_an_engine_that_cannot_be_captured_runs_without_a_graph(file):
    memory = HostMemory(capturable=False)
    backend = opened(file, memory)
    for seed in range(3):
        memory.calls.clear()
        assert equal(backend, sound(4, seed))
        assert memory.calls == FULL


def test_no_run_allocates_and_closing_frees_all(file):
    memory = HostMemory()
    backend = opened(file, memory)
    before = memory.allocations
    for windows in (4, 1, 9, 3):
        backend.run(sound(windows))
    assert (before, memory.allocations) == (4, 4)  # on the host and on the GPU, one for each of two tensors
    backend.close()
    assert memory.closed


def test_outputs_of_one_run_are_not_changed_by_the_next(file):
    backend = opened(file)
    first = backend.run(sound(2, 1))["embedding"]
    kept = first.copy()
    backend.run(sound(2, 2))
    assert np.array_equal(first, kept)


def test_it_says_where_the_time_of_a_run_went(file):
    backend = opened(file)
    backend.run(sound(9))
    assert list(backend.seconds) == ["copy in", "engine", "copy out"]
    assert all(value > 0 for value in backend.seconds.values())
    assert Pooled(None, backend).seconds == backend.seconds


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tensorrt": "8.6.1"}, r"built by tensorrt 8\.6\.1, here is 10\.3\.0"),
        (
            {"gpu": "Xavier", "compute_capabilities": ["7.2"]},
            r"built for Xavier of compute capability 7\.2, here is Orin",
        ),
        ({"gpu": "Orin Nano"}, r"built for Orin Nano of compute capability 8\.7, here is Orin of 8\.7"),
        ({"engine": "0" * 64}, r"SHA-256 \w{12}, its sidecar says 000000000000"),
    ],
)
def test_an_engine_of_another_place_is_refused_before_it_is_opened(tmp_path, changes, words):
    file, memory = write_engine(tmp_path / "a.engine", **changes), HostMemory()
    library = tensorrt(memory)
    library.Runtime = None  # to open it would be an error
    with pytest.raises(BackendError, match=words + r".*; build it again: python export/build_engine\.py"):
        opened(file, memory, library=library)
    assert memory.allocations == 0


def test_an_engine_of_another_network_is_refused(file):
    with pytest.raises(BackendError, match=r"built from ONNX \w{12}, the bundle has ffffffffffff"):
        opened(file, onnx="f" * 64)


def test_an_engine_without_a_sidecar_is_refused(file):
    sidecar.side_file(file).unlink()
    with pytest.raises(BackendError, match=r"no a\.engine\.json beside it says what made it"):
        opened(file)


def test_an_engine_that_tensorrt_does_not_open_is_an_error_with_its_words(tmp_path):
    file, memory = write_engine(tmp_path / "a.engine", b"damaged"), HostMemory()
    with pytest.raises(BackendError, match=r"tensorrt does not open it: Error Code 1"):
        opened(file, memory)
    assert memory.closed


def test_an_engine_built_ahead_of_time_runs_on_every_gpu_it_was_built_for(tmp_path):
    file = write_engine(tmp_path / "a.engine", gpu="", compute_capabilities=["8.6", "8.9"])
    assert equal(opened(file, gpu=Gpu("NVIDIA GeForce RTX 4070", "8.9")), sound(2))
    with pytest.raises(BackendError, match=r"built for GPUs of compute capability 8\.6, 8\.9, here is Orin of 8\.7"):
        opened(file)


class Cudart:
    """What cuda-bindings answers where a call fails."""

    @staticmethod
    def cudaMalloc(size):  # noqa: N802
        return (Status(), None)

    @staticmethod
    def cudaGetErrorString(status):  # noqa: N802
        return (0, b"out of memory")


class Status:
    name = "cudaErrorMemoryAllocation"

    def __int__(self):
        return 2


def test_an_error_of_cuda_names_the_call_and_the_error():
    with pytest.raises(BackendError, match="CUDA: cudaMalloc: cudaErrorMemoryAllocation: out of memory"):
        cudart.checked(Cudart, "cudaMalloc", 1)
