"""From a bundle to an engine that listens: the best one in the cache that fits, or a new one."""

import shlex
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import msgspec

from edge_runtime import bundle as bundles
from edge_runtime.backends import Backend
from edge_runtime.backends.cudart import CudaError
from edge_runtime.backends.trt import TensorRT
from edge_runtime.bundle import Bundle
from edge_runtime.cli import say
from edge_runtime.engine import cache, child, environment, replay, sidecar
from edge_runtime.engine.build import Order
from edge_runtime.engine.child import Limits
from edge_runtime.engine.environment import Here
from edge_runtime.engine.replay import DecisionError
from edge_runtime.engine.sidecar import Made
from edge_runtime.errors import AuscultError, BackendError, MissingError

FORMS: dict[str, bundles.Form] = {"int8": "trt", "fp16": "fp16", "fp32": "fp32"}  # precision -> form, the usual first
LIMITS = Limits()
Builder = Callable[[Order, Limits, threading.Event], AbstractContextManager[tuple[Path, Made]]]


def networks(folder: Path) -> dict[str, Path]:
    """The ONNX files of a bundle that engines are built from, by precision."""
    files = {precision: folder / bundles.FORMS[form] for precision, form in FORMS.items()}
    found = {precision: file for precision, file in files.items() if file.exists()}
    if not found:
        raise BackendError(f"{folder}: a detector without a network: there is nothing to build, and it needs no GPU")
    return found


def order(
    onnx: Path, precision: str, provider: str, here: Here, batch: int = 1, capabilities: Sequence[str] = ()
) -> Order:
    """An engine in its place in the cache: for the GPU that is here, or ahead of time for those named.

    Without a cache it has no place, and keeps no timings: the caller must name one.
    """
    version, gpu = environment.load(provider).__version__, None if capabilities else here.gpu
    aims = list(capabilities) or ([gpu.compute_capability] if gpu else [])
    path = cache.engine_path(bundles.sha256(onnx), provider, version, gpu.name if gpu else "", aims, batch)
    timings = cache.timings_path(version, gpu.name) if gpu and provider == "tensorrt" else None
    return Order(
        onnx=str(onnx),
        engine="" if path is None else str(path),
        provider=provider,
        precision=precision,
        batch=batch,
        timing_cache=None if timings is None else str(timings),
        compute_capabilities=list(capabilities),
    )


def installed(folder: Path, here: Here) -> tuple[Path, Made]:
    """The engine in the cache that is to run: of those that fit this GPU and TensorRT the fastest."""
    if here.gpu is None:
        raise BackendError(f"{folder}: no GPU that an engine could run on: {here.no_gpu}")
    fitting = []
    for onnx in map(bundles.sha256, networks(folder).values()):
        for engine in cache.engines(onnx):
            with suppress(BackendError):
                fitting.append((engine, fits(engine, onnx, here)))
    if not fitting:
        raise BackendError(f"{folder}: no engine for it here; python export/build_engine.py {shlex.quote(str(folder))}")
    return min(fitting, key=lambda one: (one[1].milliseconds or float("inf"), str(one[0])))


def fits(engine: Path, onnx: str, here: Here) -> Made:
    """What made an engine, where it can run here."""
    made = sidecar.read(engine)
    if here.gpu is None:
        raise BackendError(f"{engine}: needs a GPU: {here.no_gpu}")
    sidecar.check(engine, made, environment.load(made.provider).__version__, here.gpu, onnx)
    return made


class Engines:
    """The engines of one bundle on this machine, as the listening process takes them."""

    def __init__(self, bundle: Bundle, builder: Builder = child.built, limits: Limits = LIMITS) -> None:
        """Refuse a bundle that has nothing to build; load TensorRT before anything listens that it could hold up."""
        self._bundle, self._builder, self._limits = bundle, builder, limits
        self._networks = networks(bundle.folder)  # less those whose engines decided otherwise
        with suppress(BackendError):
            environment.load(environment.choose("auto", environment.look()))

    def open(self, stop: threading.Event) -> Backend:
        """The one that is there; where there is none, or it does not decide as the bundle does, a new one."""
        here = environment.look()
        try:
            engine, made = installed(self._bundle.folder, here)
        except BackendError:
            return self._new(here, stop)
        try:
            return self._proved(engine, made)[0]
        except CudaError:  # no memory just now, say: the engine may be as good as it was
            raise
        except BackendError:
            discard(engine)
            return self._new(here, stop)

    def discard(self, backend: Backend) -> None:
        """It failed while listening: the file is not trusted again."""
        for onnx in map(bundles.sha256, self._networks.values()):
            for engine in cache.engines(onnx):
                with suppress(AuscultError):
                    if sidecar.read(engine) == getattr(backend, "made", None):
                        discard(engine)

    def _new(self, here: Here, stop: threading.Event) -> Backend:
        """Of the usual precision; after that one decided otherwise, of the next."""
        provider = environment.choose("auto", here)
        if here.gpu is None:
            raise MissingError(f"{self._bundle.folder}: no GPU that an engine could run on: {here.no_gpu}")
        if not self._networks:
            raise MissingError(f"{self._bundle.folder}: engines of every precision decide otherwise than the bundle")
        precision, onnx = next(iter(self._networks.items()))
        wanted = order(onnx, precision, provider, here)
        try:
            with self._builder(wanted, self._limits, stop) as (engine, made):
                backend, words = self._proved(engine, made)
                self._keep(engine, msgspec.structs.replace(made, replayed=words), Path(wanted.engine))
        except DecisionError:
            del self._networks[precision]
            raise
        return backend

    def _keep(self, engine: Path, made: Made, place: Path) -> None:
        """For the next start; an engine that cannot be kept listens all the same."""
        try:
            child.install(engine, made, place)
        except OSError as error:
            say(f"{place}: the engine is not kept: {error.strerror}")

    def _proved(self, engine: Path, made: Made) -> tuple[Backend, str]:
        """Opened, and how it decided the golden clip."""
        backend = TensorRT(engine, made.onnx)
        try:
            return backend, replay.proved(self._bundle, backend, made.batch)
        except BaseException:  # an interrupt too: nobody else knows of it yet
            backend.close()
            raise


def discard(engine: Path) -> None:
    """Remove an engine with its sidecar."""
    sidecar.side_file(engine).unlink(missing_ok=True)
    engine.unlink(missing_ok=True)
