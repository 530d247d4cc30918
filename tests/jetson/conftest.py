"""A board in a folder, and wheels for it."""

from pathlib import Path

import pytest
from boards import Board

WHEELS = (
    "auscult-0.1.0-py3-none-any.whl",
    "pip-26.3-py3-none-any.whl",
    "numpy-2.2.6-cp310-cp310-manylinux_2_28_aarch64.whl",
)


@pytest.fixture
def board(tmp_path) -> Board:
    return Board(tmp_path)


@pytest.fixture
def wheelhouse(tmp_path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in WHEELS:
        (folder / name).write_text(name)
    return folder
