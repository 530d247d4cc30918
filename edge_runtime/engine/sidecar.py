"""What made an engine: a JSON file beside it, checked before the engine is opened.

An engine runs only where it was built: on that GPU, with that version of TensorRT. TensorRT itself says so late and
not clearly; the sidecar says it first, in words.
"""

from pathlib import Path

import msgspec

from edge_runtime import config
from edge_runtime.backends.cudart import Gpu
from edge_runtime.bundle import sha256
from edge_runtime.errors import BackendError, ConfigError

L4T = Path("/etc/nv_tegra_release")
AGAIN = "build it again: python export/build_engine.py"


class Layer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One layer of an engine, as its inspector names it."""

    name: str
    precision: str  # of what it writes


class Made(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an engine was made of, by what, and how it did."""

    provider: str  # "tensorrt" or "tensorrt-rtx"
    tensorrt: str  # its version
    cuda: str  # version of the driver's CUDA; "": no driver
    gpu: str  # name; "": built without one, ahead of time
    compute_capabilities: list[str]  # that it runs on: ["8.7"]
    l4t: str  # the first line of /etc/nv_tegra_release; "": not a Jetson
    onnx: str  # SHA-256 of the file it was built from
    engine: str  # SHA-256 of the engine
    precision: str  # "fp32", "fp16", "int8", or "" for a file of unknown precision
    batch: int  # windows that it takes at once: 1 to this many
    workspace_mib: int | None  # None: as TensorRT likes
    layers: list[Layer]  # none where no GPU could open the engine
    seconds: float  # to build
    auscult: str  # version
    replayed: str = ""  # how the golden clip was decided, or why it was not replayed
    milliseconds: float | None = None  # median of one window here, copies included; None: not measured


def side_file(engine: Path) -> Path:
    """Where the sidecar of an engine lies."""
    return engine.with_name(engine.name + ".json")


def write(engine: Path, made: Made) -> None:
    """Beside the engine, whole or not at all."""
    config.save_json(side_file(engine), made)


def read(engine: Path) -> Made:
    """What made this very engine: the sidecar must be there and the engine unchanged."""
    if not engine.is_file():
        raise BackendError(f"{engine}: no such engine; {AGAIN}")
    if not side_file(engine).exists():
        raise BackendError(f"{engine}: no {side_file(engine).name} beside it says what made it; {AGAIN}")
    try:
        made = config.load_json(side_file(engine), Made)
    except ConfigError as error:
        raise BackendError(f"{error}; {AGAIN}") from None
    if (actual := sha256(engine)) != made.engine:
        raise BackendError(f"{engine}: SHA-256 {actual[:12]}, its sidecar says {made.engine[:12]}; {AGAIN}")
    return made


def check(engine: Path, made: Made, tensorrt: str, gpu: Gpu, onnx: str | None = None) -> None:
    """Refuse an engine of another TensorRT, another GPU or another network."""
    if made.tensorrt != tensorrt:
        raise BackendError(f"{engine}: built by {made.provider} {made.tensorrt}, here is {tensorrt}; {AGAIN}")
    if gpu.compute_capability not in made.compute_capabilities or made.gpu not in ("", gpu.name):
        built = f"{made.gpu or 'GPUs'} of compute capability {', '.join(made.compute_capabilities)}"
        here = f"{gpu.name} of {gpu.compute_capability}"
        raise BackendError(f"{engine}: built for {built}, here is {here}; {AGAIN}")
    if onnx is not None and made.onnx != onnx:
        raise BackendError(f"{engine}: built from ONNX {made.onnx[:12]}, the bundle has {onnx[:12]}; {AGAIN}")


def l4t(file: Path = L4T) -> str:
    """Which Linux for Tegra this is; "" on anything but a Jetson."""
    return file.read_text().splitlines()[0].lstrip("# ") if file.is_file() else ""
