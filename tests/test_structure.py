"""The rooms: one direction of imports, one home per library, no file that shadows a library."""

import ast
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

ROOMS = ["edge_runtime", "calib", "train", "export"]  # a room imports itself and those before it
FILES = [file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))]

# library -> where it may be imported; a room, or one file of it
HOMES = {
    "sounddevice": ["edge_runtime/capture/portaudio.py", "edge_runtime/outputs/player.py"],
    "gpiod": ["edge_runtime/outputs/keeper.py"],
    "sqlite3": ["edge_runtime/journal/"],
    "starlette": ["edge_runtime/web/app.py"],
    "anyio": ["edge_runtime/web/app.py"],
    "uvicorn": ["edge_runtime/web/server.py"],
    "prometheus_client": ["edge_runtime/web/metrics.py"],
    "soxr": ["edge_runtime/", "calib/", "train/"],
    "onnxruntime": ["edge_runtime/backends/ort.py", "export/"],
    "onnx": ["export/"],
    "tensorrt": ["edge_runtime/backends/", "edge_runtime/engine/"],  # found by name: see engine/environment.py
    "tensorrt_rtx": ["edge_runtime/backends/", "edge_runtime/engine/"],
    "cuda": ["edge_runtime/backends/cudart.py"],
    "torch": ["train/", "export/to_onnx.py"],
    "lightning": ["train/"],
    "transformers": ["train/models/tdnn/weights.py"],
    "huggingface_hub": ["train/models/tdnn/weights.py"],
    "scipy": ["calib/", "train/", "export/"],
    "sklearn": ["calib/", "train/", "export/"],
    "matplotlib": ["export/"],
    "jinja2": ["export/"],
    "librosa": [],
    "pandas": [],
    "pickle": [],
    "joblib": [],
}


def imports(file: Path) -> set[str]:
    """Every module that a file imports, at the top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import; name the room"
            found.add(node.module or "")
    return found


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", FILES, ids=name)
def test_a_room_imports_itself_and_those_before_it(file):
    room = file.relative_to(ROOT).parts[0]
    allowed = ROOMS[: ROOMS.index(room) + 1]
    for module in imports(file):
        top = module.split(".")[0]
        assert top not in ROOMS or top in allowed, f"{name(file)} imports {module}"
        assert top != "tests", f"{name(file)} imports {module}"


@pytest.mark.parametrize("file", FILES, ids=name)
def test_a_library_is_imported_in_its_home_only(file):
    for module in imports(file):
        homes = HOMES.get(module.split(".")[0])
        assert homes is None or any(name(file).startswith(home) for home in homes), f"{name(file)} imports {module}"


@pytest.mark.parametrize("file", FILES, ids=name)
def test_no_file_is_named_like_a_library_or_a_room(file):
    taken = set(sys.stdlib_module_names) | set(ROOMS) | set(HOMES) | {"numpy", "tests", "jetson"}
    assert file.stem not in taken or file.stem == "__main__", f"{name(file)} shadows a module when run by path"


@pytest.mark.parametrize("file", [*FILES, *sorted((ROOT / "tests").rglob("*.py"))], ids=name)
def test_no_file_is_longer_than_300_lines(file):
    assert len(file.read_text().splitlines()) <= 300, f"{name(file)} wants splitting"
