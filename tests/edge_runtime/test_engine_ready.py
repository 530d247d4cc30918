"""From a bundle to an engine: the one in the cache, or a new one; never one that decides otherwise."""

import hashlib
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_runtime import bundle as bundles
from edge_runtime import machine_file
from edge_runtime.backends.cudart import CudaError
from edge_runtime.bundle import open_bundle
from edge_runtime.engine import cache, environment, ready, sidecar
from edge_runtime.engine.replay import DecisionError
from edge_runtime.errors import BackendError, MissingError
from tests.conftest import hum, write_wav
from tests.edge_runtime.conftest import of, scores
from tests.edge_runtime.networks import TIME_MEAN, pack_network, write_engine

FAN = ("--machine", "fan_section_00")


@pytest.fixture
def folder(model_folder, tmp_path):
    return pack_network(model_folder, tmp_path / "network.bundle")


@pytest.fixture
def installed(orin, folder, tmp_path):
    """An engine in its place in the cache."""
    order = ready.order(folder / bundles.TRT, "int8", "tensorrt", environment.look(), batch=4)
    return write_engine(tmp_path / order.engine)


class Builder:
    """Builds in no time, in this process; an error of the script is raised instead."""

    def __init__(self, *script):
        self.orders, self.script = [], list(script)

    @contextmanager
    def __call__(self, order, limits, stop):
        self.orders.append(order)
        if self.script and (error := self.script.pop(0)):
            raise error
        folder = Path(order.engine).parent / "building"
        engine = write_engine(folder / "new.engine", precision=order.precision, batch=order.batch)
        yield engine, sidecar.read(engine)
        shutil.rmtree(folder)


def engines(folder, *script):
    builder = Builder(*script)
    return ready.Engines(open_bundle(folder), builder), builder


def in_cache():
    return [file.name for file in cache.engines(sha256_of_network())]


def sha256_of_network():
    return hashlib.sha256(TIME_MEAN).hexdigest()


def test_the_engine_in_the_cache_is_taken(installed, folder):
    found, builder = engines(folder)
    backend = found.open(threading.Event())
    assert backend.made == sidecar.read(installed)
    assert builder.orders == []


def test_without_an_engine_one_is_built_and_kept_for_the_next_time(orin, folder):
    found, builder = engines(folder)
    backend = found.open(threading.Event())
    assert [order.precision for order in builder.orders] == ["int8"]
    assert in_cache() == ["tensorrt-10.3.0-orin-cc8.7-b1.engine"]
    again, builder = engines(folder)
    made = again.open(threading.Event()).made
    assert builder.orders == []
    assert made.engine == backend.made.engine
    assert made.replayed == "golden clip decided as recorded for 2 machines"


@pytest.mark.parametrize(
    "changes",
    [{"tensorrt": "8.6.1"}, {"gpu": "Xavier"}, {"engine": "0" * 64}, {"onnx": "0" * 64}],
    ids=lambda one: next(iter(one)),
)
def test_an_engine_that_does_not_fit_is_not_opened_but_built_again(orin, folder, tmp_path, changes):
    order = ready.order(folder / bundles.TRT, "int8", "tensorrt", environment.look())
    write_engine(tmp_path / order.engine, **changes)
    found, builder = engines(folder)
    found.open(threading.Event())
    assert len(builder.orders) == 1
    assert sidecar.read(tmp_path / order.engine).gpu == "Orin"


def test_of_several_that_fit_the_fastest_is_taken(orin, folder):
    for name, milliseconds in (("a", 0.9), ("b", 0.4), ("c", None)):
        write_engine(cache.engines_of(sha256_of_network()) / f"{name}.engine", milliseconds=milliseconds)
    assert ready.installed(folder, environment.look())[0].name == "b.engine"


def test_an_engine_that_decides_otherwise_is_removed_and_the_next_precision_is_built(installed, orin, folder, tmp_path):
    orin.fault = np.zeros_like
    found, builder = engines(folder)
    with pytest.raises(DecisionError, match=r"output embedding differs from the golden clip's by 1 with 1 windows"):
        found.open(threading.Event())
    assert not installed.exists() and not sidecar.side_file(installed).exists()
    orin.fault = lambda array: array
    assert found.open(threading.Event()).made.precision == "fp32"
    assert [order.precision for order in builder.orders] == ["int8", "fp32"]


def test_an_engine_stays_where_the_gpu_failed_and_not_it(installed, orin, folder):
    def fault(_array):
        raise CudaError("CUDA: cudaMalloc: out of memory")

    orin.fault = fault
    found, builder = engines(folder)
    with pytest.raises(CudaError, match="out of memory"):
        found.open(threading.Event())
    assert installed.exists() and builder.orders == []


def pack_with_threshold(model_folder, out, ratio):
    """A bundle whose threshold is so many times the golden clip's score."""
    pack_network(model_folder, out)
    score = float(open_bundle(out).golden()["score.fan_section_00"][0])
    shutil.rmtree(out)
    for file in (model_folder / bundles.MACHINES).glob("*.npz"):
        machine = machine_file.load_machine(file)
        machine_file.save_machine(file, msgspec.structs.replace(machine, threshold=ratio * score))
    return open_bundle(pack_network(model_folder, out))


