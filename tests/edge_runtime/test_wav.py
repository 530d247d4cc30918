"""What is written can be read, whole or not at all."""

import numpy as np
import pytest
import soundfile

from edge_runtime.errors import AudioError
from edge_runtime.sound import open_sound
from edge_runtime.wav import WavWriter
from tests.conftest import hum


def test_a_written_file_holds_the_samples_exactly(tmp_path):
    sound = np.random.default_rng(0).standard_normal(40_000).astype(np.float32) * 2  # above full scale too
    file = WavWriter(tmp_path / "a.wav", 16_000)
    for part in np.array_split(sound, 7):
        file.write(part)
    assert list(tmp_path.glob("*.wav")) == []  # absent until it is whole
    file.close()
    read, rate = soundfile.read(tmp_path / "a.wav", dtype="float32")
    assert rate == 16_000
    assert np.array_equal(read, sound)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    with open_sound(tmp_path / "a.wav") as opened:
        assert (opened.format, opened.subtype) == ("WAV", "FLOAT")
    content = (tmp_path / "a.wav").read_bytes()
    assert int.from_bytes(content[4:8], "little") == len(content) - 8


def test_a_file_beyond_the_sizes_of_riff_becomes_rf64(tmp_path):
    file = WavWriter(tmp_path / "a.wav", 16_000, largest=100_000)
    file.write(hum(3))
    file.close()
    with open_sound(tmp_path / "a.wav") as opened:
        assert opened.format == "RF64"
        assert np.array_equal(opened.read(dtype="float32"), hum(3))


def test_a_truncated_rf64_is_noticed(tmp_path):
    file = WavWriter(tmp_path / "a.wav", 16_000, largest=100_000)
    file.write(hum(3))
    file.close()
    (tmp_path / "b.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:-4])
    with pytest.raises(AudioError, match="truncated"):
        open_sound(tmp_path / "b.wav")
