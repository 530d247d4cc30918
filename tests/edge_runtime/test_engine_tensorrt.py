"""A build with TensorRT on a GPU, neither of them real: every setting that is asked for, and what is told of it."""

import json
import sys
from types import SimpleNamespace

import pytest

from edge_runtime.engine import build, environment, sidecar
from edge_runtime.engine.build import MIB, Order
from edge_runtime.engine.sidecar import Layer
from edge_runtime.errors import BackendError

TOLD = {"Layers": [{"Name": "conv", "Outputs": [{"Format/Datatype": "Int8"}]}], "Bindings": ["log_mel"]}
FLAGS = SimpleNamespace(EXPLICIT_BATCH=0, STRONGLY_TYPED=1)


class Profile(dict):
    def set_shape(self, name, *shapes):
        self[name] = shapes


class Config:
    def __init__(self):
        self.cleared, self.pools, self.profiles, self.timings = [], {}, [], None

    def clear_flag(self, flag):
        self.cleared.append(flag)

    def set_memory_pool_limit(self, pool, size):
        self.pools[pool] = size

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)

    def create_timing_cache(self, held):
        return held

    def set_timing_cache(self, cache, ignore_mismatch):
        self.timings = cache
        return True

    def get_timing_cache(self):
        return SimpleNamespace(serialize=lambda: self.timings + b"+this build")


class Board:
    """TensorRT 10.3 as a module; what it was asked for is kept."""

    __version__, __name__ = "10.3.0", "tensorrt"

    def __init__(self, inputs, plan=b"plan"):
        self.config, self.flags, self.parsed = Config(), None, None
        self.NetworkDefinitionCreationFlag = FLAGS
        self.BuilderFlag = SimpleNamespace(TF32="TF32", INT8="INT8", FP16="FP16")
        self.MemoryPoolType = SimpleNamespace(WORKSPACE="WORKSPACE")
        self.ProfilingVerbosity = SimpleNamespace(DETAILED="DETAILED")
        self.LayerInformationFormat = SimpleNamespace(JSON="JSON")
        self.ILogger = type("ILogger", (), {})
        self._inputs, self._plan = inputs, plan

    def Builder(self, log):  # noqa: N802
        def create_network(flags):
            self.flags = flags
            return SimpleNamespace(num_inputs=len(self._inputs), get_input=lambda number: self._inputs[number])

        return SimpleNamespace(
            create_network=create_network,
            create_builder_config=lambda: self.config,
            create_optimization_profile=Profile,
            build_serialized_network=lambda network, config: self._plan,
        )

    def OnnxParser(self, network, log):  # noqa: N802
        return SimpleNamespace(parse_from_file=lambda file: True)

    def Runtime(self, log):  # noqa: N802
        inspector = SimpleNamespace(get_engine_information=lambda form: json.dumps(TOLD))
        return SimpleNamespace(
            deserialize_cuda_engine=lambda plan: SimpleNamespace(create_engine_inspector=lambda: inspector)
        )


def tensor(*shape):
    return SimpleNamespace(name="log_mel", shape=shape)


@pytest.fixture
def order(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"onnx")
    (tmp_path / "timings").write_bytes(b"before")
    return Order(
        str(tmp_path / "a.onnx"), str(tmp_path / "a.engine"), "tensorrt", "int8", batch=4, workspace_mib=256,
        timing_cache=str(tmp_path / "timings"),
    )  # fmt: skip


@pytest.fixture
def board(orin, monkeypatch):
    def placed(*inputs, **changes):
        monkeypatch.setitem(sys.modules, "tensorrt", found := Board(inputs, **changes))
        return found

    return placed


def test_all_that_is_asked_for_is_asked_of_tensorrt(board, order, tmp_path):
    trt = board(tensor(-1, 31, 128))
    build.build(order)
    assert trt.flags == 0b11
    assert trt.config.cleared == ["TF32"]
    assert trt.config.pools == {"WORKSPACE": 256 * MIB}
    assert trt.config.profiles == [{"log_mel": ((1, 31, 128), (4, 31, 128), (4, 31, 128))}]
    assert trt.config.profiling_verbosity == "DETAILED"
    assert (tmp_path / "a.engine").read_bytes() == b"plan"
    assert (tmp_path / "timings").read_bytes() == b"before+this build"


def test_what_made_it_is_told_with_gpu_release_and_layers(board, order, monkeypatch):
    board(tensor(-1, 31, 128))
    monkeypatch.setattr(sidecar, "l4t", lambda: "R36 (release), REVISION: 4.3")
    monkeypatch.setattr(build.cudart, "version", lambda: "12.6")
    made = build.build(order)
    assert (made.gpu, made.compute_capabilities, made.l4t, made.cuda) == (
        "Orin", ["8.7"], "R36 (release), REVISION: 4.3", "12.6",
    )  # fmt: skip
    assert (made.tensorrt, made.precision, made.batch, made.workspace_mib) == ("10.3.0", "int8", 4, 256)
    assert made.layers == [Layer("conv", "Int8")]


def test_nothing_is_asked_for_that_was_not_ordered(board, order, tmp_path):
    trt = board(tensor(-1, 31, 128))
    build.build(Order(order.onnx, order.engine, "tensorrt"))
    assert (trt.config.pools, trt.config.timings) == ({}, None)
    assert (tmp_path / "timings").read_bytes() == b"before"


@pytest.mark.parametrize("shape", [(1, 31, 128), (-1, -1, 128)])
def test_a_graph_with_a_fixed_batch_or_a_free_length_is_refused(board, order, shape):
    board(tensor(*shape))
    with pytest.raises(BackendError, match=r"input log_mel has the shape .*, wanted 4 windows of a fixed shape"):
        build.build(order)


def test_ahead_of_time_is_refused_where_tensorrt_builds_for_its_own_gpu(board, order):
    board(tensor(-1, 31, 128))
    with pytest.raises(BackendError, match="builds for its own GPU alone; --compute-capability wants tensorrt-rtx"):
        build.build(Order(order.onnx, order.engine, "tensorrt", compute_capabilities=["8.6"]))


def test_a_builder_that_does_not_begin_is_an_error_in_words(board, order, monkeypatch):
    trt = board()
    monkeypatch.setattr(trt, "Builder", lambda log: int([]))  # TypeError, as the binding raises it
    with pytest.raises(BackendError, match=r"tensorrt 10\.3\.0 cannot begin to build: no reason given"):
        build.build(order)


def test_a_library_that_is_found_but_does_not_load_says_why(monkeypatch, tmp_path):
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open shared object file')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(
        BackendError, match=r"tensorrt cannot be imported \(libnvinfer\.so\.10: cannot open .*pip install"
    ):
        environment.load("tensorrt")
