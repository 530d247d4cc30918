"""Sound from files: whole and exact, or refused before anything starts."""

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.capture.files import FileSource
from edge_runtime.errors import AudioError
from edge_runtime.sound import Resampler, sound_files
from tests.conftest import hum, write_wav


def blocks_of(*arguments, **options):
    source, blocks = FileSource(*arguments, **options), []
    while not source.ended:
        blocks += source.take()
    return blocks


def sound_of(blocks):
    return np.concatenate([block.samples for block in blocks])[:, 0]


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_file_is_given_whole_and_exactly(tmp_path, name):
    sound = hum(2.7)
    soundfile.write(tmp_path / name, sound, 16_000, subtype="PCM_16")
    blocks = blocks_of([tmp_path / name], 16_000)
    assert np.array_equal(sound_of(blocks), sound)
    assert all(block.samples.dtype == np.float32 for block in blocks)


def test_every_file_begins_a_recording(tmp_path):
    files = [write_wav(tmp_path / f"{name}.wav", hum(1.5)) for name in "ab"]
    blocks = blocks_of(files, 16_000)
    assert [block.new for block in blocks] == [str(files[0]), None, str(files[1]), None]


def test_a_channel_can_be_chosen(tmp_path):
    soundfile.write(tmp_path / "two.wav", np.stack([hum(1, 0), hum(1, 1)], axis=1), 16_000)
    blocks = blocks_of([tmp_path / "two.wav"], 16_000, channels=[1])
    assert np.array_equal(sound_of(blocks), hum(1, 1))
    with pytest.raises(AudioError, match="no channel 2; it has 2"):
        FileSource([tmp_path / "two.wav"], 16_000, channels=[0, 2])


def test_several_channels_come_together_and_in_the_order_asked_for(tmp_path):
    sound = np.stack([hum(1, seed, 48_000) for seed in range(3)], axis=1)
    soundfile.write(tmp_path / "three.wav", sound, 48_000)
    samples = np.concatenate([block.samples for block in blocks_of([tmp_path / "three.wav"], 16_000, channels=[2, 0])])
    assert samples.shape == (16_000, 2)
    for place, channel in enumerate((2, 0)):
        alone = sound_of(blocks_of([tmp_path / "three.wav"], 16_000, channels=[channel]))
        assert np.array_equal(samples[:, place], alone)


def test_real_time_gives_a_block_once_it_has_sounded_and_never_waits(tmp_path):
    now = [0.0]
    file = write_wav(tmp_path / "a.wav", hum(0.25))
    source = FileSource([file], 16_000, realtime=True, clock=lambda: now[0])
    given = []
    for tenths in range(5):
        now[0] = tenths / 10
        given.append([len(block.samples) for _ in range(3) for block in source.take()])
    assert given == [[], [1600], [1600], [800], []]  # 0.1 s: a score is not held back
    assert source.ended


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_another_rate_is_resampled(tmp_path, rate):
    time_s = np.arange(2 * rate) / rate
    write_wav(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 1000 * time_s), rate)
    sound = sound_of(blocks_of([tmp_path / "a.wav"], 16_000))
    wanted = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(32_000) / 16_000)
    assert abs(len(sound) - 32_000) <= 1
    inner = slice(1600, 30_000)  # the filter rings at both ends
    assert np.abs(sound[inner] - wanted[inner]).max() < 1e-4  # -80 dB re full scale: 16-bit rounding is 1.5e-5


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 9_000), min_size=1, max_size=12))
def test_resampling_does_not_depend_on_the_block_size(sizes):
    whole = hum(sum(sizes) / 48_000, rate=48_000)
    blockwise, at_once = Resampler(48_000, 16_000), Resampler(48_000, 16_000)
    parts = [blockwise.push(part) for part in np.split(whole, np.cumsum(sizes)[:-1])] + [blockwise.flush()]
    assert np.array_equal(np.concatenate(parts), np.concatenate([at_once.push(whole), at_once.flush()]))


def test_a_flushed_resampler_is_as_new():
    resampler = Resampler(48_000, 16_000)
    first, second = [np.concatenate([resampler.push(hum(1, rate=48_000)), resampler.flush()]) for _ in range(2)]
    assert np.array_equal(first, second)


DAMAGED = {
    "empty.wav": "an empty file",
    "truncated.wav": "truncated",
    "one byte short.wav": "truncated",
    "header.wav": "not a sound file",
    "truncated.flac": "truncated",
    "text.wav": "not a sound file",
    "none.wav": "holds no sound",
    "unknown length.flac": "does not know its length",
    "missing.wav": "No such file",
}


def damage(folder, name):
    """Write the file of that name."""
    wav = write_wav(folder / "whole.wav", hum(2)).read_bytes()
    soundfile.write(folder / "whole.flac", hum(2), 16_000)
    flac = (folder / "whole.flac").read_bytes()
    unknown = bytearray(flac)
    unknown[18 + 3] &= 0xF0  # STREAMINFO: 36 bits of total samples, 0 is "not known"
    unknown[18 + 4 : 18 + 8] = bytes(4)
    soundfile.write(folder / "none.wav", np.zeros(0, np.float32), 16_000)
    content = {
        "empty.wav": b"",
        "truncated.wav": wav[: len(wav) // 2],
        "one byte short.wav": wav[:-1],
        "header.wav": wav[:30],
        "truncated.flac": flac[: len(flac) // 2],
        "text.wav": b"not sound at all, only text " * 99,
        "none.wav": (folder / "none.wav").read_bytes(),
        "unknown length.flac": bytes(unknown),
    }
    if name in content:
        (folder / name).write_bytes(content[name])


@pytest.mark.parametrize(("name", "words"), DAMAGED.items())
def test_a_damaged_file_is_refused_before_anything_starts(tmp_path, name, words):
    damage(tmp_path, name)
    with pytest.raises(AudioError, match=words) as refusal:
        FileSource([tmp_path / "whole.wav", tmp_path / name], 16_000)
    assert str(tmp_path / name) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_flac_that_is_damaged_inside_ends_with_an_error(tmp_path):
    soundfile.write(tmp_path / "a.flac", hum(20), 16_000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 9_000] = bytes(9_000)
    (tmp_path / "a.flac").write_bytes(content)
    with pytest.raises(AudioError, match=r"a\.flac: (damaged|ends|truncated)"):
        blocks_of([tmp_path / "a.flac"], 16_000)


def test_a_wav_from_a_pipe_is_read_though_its_header_knows_no_length(tmp_path):
    content = bytearray(write_wav(tmp_path / "a.wav", hum(1)).read_bytes())
    content[4:8] = content[40:44] = b"\xff" * 4
    (tmp_path / "a.wav").write_bytes(content)
    assert np.array_equal(sound_of(blocks_of([tmp_path / "a.wav"], 16_000)), hum(1))


def test_a_file_shorter_than_the_window_says_both_lengths(tmp_path):
    file = write_wav(tmp_path / "a.wav", hum(3))
    FileSource([file], 16_000, shortest=48_000)
    with pytest.raises(AudioError, match=r"3\.000 s of sound, the window is 9\.984 s"):
        FileSource([file], 16_000, shortest=159_744)


def test_a_folder_stands_for_its_sound_files_in_order(tmp_path):
    for name in ("b/1.wav", "a.WAV", "c.flac"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "notes.txt").touch()
    assert [file.name for file in sound_files([tmp_path])] == ["a.WAV", "1.wav", "c.flac"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(AudioError, match="no WAV or FLAC"):
        sound_files([tmp_path / "empty"])
