"""A board in a folder, and wheels for it."""

from pathlib import Path

import pytest
from boards import Board


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
