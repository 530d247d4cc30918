"""The device's part in an environment that has only what the device installs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, hum, write_wav

NO_NETWORK = ("Failed to establish a new connection", "Temporary failure in name resolution", "Connection timed out")
FORBIDDEN = ["torch", "scipy", "librosa", "sklearn", "onnx", "matplotlib", "pandas", "lightning", "numba", "jinja2"]


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """Python of a new environment with this project and its own dependencies, no extras."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install = [folder / "bin/pip", "install", "-q", "-c", ROOT / "constraints.txt", ROOT]
    done = subprocess.run(install, capture_output=True, text=True)
    if done.returncode and any(words in done.stderr for words in NO_NETWORK):
        pytest.skip(f"pip needs a network: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr
    return folder / "bin/python"


def run(python: Path, *command: str, cwd: Path) -> str:
    done = subprocess.run([python, *command], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_imports_and_pulls_in_no_heavy_library(python, tmp_path):
    code = """
import importlib, json, pkgutil, sys, edge_runtime
names = [m.name for m in pkgutil.walk_packages(edge_runtime.__path__, "edge_runtime.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(json.dumps([names, sorted({module.split(".")[0] for module in sys.modules})]))
"""
    names, loaded = json.loads(run(python, "-c", code, cwd=tmp_path))
    assert {"edge_runtime.capture.microphone", "edge_runtime.backends.ort"} <= set(names)
    assert not set(loaded) & set(FORBIDDEN)


def test_the_page_is_installed_and_says_what_it_lacks(python, tmp_path):
    code = "import edge_runtime.web.app as app; print(sorted(file.suffix for file in app.STATIC.glob('*')))"
    assert ".html" in run(python, "-c", code, cwd=tmp_path) and ".js" in run(python, "-c", code, cwd=tmp_path)
    done = subprocess.run(
        [python, "-m", "edge_runtime", "serve", tmp_path], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "pip install 'auscult[web]'" in done.stderr


def test_the_installed_command_says_a_mistake_in_one_line_as_the_module_does(python, tmp_path):
    words = ["validate", "nope.yaml"]
    for command in ([python.with_name("auscult")], [python, "-m", "edge_runtime"]):
        done = subprocess.run([*command, *words], capture_output=True, text=True, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1) and done.stderr.startswith("error: ")


def test_none_of_the_heavy_libraries_is_installed(python, tmp_path):
    code = f"import importlib.util; print([n for n in {FORBIDDEN} if importlib.util.find_spec(n)])"
    assert run(python, "-c", code, cwd=tmp_path).strip() == "[]"


def test_it_checks_a_bundle_and_scores_a_file(python, packed, tmp_path):
    run(python, "-m", "edge_runtime", "check", str(packed), cwd=tmp_path)
    file = write_wav(tmp_path / "hum.wav", hum(3.0, seed=9))
    lines = run(
        python, "-m", "edge_runtime", "score", str(packed), "--machine", "fan_section_00", str(file), cwd=tmp_path
    )
    scores = [json.loads(line)["score"] for line in lines.splitlines()]
    assert len(scores) == 8 and all(isinstance(score, float) for score in scores)
