"""What the tests of data sets share."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 16_000
DEV = "section_00_source_train_normal_0000_vel_4.wav"


@pytest.fixture
def tree(tmp_path):
    """Write short WAV files at the paths given, and return the folder they are in."""

    def write(*paths: str) -> Path:
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(tmp_path / path, np.zeros(160, np.int16), RATE)
        return tmp_path

    return write
