"""build_engine.py on a GPU (of host memory): an engine is replayed, timed and kept, or refused and gone."""

import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.engine import child, environment, sidecar
from edge_runtime.engine.environment import Here
from edge_runtime.errors import BackendError
from export import build_engine
from tests.edge_runtime.fake_tensorrt import ORIN
from tests.edge_runtime.networks import write_engine
from tests.export.engines.conftest import left


class Building:
    """Builds in no time, in this process; by precision, what is raised instead."""

    def __init__(self, **errors):
        self.errors, self.orders = errors, []

    @contextmanager
    def __call__(self, order, limits, stop=None):
        self.orders.append(order)
        if order.precision in self.errors:
            raise self.errors[order.precision]
        folder = Path(order.engine).parent / f"building-{order.precision}"
        engine = write_engine(folder / "new.engine", precision=order.precision, batch=order.batch)
        try:
            yield engine, sidecar.read(engine)
        finally:
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()


@pytest.fixture
def building(monkeypatch, orin):
    def begin(**errors):
        monkeypatch.setattr(child, "built", found := Building(**errors))
        return found

    return begin


def test_on_a_gpu_an_engine_is_replayed_timed_and_installed(building, folder, out, type_in):
    found = building()
    code, told, _ = type_in(folder, "-e", out, "--batch", 2)
    assert (code, left(out)) == (0, ["a.engine", "a.engine.json"])
    assert [(order.precision, order.batch, order.provider) for order in found.orders] == [("int8", 2, "tensorrt")]
    made = sidecar.read(out)
    assert made.replayed == "golden clip decided as recorded for 2 machines"
    assert made.milliseconds > 0
    assert "tensorrt 10.3.0, Orin of compute capability 8.7" in told


def test_an_engine_that_decides_otherwise_is_not_kept_and_the_exit_code_is_1(building, orin, folder, out, type_in):
    building()
    orin.fault = np.zeros_like
    code, told, err = type_in(folder, "-e", out)
    assert (code, told, left(out)) == (1, "", [])
    assert "output embedding differs" in err and "it is not installed" in err


def test_best_keeps_the_fastest_and_prints_all(building, folder, out, type_in):
    building()
    code, told, _ = type_in(folder, "-e", out, "-p", "best")
    assert (code, left(out)) == (0, ["a.engine", "a.engine.json"])
    rows = told.splitlines()[1:3]
    kept = [row.split()[0] for row in rows if "kept: " in row and "not kept" not in row]
    speeds = {row.split()[0]: float(row.split()[1]) for row in rows}
    assert set(speeds) == {"int8", "fp32"}
    assert kept == [sidecar.read(out).precision]
    assert speeds[kept[0]] == min(speeds.values())
    assert "not kept: slower than" in told


def test_best_goes_on_when_one_precision_cannot_be_built(building, folder, out, type_in):
    building(int8=BackendError("model.trt.onnx: tensorrt builds no engine of it"))
    code, told, _ = type_in(folder, "-e", out, "-p", "best")
    assert (code, sidecar.read(out).precision) == (0, "fp32")
    assert "int8" in told and "not kept: model.trt.onnx: tensorrt builds no engine of it" in told


def test_best_without_any_that_decides_alike_keeps_none(building, orin, folder, out, type_in):
    building()
    orin.fault = np.zeros_like
    code, _, err = type_in(folder, "-e", out, "-p", "best")
    assert (code, left(out)) == (1, [])
    assert err.count("differs from the golden clip's") == 2


def test_best_wants_a_gpu_to_measure_on(folder, type_in, monkeypatch):
    monkeypatch.setattr(environment, "look", lambda: Here(["tensorrt-rtx"], None, "no driver", False))
    code, _, err = type_in(folder, "-p", "best", "--compute-capability", "8.6")
    assert code == 2 and "--precision best measures on the GPU that is here" in err


def test_an_engine_for_other_gpus_is_not_replayed_on_this_one(building, folder, out, type_in, monkeypatch):
    monkeypatch.setattr(environment, "look", lambda: Here(["tensorrt", "tensorrt-rtx"], ORIN, "", True))
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", sys.modules["tensorrt"])
    found = building()
    monkeypatch.setattr(build_engine, "_tried", lambda engine, made, here, bundle: made)
    code, _, _ = type_in(folder, "-e", out, "--compute-capability", "8.6", "8.9")
    assert code == 0
    assert [(order.provider, order.compute_capabilities) for order in found.orders] == [
        ("tensorrt-rtx", ["8.6", "8.9"])
    ]
