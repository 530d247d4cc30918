"""Where engines lie: never in a bundle, which does not change, but in a folder that can be removed at any time.

    FOLDER/engines/<ONNX, 16 digits>/<provider>-<version>-<GPU>-cc<capability>-b<windows>.engine

with its sidecar beside it. FOLDER is that of all that is kept: AUSCULT_CACHE, else auscult in XDG_CACHE_HOME or
~/.cache.
"""

import re
from pathlib import Path

from edge_runtime import config


def engine_path(onnx: str, provider: str, version: str, gpu: str, capabilities: list[str], batch: int) -> Path | None:
    """The path of an engine; `onnx` is the SHA-256 of the file it is built from, `gpu` a name or "" for none."""
    folder = engines_of(onnx)
    words = [provider, version, gpu, "cc" + "-".join(capabilities), f"b{batch}"]
    return None if folder is None else folder / f"{_name(words)}.engine"


def timings_path(version: str, gpu: str) -> Path | None:
    """The timings of TensorRT's kernels on one GPU, which all engines built there share."""
    folder = config.cache_folder()
    return None if folder is None else folder / "engines" / f"{_name(['tensorrt', version, gpu])}.timings"


def engines_of(onnx: str) -> Path | None:
    """The folder of all engines that were built from one ONNX file; None: AUSCULT_CACHE is empty."""
    folder = config.cache_folder()
    return None if folder is None else folder / "engines" / onnx[:16]


def engines(onnx: str) -> list[Path]:
    """All engines that were built from one ONNX file, for whatever GPU."""
    folder = engines_of(onnx)
    return [] if folder is None else sorted(folder.glob("*.engine"))


def _name(words: list[str]) -> str:
    return "-".join(re.sub(r"[^a-z0-9.]+", "-", word.lower()).strip("-") for word in words if word)
