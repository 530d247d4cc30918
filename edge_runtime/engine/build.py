"""ONNX -> engine, with TensorRT 10.3 to 11 or TensorRT-RTX; `engine/child.py` runs it in a process of its own.

Precision is in the ONNX file: networks are strongly typed, nothing is calibrated, no flag asks for FP16 or INT8. What
the versions differ in is found by looking for it, never in a table of versions.
"""

import json
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from edge_runtime import __version__
from edge_runtime.backends import cudart
from edge_runtime.bundle import sha256
from edge_runtime.engine import environment, sidecar
from edge_runtime.engine.sidecar import Layer, Made
from edge_runtime.errors import BackendError, first_line

MIB = 1 << 20


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be built."""

    onnx: str  # file
    engine: str  # file to write
    provider: str  # "tensorrt" or "tensorrt-rtx"
    precision: str = ""  # what the ONNX file is meant to be, for the sidecar
    batch: int = 1  # windows at once: 1 to this many
    workspace_mib: int | None = None  # of the GPU, while the engine runs; None: no limit
    timing_cache: str | None = None  # file that is read where there is one, and written
    compute_capabilities: list[str] = []  # to build ahead of time for; none: for the GPU that is here
    verbose: bool = False


def logger(trt: Any, verbose: bool = False) -> Any:
    """A logger of TensorRT that keeps what went wrong (`faults`) and prints what it is told to."""

    class Log(trt.ILogger):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.faults: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity.name in ("INTERNAL_ERROR", "ERROR", "WARNING"):
                self.faults.append(message)
            if verbose and severity.name != "VERBOSE":
                print(f"{severity.name}: {message}", flush=True)

    return Log()


def build(order: Order) -> Made:
    """Write the engine that was ordered and say what made it; the sidecar is the caller's to write."""
    trt = environment.load(order.provider)
    started, log = time.monotonic(), logger(trt, order.verbose)
    with suppress(BackendError):
        cudart.gpu()  # the driver is awake before TensorRT looks for it
    builder = _builder(trt, log)
    network = builder.create_network(_creation_flags(trt))
    _parse(trt, network, log, order)
    config = builder.create_builder_config()
    cache = _configure(trt, config, log, order)
    config.add_optimization_profile(_profile(builder, network, order))
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BackendError(_refused(log, order))
    Path(order.engine).write_bytes(plan)
    if cache is not None:
        _keep_timings(config, Path(cache))
    return _made(trt, log, order, time.monotonic() - started)


def _builder(trt: Any, log: Any) -> Any:
    try:
        return trt.Builder(log)
    except TypeError:  # all that the binding says where the library made none
        raise BackendError(f"{trt.__name__} {trt.__version__} cannot begin to build: {_last(log)}") from None


def _creation_flags(trt: Any) -> int:
    """Strongly typed, with the batch axis in the shape: later versions know no other networks and lack these names."""
    flags = trt.NetworkDefinitionCreationFlag
    names = ("EXPLICIT_BATCH", "STRONGLY_TYPED")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a flag that is merely no longer needed
        return sum(1 << int(getattr(flags, name)) for name in names if hasattr(flags, name))


def _parse(trt: Any, network: Any, log: Any, order: Order) -> None:
    parser = trt.OnnxParser(network, log)
    if parser.parse_from_file(order.onnx):
        return
    errors = [_in_words(parser.get_error(number)) for number in range(min(parser.num_errors, 3))]
    raise BackendError(
        f"{order.onnx}: {order.provider} {trt.__version__} cannot read it: {'; '.join(errors) or 'no reason given'}; "
        "export it again, and run export/build_engine.py where onnx is installed: its lint says more"
    )


def _in_words(error: Any) -> str:
    """What the parser says, and of which node."""
    node = f"{error.node_operator()} {error.node_name()}: ".lstrip() if error.node_operator() else ""
    return f"{node}{first_line(Exception(error.desc()))}"


def _configure(trt: Any, config: Any, log: Any, order: Order) -> str | None:
    """Settings of the build -> the file that its timings go to."""
    config.clear_flag(trt.BuilderFlag.TF32)  # what stays in FP32 does so for its 23 bits; TF32 has 10 of them
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # so that the inspector knows each layer's precision
    if order.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, order.workspace_mib * MIB)
    if order.compute_capabilities or hasattr(trt, "ComputeCapability"):
        _aim(trt, config, _capabilities(order))
    if order.timing_cache is not None and order.provider == "tensorrt-rtx":
        print(f"{order.timing_cache}: not used, TensorRT-RTX times no kernels while it builds", flush=True)
        return None
    if order.timing_cache is not None:
        use_timings(config, log, Path(order.timing_cache))
    return order.timing_cache


def _capabilities(order: Order) -> list[str]:
    """What it is built for: the GPUs that were named, or the one that is here."""
    return order.compute_capabilities or [cudart.gpu().compute_capability]


