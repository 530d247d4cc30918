"""build_engine.py as a person types it, for a bundle with a network."""

import pytest

from edge_runtime.cli import run_command
from export import build_engine
from tests.edge_runtime.conftest import orin  # noqa: F401 - a fixture
from tests.edge_runtime.networks import pack_network


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out" / "a.engine"


@pytest.fixture
def type_in(capsys):
    """Run the command in this process -> exit code, stdout, stderr."""

    def typed(*words):
        code = run_command(build_engine.main, [str(word) for word in words])
        return code, *capsys.readouterr()

    return typed


@pytest.fixture
def folder(model_folder, tmp_path):
    return pack_network(model_folder, tmp_path / "network.bundle")


def left(out):
    return sorted(file.name for file in out.parent.iterdir()) if out.parent.exists() else []
