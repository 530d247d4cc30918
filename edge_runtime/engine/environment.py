"""What of TensorRT and CUDA is here, and how to get what is missing on this machine."""

import importlib
import importlib.util
import platform
from types import ModuleType

import msgspec

from edge_runtime.backends import cudart
from edge_runtime.backends.cudart import Gpu
from edge_runtime.engine import sidecar
from edge_runtime.errors import BackendError, MissingError, first_line

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}  # provider -> what is imported
STILL = "the CPU needs none of it: python -m edge_runtime run BUNDLE"


class Here(msgspec.Struct, frozen=True):
    """This machine, as far as engines are concerned."""

    installed: list[str]  # providers
    gpu: Gpu | None
    no_gpu: str  # why there is none
    jetson: bool


def look() -> Here:
    """Import nothing but CUDA: TensorRT's libraries take seconds and hundreds of megabytes."""
    installed = [name for name, module in MODULES.items() if importlib.util.find_spec(module)]
    gpu, reason = None, ""
    try:
        gpu = cudart.gpu()
    except BackendError as error:
        reason = str(error)
    return Here(installed, gpu, reason, bool(sidecar.l4t()))


def choose(asked: str, here: Here, ahead: bool = False) -> str:
    """The provider to build with: "tensorrt" where a GPU is, else "tensorrt-rtx", which needs none to build.

    `ahead`: for compute capabilities that were named, so no GPU is looked for.
    """
    if asked == "auto":
        order = ["tensorrt-rtx"] if ahead or here.gpu is None else ["tensorrt", "tensorrt-rtx"]
        found = next((name for name in order if name in here.installed), None)
        if found is None:
            raise MissingError(_missing(here, "TensorRT cannot build here" if here.installed else "no TensorRT here"))
        return found
    if asked not in here.installed:
        raise MissingError(_missing(here, f"{asked} is not installed", asked))
    if asked == "tensorrt" and here.gpu is None:
        raise MissingError(_missing(here, "tensorrt builds on the GPU it builds for, and there is none", asked))
    return asked


def load(provider: str) -> ModuleType:
    """The provider's module."""
    try:
        return importlib.import_module(MODULES[provider])
    except ImportError as error:
        words = f"{provider} cannot be imported ({first_line(error)})"
        raise MissingError(_missing(look(), words, provider)) from None


def _missing(here: Here, what: str, asked: str = "tensorrt") -> str:
    """One line: what is missing, how to install it on this machine, what works without."""
    gpu = "" if here.gpu else f" (no GPU can be used: {here.no_gpu})"
    return f"{what}{gpu}; {_remedy(here, asked)}; {STILL}"


def _remedy(here: Here, asked: str) -> str:
    if here.jetson or platform.machine() == "aarch64":
        return (
            "on a Jetson TensorRT comes with JetPack: sudo apt install nvidia-jetpack, make the environment with "
            "python3 -m venv --system-site-packages, and pip install '.[jetson]'"
        )
    if here.gpu is None or asked == "tensorrt-rtx":
        return "tensorrt-rtx builds ahead of time without a GPU: pip install '.[tensorrt-rtx]'"
    return "pip install '.[tensorrt]'"