def _aim(trt: Any, config: Any, capabilities: list[str]) -> None:
    """For these GPUs, whether they are here or not."""
    if not hasattr(trt, "ComputeCapability"):
        raise BackendError(f"{trt.__name__} builds for its own GPU alone; --compute-capability wants tensorrt-rtx")
    known = trt.ComputeCapability.__members__
    names = ["SM" + capability.replace(".", "") for capability in capabilities]
    for name, capability in zip(names, capabilities, strict=True):
        if name not in known:
            there = ", ".join(f"{one[2:-1]}.{one[-1]}" for one in known if one.startswith("SM"))
            raise BackendError(f"compute capability {capability}: {trt.__name__} {trt.__version__} builds for {there}")
    config.num_compute_capabilities = len(names)
    for place, name in enumerate(names):
        config.set_compute_capability(known[name], place)


def use_timings(config: Any, log: Any, file: Path) -> None:
    """Timings of an earlier build; those of another TensorRT or GPU, or a damaged file, are set aside, not an error."""
    held = file.read_bytes() if file.is_file() else b""
    log.faults.clear()
    usable = _set_timings(config, held) and not any("cache" in fault.lower() for fault in log.faults)
    if not usable and held:
        aside = file.with_name(file.name + ".unusable")
        file.replace(aside)
        print(f"{file}: damaged, or of another TensorRT or GPU; now {aside.name}, building without it", flush=True)
        _set_timings(config, b"")
    log.faults.clear()


def _set_timings(config: Any, held: bytes) -> bool:
    try:
        cache = config.create_timing_cache(held)
        return cache is not None and bool(config.set_timing_cache(cache, False))
    except (RuntimeError, TypeError, ValueError):
        return False


def _keep_timings(config: Any, file: Path) -> None:
    cache = config.get_timing_cache()
    if cache is None:
        return
    partial = file.with_name(file.name + ".partial")
    partial.write_bytes(cache.serialize())
    partial.replace(file)


def _profile(builder: Any, network: Any, order: Order) -> Any:
    """One optimization profile: 1 to `batch` windows, at its best with all of them."""
    profile = builder.create_optimization_profile()
    for number in range(network.num_inputs):
        tensor = network.get_input(number)
        first, *rest = tuple(tensor.shape)
        if any(size < 0 for size in rest) or (first >= 0 and first != order.batch):
            raise BackendError(
                f"{order.onnx}: input {tensor.name} has the shape {tuple(tensor.shape)}, wanted {order.batch} windows "
                "of a fixed shape; export it with a free batch axis (export/to_onnx.py does)"
            )
        profile.set_shape(tensor.name, (1 if first < 0 else first, *rest), (order.batch, *rest), (order.batch, *rest))
    return profile


def _refused(log: Any, order: Order) -> str:
    """Why there is no engine, as TensorRT has it, and what to do."""
    reason = _last(log)
    memory = any(word in " ".join(log.faults).lower() for word in ("workspace", "outofmemory", "requested size"))
    if order.workspace_mib is not None and memory:
        return f"{order.onnx}: a workspace of {order.workspace_mib} MiB is too small ({reason}); give --workspace more"
    return f"{order.onnx}: {order.provider} builds no engine of it: {reason}"


def _last(log: Any) -> str:
    """What TensorRT said last of what went wrong."""
    return first_line(Exception(log.faults[-1])) if log.faults else "no reason given"


def _made(trt: Any, log: Any, order: Order, seconds: float) -> Made:
    here, driver = environment.look().gpu, ""
    with suppress(BackendError):
        driver = cudart.version()
    ahead = bool(order.compute_capabilities) or here is None
    capabilities = order.compute_capabilities or ([here.compute_capability] if here else [])
    return Made(
        provider=order.provider,
        tensorrt=trt.__version__,
        cuda=driver,
        gpu="" if ahead or here is None else here.name,
        compute_capabilities=capabilities,
        l4t=sidecar.l4t(),
        onnx=sha256(Path(order.onnx)),
        engine=sha256(Path(order.engine)),
        precision=order.precision,
        batch=order.batch,
        workspace_mib=order.workspace_mib,
        layers=[] if here is None else layers(trt, log, Path(order.engine)),
        seconds=round(seconds, 3),
        auscult=__version__,
    )


def layers(trt: Any, log: Any, engine: Path) -> list[Layer]:
    """Name and precision of every layer, as the inspector of an opened engine tells them; none where it cannot."""
    opened = trt.Runtime(log).deserialize_cuda_engine(engine.read_bytes())
    if opened is None:
        return []
    told = opened.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    try:
        return [_layer(one) for one in json.loads(told).get("Layers", [])]
    except ValueError:
        return []


def _layer(told: Any) -> Layer:
    """TensorRT 10 writes "Format/Datatype", 11 "DataType"; a layer may be told by its name alone."""
    if isinstance(told, str):
        return Layer(told, "")
    kinds = [str(one.get("DataType") or one.get("Format/Datatype") or "") for one in told.get("Outputs", [])]
    return Layer(str(told.get("Name", "")), ", ".join(sorted(set(kinds))))
