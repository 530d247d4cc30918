"""The CPU listens until an engine is ready and again when it fails; no window is lost, and every change is told."""

import threading

import numpy as np
import pytest

from edge_runtime.backends import open_backend
from edge_runtime.backends.ort import OnnxRuntime
from edge_runtime.backends.standby import Standby
from edge_runtime.backends.trt import TensorRT
from edge_runtime.bundle import open_bundle
from edge_runtime.errors import BackendError, MissingError
from edge_runtime.listening import events
from tests.conftest import hum
from tests.edge_runtime.fake_tensorrt import ORIN, HostMemory, tensorrt
from tests.edge_runtime.networks import pack_network, write_engine
from tests.edge_runtime.posts import Scripted, block, post, service

SECONDS, WINDOWS = 6.0, 20  # a window every 0.256 s, the first after 1.024 s


@pytest.fixture
def bundle(model_folder, tmp_path):
    return open_bundle(pack_network(model_folder, tmp_path / "network.bundle"))


@pytest.fixture
def engine(tmp_path):
    """An engine whose outputs `fault` may change, or raise at."""

    def made(fault=lambda array: array):
        memory = HostMemory()
        file = write_engine(tmp_path / "a.engine")
        return TensorRT(file, library=tensorrt(memory, fault), memory=memory, gpu=ORIN)

    return made


class Engines:
    """Gives these, one each time it is asked; an error is raised, an event waited for."""

    def __init__(self, *script):
        self.script, self.discarded, self.asked = list(script), [], 0

    def open(self, stop):
        self.asked += 1
        found = self.script.pop(0)
        while isinstance(found, threading.Event):
            assert found.wait(20)
            found = self.script.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def discard(self, backend):
        self.discarded.append(backend)


class Stream(Scripted):
    """A recording in blocks of a tenth of a second; `at` is called with the number of each before it is heard."""

    def __init__(self, at=lambda number: None):
        parts = np.split(hum(SECONDS, 5), int(10 * SECONDS))
        super().__init__(*[block(part, new=None if number else "stream") for number, part in enumerate(parts)])
        self.at, self.number = at, 0

    def take(self):
        self.at(self.number)
        self.number += 1
        return super().take()


def listen(bundle, backend, changes=tuple, at=lambda number: None):
    told = []
    service([post(bundle, Stream(at), backend=backend)], told.append, backends=changes).listen(threading.Event())
    backend.close()
    return told


def on_standby(bundle, engines, at=None, tries=3):
    """Listen with what Engines gives -> everything told; `at` by default waits for the thread before each block."""
    standby = Standby(OnnxRuntime(bundle.network), engines, tries=tries, pause_s=0.0)
    return listen(bundle, standby, standby.changes, at or (lambda number: standby._thread.join(20)))


def windows(told):
    return [event for event in told if isinstance(event, events.Window)]


def scores(told):
    return np.array([event.score for event in windows(told)])


def takeovers(told):
    return [event for event in told if isinstance(event, events.Backend)]


def same_record(told, bundle):
    """Every window is there, with the score that the CPU alone gives it."""
    alone = listen(bundle, open_backend(bundle.network, bundle.model))
    places = [(event.start_s, event.end_s) for event in windows(told)]
    assert places == [(event.start_s, event.end_s) for event in windows(alone)]
    assert len(places) == WINDOWS
    np.testing.assert_allclose(scores(told), scores(alone), rtol=1e-5)  # two runtimes add in another order
    return True


def failing_from(window, how):
    """A fault that comes with the so-manieth window."""
    heard = []

    def fault(array):
        heard.append(array)
        return array if len(heard) < window else how(array)

    return fault


def raises(array):
    raise RuntimeError("CUDA: cudaStreamSynchronize: an illegal memory access was encountered")


def not_numbers(array):
    return np.full_like(array, np.nan)


@pytest.mark.parametrize(
    ("how", "words"), [(raises, "illegal memory access"), (not_numbers, "embedding is not finite")]
)
def test_an_engine_that_fails_while_listening_loses_no_window(bundle, engine, how, words):
    engines = Engines(engine(failing_from(8, how)), *[BackendError("cannot be built")] * 2)
    told = on_standby(bundle, engines)
    assert same_record(told, bundle)
    first, taken, failed, *rest = takeovers(told)
    assert [first.name, taken.name, failed.name] == ["onnxruntime", "tensorrt", "onnxruntime"]
    assert words in failed.reason and "tried again" in failed.reason
    assert failed.at_s == windows(told)[7].end_s  # told with the very window that the engine failed at
    assert len(rest) == 2 and "it is not tried again" in rest[-1].reason
    assert (engines.asked, len(engines.discarded)) == (3, 1)


def test_an_engine_that_becomes_ready_in_mid_stream_takes_over_between_two_windows(bundle, engine):
    ready, heard = threading.Event(), []
    engines = Engines(ready, engine(lambda array: heard.append(array) or array))
    standby = Standby(OnnxRuntime(bundle.network), engines)

    def at(number):
        if number == 30:
            ready.set()
            standby._thread.join(20)

    told = listen(bundle, standby, standby.changes, at)
    assert same_record(told, bundle)
    _, taken = takeovers(told)
    after = [event for event in windows(told) if event.end_s >= taken.at_s]
    assert 3.0 < taken.at_s <= 3.0 + 0.256
    assert len(heard) == len(after) == 12


def test_the_next_engine_takes_over_from_the_one_that_failed(bundle, engine):
    told = on_standby(bundle, Engines(engine(failing_from(4, raises)), engine()))
    assert same_record(told, bundle)
    assert [event.name for event in takeovers(told)] == ["onnxruntime", "tensorrt", "onnxruntime", "tensorrt"]


def test_three_failures_and_it_is_not_tried_for_ever(bundle, engine):
    engines = Engines(*[engine(failing_from(1, raises)) for _ in range(9)])
    told = on_standby(bundle, engines)
    assert same_record(told, bundle)
    assert engines.asked == 3
    assert "it is not tried again" in takeovers(told)[-1].reason


def test_failures_of_long_ago_do_not_count(bundle, engine, monkeypatch):
    monkeypatch.setattr("edge_runtime.backends.standby.LONG", 3)
    engines = Engines(*[engine(failing_from(4, raises)) for _ in range(9)])
    assert same_record(on_standby(bundle, engines), bundle)
    assert engines.asked > 3


def test_what_is_not_installed_is_not_tried_again(bundle):
    engines = Engines(MissingError("no TensorRT here; sudo apt install nvidia-jetpack"))
    told = on_standby(bundle, engines)
    assert same_record(told, bundle)
    assert engines.asked == 1
    assert takeovers(told)[-1].reason == (
        "no engine: no TensorRT here; sudo apt install nvidia-jetpack; it is not tried again"
    )


def test_closing_ends_a_build_that_is_under_way(bundle):
    class Building:
        def open(self, stop):
            assert stop.wait(20)
            raise BackendError("building was stopped")

    standby = Standby(OnnxRuntime(bundle.network), Building())
    standby.close()
    assert not standby._thread.is_alive()
    assert [change.name for change in standby.changes()] == ["onnxruntime"]


def test_an_engine_that_was_ready_but_never_ran_is_closed(bundle, engine):
    ready = engine()
    standby = Standby(OnnxRuntime(bundle.network), Engines(ready))
    standby._thread.join(20)
    standby.close()
    assert ready._cuda.closed
