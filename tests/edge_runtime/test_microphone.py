"""Sound from a microphone; a small class stands for PortAudio."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from edge_runtime import source
from edge_runtime.errors import DeviceError
from edge_runtime.sound import Resampler
from edge_runtime.source import MicSource
from tests.conftest import ROOT, hum
from tests.edge_runtime.fake_portaudio import Microphone, pieces


def sound_of(blocks):
    return np.concatenate([block.samples for block in blocks])


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