def pushed_away(bundle):
    """A fault that moves an embedding by four tenths of its length, away from what is normal."""
    wanted, normal = bundle.golden()["output.embedding"][0], bundle.machine("fan_section_00").normal_level
    away = (wanted - normal) / np.linalg.norm(wanted - normal)
    return lambda array: array + (0.4 * np.linalg.norm(wanted) * away).astype(np.float32)


def test_a_decision_that_is_overturned_is_refused(orin, model_folder, tmp_path):
    bundle = pack_with_threshold(model_folder, tmp_path / "far.bundle", 1.2)
    orin.fault = pushed_away(bundle)
    with pytest.raises(DecisionError, match=r"decision on fan_section_00 differs .*try another --precision"):
        engines(bundle.folder)[0].open(threading.Event())
    assert in_cache() == []


def test_a_decision_on_the_threshold_may_fall_either_way(orin, model_folder, tmp_path):
    bundle = pack_with_threshold(model_folder, tmp_path / "near.bundle", 1.05)
    orin.fault = pushed_away(bundle)
    engines(bundle.folder)[0].open(threading.Event())
    assert len(in_cache()) == 1


def test_what_failed_while_listening_is_removed_from_the_cache_and_nothing_else(installed, folder):
    faster = write_engine(installed.with_name("faster.engine"), milliseconds=0.1)
    found, _ = engines(folder)
    found.discard(found.open(threading.Event()))
    assert (installed.exists(), faster.exists(), sidecar.side_file(faster).exists()) == (True, False, False)


def test_an_error_of_the_build_is_handed_on(orin, folder):
    found, _ = engines(folder, BackendError("model.trt.onnx: a workspace of 1 MiB is too small"))
    with pytest.raises(BackendError, match="too small"):
        found.open(threading.Event())
    assert in_cache() == []


def test_a_bundle_without_a_network_has_nothing_to_build(packed):
    with pytest.raises(BackendError, match="a detector without a network: there is nothing to build"):
        ready.Engines(open_bundle(packed))


def test_without_a_gpu_no_engine_is_looked_for_again(folder, monkeypatch):
    monkeypatch.setattr(environment, "look", lambda: environment.Here([], None, "CUDA: no NVIDIA driver here", False))
    with pytest.raises(MissingError, match=r"no TensorRT here .*no NVIDIA driver here.*pip install"):
        engines(folder)[0].open(threading.Event())


def test_run_listens_on_the_engine_and_scores_as_the_cpu_does(installed, folder, tmp_path, type_in):
    file = write_wav(tmp_path / "a.wav", hum(30, seed=9))
    _, alone, _ = type_in("run", folder, *FAN, "--file", file)
    code, told, err = type_in(
        "run", folder, *FAN, "--file", file, "--backend", "tensorrt", "--realtime", "--seconds", 2
    )
    assert (code, err) == (0, "")
    assert "tensorrt" in [event["name"] for event in of(told, "backend")]
    expected = scores(of(alone, "window"))[: len(of(told, "window"))]
    np.testing.assert_allclose(scores(of(told, "window")), expected, rtol=1e-5)


def test_run_listens_on_the_cpu_where_there_is_no_tensorrt_and_says_why(folder, tmp_path, type_in):
    file = write_wav(tmp_path / "a.wav", hum(3, seed=9))
    code, told, _ = type_in("run", folder, *FAN, "--file", file, "--backend", "tensorrt")
    assert (code, len(of(told, "window"))) == (0, 8)
    reasons = [event["reason"] for event in of(told, "backend")]
    assert "it is not tried again" in reasons[-1]
    assert "no NVIDIA driver" in reasons[-1] or "cuda-bindings" in reasons[-1]


def test_run_listens_to_a_bundle_without_a_network_whatever_backend_is_asked_for(packed, type_in, tmp_path):
    """It needs no engine, and must not keep a whole site from being heard."""
    file = write_wav(tmp_path / "a.wav", hum(3, seed=9))
    code, told, _ = type_in("run", packed, *FAN, "--file", file, "--backend", "tensorrt")
    assert code == 0 and told[-1]["windows"] > 0


def test_check_replays_the_golden_clip_on_the_engine(installed, orin, folder, capsys):
    from edge_runtime.__main__ import main

    assert main(["check", str(folder), "--backend", "tensorrt"]) == 0
    assert "decision on fan_section_00: differs by 0" in capsys.readouterr().out
    orin.fault = np.zeros_like
    assert main(["check", str(folder), "--backend", "tensorrt"]) == 1
    assert "output embedding differs by 1, 0.5 is allowed" in capsys.readouterr().out


def test_check_without_an_engine_says_how_to_build_one(orin, folder, capsys):
    from edge_runtime.__main__ import main
    from edge_runtime.cli import run_command

    assert run_command(main, ["check", str(folder), "--backend", "tensorrt"]) == 2
    assert f"no engine for it here; python export/build_engine.py {folder}" in capsys.readouterr().err
