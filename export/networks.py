"""The forms of a model folder's network: how each is opened, how far it is from FP32, what it costs."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np

from calib.collect import Collected
from edge_runtime import bundle
from edge_runtime.backends import Arrays, Backend, Pooled, open_backend
from edge_runtime.bundle import Model
from edge_runtime.cli import say
from edge_runtime.engine import sidecar
from edge_runtime.errors import BackendError, ConfigError
from export.drift import points, worst_cosine, worst_noise

TORCH, FP32, FP16, CPU, TRT, ENGINE = "torch", "FP32", "FP16", "INT8, CPU", "INT8, TensorRT", "engine"
FILES = {FP32: bundle.FP32, FP16: bundle.FP16, CPU: bundle.CPU, TRT: bundle.TRT}
DISABLED = ("WeightBiasQuantization",)  # of onnxruntime's optimizers: with scales in FP16 embeddings collapse
RUNS, FEWEST, LONGEST_S = 200, 5, 3.0  # timed runs of a network, unless they take longer than that
WARM = 2


class Network(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One form: its cost, and its error against FP32 over the test windows."""

    runs_in: str  # "torch", "onnxruntime", "tensorrt"
    bytes: int  # of its file; of torch's weights
    milliseconds: float  # a window, one thread, median
    milliseconds_p95: float
    cosine: float | None  # median, of the embeddings (or scores) with those of FP32; None: there is no FP32
    noise: float | None  # variance of what moved, relative to the spread of normal sound


@dataclass(frozen=True)
class Opened:
    """A form that is ready to run."""

    backend: Backend  # what is heard
    runs_in: str
    bytes: int
    timed: Backend  # what is timed: the same, unless it is simulated


def opened(folder: Path, model: Model, run: Path | None = None, engine: Path | None = None) -> dict[str, Opened]:
    """Every form that is there, by name: of the run it was trained in, the folder's files, an engine."""
    files = {form: folder / name for form, name in FILES.items() if (folder / name).exists()}
    if not files and (run or engine):
        raise ConfigError(f"{folder}: has no network, so there is nothing to compare --run or --engine with")
    found = {TORCH: _torch(run, model)} if run else {}
    for form, file in files.items():
        if form == FP16 and find_spec("onnx") is None:
            say(f"{file.name} is left out: the Python package onnx is missing, without which it is not simulated")
        else:
            found[form] = _in_onnxruntime(form, file, model)
    if engine:
        check_engine(folder, engine)
        backend = open_backend(engine, model, "tensorrt")
        found[ENGINE] = Opened(backend, "tensorrt", engine.stat().st_size, backend)
    return found


def check_engine(folder: Path, engine: Path) -> None:
    """Refuse an engine that was built from another network than the folder's."""
    made = sidecar.read(engine)
    if made.onnx not in {bundle.sha256(folder / name) for name in FILES.values() if (folder / name).exists()}:
        raise BackendError(f"{engine}: built from another network than {folder} holds; {sidecar.AGAIN} {folder}")


def _in_onnxruntime(form: str, file: Path, model: Model) -> Opened:
    """FP16 is heard as a GPU rounds: onnxruntime on the CPU drops the casts and computes in float32."""
    size, timed = file.stat().st_size, open_backend(file, model)
    heard = timed
    if form == TRT:
        from edge_runtime.backends.ort import OnnxRuntime  # late: what runs an engine alone does not need it

        heard = Pooled(model, OnnxRuntime(file, without=DISABLED))
    if form == FP16:
        from export import rounded  # late: needs onnx

        with TemporaryDirectory() as folder:
            rounded.write(file, Path(folder) / file.name)
            heard = open_backend(Path(folder) / file.name, model)
    return Opened(heard, "onnxruntime", size, timed)


def _torch(run: Path, model: Model) -> Opened:
    from train.backend import one_thread, open_torch  # late: its libraries take seconds
    from train.run_folder import load_run

    trained = load_run(run)
    if (trained.model.system, trained.model.window) != (model.system, model.window):
        raise ConfigError(f"--run {run}: a run of {trained.model.system}, the model is {model.system}; give its own")
    one_thread()
    weights = sum(tensor.nbytes for tensor in trained.network.state_dict().values())
    backend = open_torch(trained.network, model)
    return Opened(backend, "torch", weights, backend)


def measured(forms: Mapping[str, Opened], heard: Collected, window: Arrays, model: Model) -> dict[str, Network]:
    """What each form cost and how far it was from FP32 on the windows that all have heard; `window`: a batch of one."""
    owners = [heard.clips[clip].machine for clip in heard.clip]
    exact = points(heard.part(FP32).outputs, model) if FP32 in forms else []
    window = {
        name: array.copy() for name, array in window.items()
    }  # torch warns of cached features, which are read-only
    found = {}
    for form, one in forms.items():
        median, late = (float(value) for value in np.percentile(_milliseconds(one.timed, window), [50, 95]))
        own = points(heard.part(form).outputs, model)
        error = (worst_cosine(exact, own), worst_noise(exact, own, owners)) if exact else (None, None)
        found[form] = Network(one.runs_in, one.bytes, median, late, *error)
    return found


def _milliseconds(backend: Backend, window: Arrays) -> list[float]:
    """Of each of some runs on the same window."""
    for _ in range(WARM):
        backend.run(window)
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < RUNS and (len(times) < FEWEST or time.perf_counter() - began < LONGEST_S):
        start = time.perf_counter()
        backend.run(window)
        times.append(1e3 * (time.perf_counter() - start))
    return times
