"""Where engines lie: never in a bundle, which does not change, but in a folder that can be removed at any time.

    FOLDER/engines/<ONNX, 16 digits>/<provider>-<version>-<GPU>-cc<capability>-b<windows>.engine

with its sidecar beside it. FOLDER is that of all that is kept: AUSCULT_CACHE, else auscult in XDG_CACHE_HOME or ~/.cache.
"""

import re
from pathlib import Path

from edge_runtime import config
from edge_runtime.errors import BackendError


def engine_path(onnx: str, provider: str, version: str, gpu: str, capabilities: list[str], batch: int) -> Path:
    """The path of an engine; `onnx` is the SHA-256 of the file it is built from, `gpu` a name or "" for none."""
    words = [provider, version, gpu, "cc" + "-".join(capabilities), f"b{batch}"]
    name = "-".join(re.sub(r"[^a-z0-9.]+", "-", word.lower()).strip("-") for word in words if word)
    return engines_of(onnx) / f"{name}.engine"


def engines_of(onnx: str) -> Path:
    """The folder of all engines that were built from one ONNX file."""
    folder = config.cache_folder()
    if folder is None:
        raise BackendError("AUSCULT_CACHE is empty: no folder for engines; name one, or give --engine FILE")
    return folder / "engines" / onnx[:16]
