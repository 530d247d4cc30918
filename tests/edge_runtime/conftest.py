"""What the tests of listening share: commands as they are typed, a fault, a microphone."""

import json
import sys

import numpy as np
import pytest

from edge_runtime.__main__ import main
from edge_runtime.bundle import open_bundle
from edge_runtime.cli import run_command
from edge_runtime.journal import Journal
from tests.conftest import hum, write_wav
from tests.edge_runtime.fake_microphone import PortAudio
from tests.edge_runtime.sound_server import bench, playing, server  # noqa: F401 - fixtures for every test here

HOP = 8 * 512
FAULT = 400.0  # Hz: another machine by far
DELAYS = ("--on-delay", "1", "--off-delay", "1", "--machine", "fan_section_00")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """What `main` sets for itself ends with the test."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(variable, "1")


@pytest.fixture
def type_in(capsys):
    """Run a command in this process -> exit code, JSON lines of stdout, stderr."""

    def typed(*words):
        code = run_command(main, [str(word) for word in words])
        out, err = capsys.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], err

    return typed


def of(told, kind):
    return [event for event in told if event["event"] == kind]


def scores(told):
    return [window["score"] for window in told]


@pytest.fixture
def faulty(tmp_path):
    """4 s of the machine, 4 s of another, 4 s of the machine."""
    return write_wav(tmp_path / "faulty.wav", np.concatenate([hum(4, 1), hum(4, 2, pitch=FAULT), hum(4, 3)]))


@pytest.fixture
def microphone(monkeypatch, tmp_path_factory):
    """A microphone that gives 3.3 s of sound, with an overflow after 1.2 s, dies, and comes back with the same."""
    sound = hum(3.3)
    PortAudio(tmp_path_factory.mktemp("microphone") / "portaudio", monkeypatch).plays(sound, overflows=[38])
    return sound


@pytest.fixture
def orin(monkeypatch, tmp_path):
    """A board with a GPU and TensorRT, neither of them real; a cache of its own. `fault` changes what engines say."""
    from edge_runtime.backends import cudart, trt
    from edge_runtime.engine import environment
    from tests.edge_runtime.fake_tensorrt import ORIN, HostMemory, tensorrt

    memory = HostMemory()
    memory.fault = lambda array: array
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt(memory, lambda array: memory.fault(array)))
    monkeypatch.setattr(environment, "look", lambda: environment.Here(["tensorrt"], ORIN, "", True))
    monkeypatch.setattr(cudart, "gpu", lambda: ORIN)
    monkeypatch.setattr(trt, "Cuda", lambda: memory)
    monkeypatch.setenv("AUSCULT_CACHE", str(tmp_path / "cache"))
    return memory


@pytest.fixture
def bundle(packed):
    """Of two machines, opened."""
    return open_bundle(packed)


@pytest.fixture
def state(tmp_path):
    """A state folder that is not there yet."""
    return tmp_path / "state"


@pytest.fixture
def said():
    return []


@pytest.fixture
def open_journal(said):
    """Opens journals and closes them with the test."""
    opened = []

    def give(folder):
        opened.append(Journal(folder, said.append))
        return opened[-1]

    yield give
    for one in opened:
        one.close()
