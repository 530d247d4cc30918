"""Sound from files and from a microphone; the microphone is a small class in place of PortAudio."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime import source
from edge_runtime.errors import AudioError, DeviceError
from edge_runtime.sound import Resampler, open_sound, sound_files
from edge_runtime.source import FileSource, MicSource
from edge_runtime.wav import WavWriter
from tests.conftest import ROOT, hum, write_wav


def sound_of(blocks):
    return np.concatenate([block.samples for block in blocks])


# Files


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_file_is_given_whole_and_exactly(tmp_path, name):
    sound = hum(2.7)
    soundfile.write(tmp_path / name, sound, 16_000, subtype="PCM_16")
    blocks = list(FileSource([tmp_path / name], 16_000).blocks())
    assert np.array_equal(sound_of(blocks), sound)
    assert all(block.samples.dtype == np.float32 for block in blocks)


def test_every_file_begins_a_recording(tmp_path):
    files = [write_wav(tmp_path / f"{name}.wav", hum(1.5)) for name in "ab"]
    blocks = FileSource(files, 16_000).blocks()
    assert [block.new for block in blocks] == [str(files[0]), None, str(files[1]), None]


def test_a_channel_can_be_chosen(tmp_path):
    soundfile.write(tmp_path / "two.wav", np.stack([hum(1, 0), hum(1, 1)], axis=1), 16_000)
    blocks = FileSource([tmp_path / "two.wav"], 16_000, channel=1).blocks()
    assert np.array_equal(sound_of(blocks), hum(1, 1))
    with pytest.raises(AudioError, match="no channel 2; it has 2"):
        FileSource([tmp_path / "two.wav"], 16_000, channel=2)


def test_real_time_gives_a_block_once_it_has_sounded(tmp_path):
    file = write_wav(tmp_path / "a.wav", hum(0.5))
    began = time.monotonic()
    for block in FileSource([file], 16_000, realtime=True).blocks():
        assert len(block.samples) <= 1600  # 0.1 s: a score is not held back
    assert 0.5 <= time.monotonic() - began < 1.5  # seconds; above 0.5 is the load of the machine


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_another_rate_is_resampled(tmp_path, rate):
    time_s = np.arange(2 * rate) / rate
    write_wav(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 1000 * time_s), rate)
    sound = sound_of(FileSource([tmp_path / "a.wav"], 16_000).blocks())
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
        list(FileSource([tmp_path / "a.flac"], 16_000).blocks())


def test_a_wav_from_a_pipe_is_read_though_its_header_knows_no_length(tmp_path):
    content = bytearray(write_wav(tmp_path / "a.wav", hum(1)).read_bytes())
    content[4:8] = content[40:44] = b"\xff" * 4
    (tmp_path / "a.wav").write_bytes(content)
    assert np.array_equal(sound_of(FileSource([tmp_path / "a.wav"], 16_000).blocks()), hum(1))


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


# What is written


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


# The microphone


class Microphone:
    """PortAudio as far as it is used: two devices, and streams that a test plays sound into."""

    class PortAudioError(Exception):
        pass

    default = type("Default", (), {"device": (1, 0)})

    def __init__(self, rates=(16_000, 48_000), script=()):
        self.rates, self.script, self.stream = rates, script, None
        names = ("Speaker", "USB Audio: left", "USB Audio: right")
        self.found = [
            {"index": index, "name": name, "max_input_channels": 2 * (index > 0), "default_samplerate": 48_000.0}
            for index, name in enumerate(names)
        ]

    def query_devices(self, device=None, kind=None):
        if kind is None:
            return self.found
        if device is None:
            device = self.default.device[0]
        if isinstance(device, int):
            if device >= len(self.found):
                raise self.PortAudioError(f"Error querying device {device}")
            return self.found[device]
        matches = [found for found in self.found if device in found["name"] and found["max_input_channels"]]
        if len(matches) != 1:
            raise ValueError("Multiple input devices found" if matches else f"No input device matching {device!r}")
        return matches[0]

    def InputStream(self, **options):  # noqa: N802 - PortAudio's name
        if options["samplerate"] not in self.rates:
            raise self.PortAudioError("Invalid sample rate [PaErrorCode -9997]")
        self.stream = Stream(self.script, **options)
        return self.stream


class Stream:
    """Gives what its script says: (samples [frames], overflow before them), "end", or then nothing any more."""

    def __init__(self, script, callback, finished_callback, channels, **_):
        self.callback, self.finished, self.channels, self.script = callback, finished_callback, channels, script
        self.closed = False

    def start(self):
        for item in self.script:
            if item == "end":
                self.finished()
                return
            samples, overflow = item
            indata = np.zeros((len(samples), self.channels), np.float32)
            indata[:, 1:] = samples[:, None]  # channel 0 is dead
            status = type("Status", (), {"input_overflow": overflow})
            self.callback(indata, len(samples), None, status)
            indata[:] = np.nan  # PortAudio uses the buffer again

    def close(self, ignore_errors):
        self.closed = True


@pytest.fixture
def plug(monkeypatch):
    """Plug the microphone in: what `import sounddevice` gives is the class above."""

    def plugged(**options):
        microphone = Microphone(**options)
        monkeypatch.setitem(sys.modules, "sounddevice", microphone)
        return microphone

    return plugged


def heard(microphone_source):
    """The blocks with sound in them, and the error that ended them."""
    blocks = []
    with pytest.raises(DeviceError) as ended:
        for block in microphone_source.blocks():
            if len(block.samples):
                blocks.append(block)
    return blocks, str(ended.value)


def pieces(sound, size=512):
    return [(part, False) for part in np.split(sound, range(size, len(sound), size))]


def test_a_microphone_is_heard_exactly_until_its_stream_ends(plug):
    plug(script=[*pieces(hum(1)), "end"])
    blocks, said = heard(MicSource("left", 16_000, channel=1))
    assert np.array_equal(sound_of(blocks), hum(1))
    assert [block.new for block in blocks[:2]] == ["USB Audio: left", None]
    assert said.startswith("USB Audio: left: the stream has ended")


def test_a_stalled_microphone_is_noticed_within_half_a_second(plug):
    plug(script=pieces(hum(1)))
    microphone, times = MicSource("1", 16_000), []
    with pytest.raises(DeviceError, match=r"no sound for 0\.5 s"):
        for block in microphone.blocks():
            if len(block.samples):
                times.append(time.monotonic())
    assert time.monotonic() - times[-1] < 1.0  # seconds: 0.5 and what ten sleeps take on a busy machine


def test_a_microphone_that_never_begins_is_an_error_too(plug, monkeypatch):
    monkeypatch.setattr(source, "START_S", 0.2)
    plug()
    blocks, said = heard(MicSource(None, 16_000))
    assert blocks == []
    assert "no sound for 0.2 s" in said


def test_an_overflow_is_counted_as_lost_before_the_block_that_tells_it(plug):
    plug(script=[(hum(1)[:512], False), (hum(1)[512:1024], True), "end"])
    blocks, _ = heard(MicSource("left", 16_000, channel=1))
    assert [block.lost for block in blocks] == [0, 512]


def test_sound_that_does_not_fit_into_the_queue_is_counted(plug, monkeypatch):
    monkeypatch.setattr(source, "QUEUE_BLOCKS", 4)
    plug(script=pieces(hum(1)[: 512 * 7]))
    microphone = MicSource("left", 16_000, channel=1)
    stream = microphone.blocks()
    blocks = [next(stream) for _ in range(4)]  # three more were lost meanwhile
    microphone._stream.script = [*pieces(hum(1)[:512]), "end"]
    microphone._stream.start()
    assert np.array_equal(sound_of(blocks), hum(1)[:2048])
    assert next(block.lost for block in stream if len(block.samples)) == 3 * 512


def test_a_refused_rate_is_replaced_by_the_device_s_own_and_resampled(plug):
    sound = hum(1, rate=48_000)
    plug(rates=[48_000], script=[*pieces(sound[:24_000], 1536), (sound[24_000:], True), "end"])
    microphone = MicSource("left", 16_000, channel=1)
    assert microphone.name == "USB Audio: left, resampled from 48000 Hz"
    blocks, _ = heard(microphone)
    lost = next(index for index, block in enumerate(blocks) if block.lost)
    assert blocks[lost].lost == 8_000  # at 16 kHz
    for part, given_blocks in ((sound[:24_000], blocks[:lost]), (sound[24_000:], blocks[lost:])):
        resampled = Resampler(48_000, 16_000).push(part)
        assert np.array_equal(sound_of(given_blocks)[: len(resampled)], resampled)  # nothing spans the gap


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("nobody", "nobody: no such microphone; there is 1 USB Audio: left, 2 USB Audio: right; see python -m"),
        ("9", "9: no such microphone"),
        ("USB", "USB: several microphones match"),
    ],
)
def test_a_device_that_does_not_exist_names_what_there_is(plug, device, words):
    plug()
    with pytest.raises(DeviceError, match=words):
        MicSource(device, 16_000)


def test_a_channel_that_the_microphone_lacks_is_an_error(plug):
    plug()
    with pytest.raises(DeviceError, match="no channel 2; it has 2"):
        MicSource("left", 16_000, channel=2)


def test_a_device_that_takes_no_rate_is_an_error(plug):
    plug(rates=[])
    with pytest.raises(DeviceError, match="cannot be opened"):
        MicSource("left", 16_000)


def test_closing_a_stream_that_hangs_does_not_hang(plug, monkeypatch):
    monkeypatch.setattr(source, "CLOSE_S", 0.2)
    plug()
    microphone = MicSource("left", 16_000)
    never = threading.Event()
    microphone._stream.close = lambda ignore_errors: never.wait(5)
    began = time.monotonic()
    microphone.close()
    assert time.monotonic() - began < 2  # seconds
    never.set()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("raise OSError('PortAudio library not found')", "apt install libportaudio2"),
        ("raise ModuleNotFoundError('No module named sounddevice')", "pip install 'auscult[mic]'"),
    ],
)
def test_what_is_missing_for_a_microphone_is_named(tmp_path, content, words):
    (tmp_path / "sounddevice.py").write_text(content)
    path = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    program = "from edge_runtime.source import devices; devices()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=path)
    assert words in done.stderr.splitlines()[-1]
