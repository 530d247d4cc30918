"""The process that owns PortAudio; a module of our own stands for sounddevice, everything else is real."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.capture import MicrophoneSettings, wire
from edge_runtime.capture.child import QUEUE_BLOCKS, Ears
from edge_runtime.capture.microphone import Microphone
from edge_runtime.errors import DeviceError
from edge_runtime.sound import Resampler
from tests.conftest import ROOT, hum
from tests.edge_runtime.fake_microphone import Heard, PortAudio

LEFT = MicrophoneSettings("USB Audio: left")
CHILD = [sys.executable, "-m", "edge_runtime.capture.child"]
WANTED = '{"device":"USB Audio: left","rate":null,"channels":[0]}'


@pytest.fixture
def portaudio(tmp_path, monkeypatch):
    return PortAudio(tmp_path / "portaudio", monkeypatch)


@pytest.fixture
def hear():
    open_ones = []

    def heard(settings=LEFT, channels=(1,), **options):
        open_ones.append(Heard(Microphone(settings, 16_000, channels, **options)))
        return open_ones[-1]

    yield heard
    for one in open_ones:
        one.close()


def until_it_ends(heard):
    heard.changed(True)
    heard.changed(False)
    return [block for block in heard.blocks if len(block.samples) or block.lost]


def test_a_microphone_is_heard_exactly_until_its_stream_ends(portaudio, hear):
    portaudio.plays(hum(1))
    heard = hear()
    blocks = until_it_ends(heard)
    assert np.array_equal(np.concatenate([block.samples[:, 0] for block in blocks]), hum(1))
    assert [block.new for block in blocks[:2]] == ["USB Audio: left", None]
    assert heard.changes[-1].reason == ("USB Audio: left: the stream has ended (unplugged, or its sound server gone)")


def test_several_channels_come_in_the_order_asked_for(portaudio, hear):
    portaudio.plays(hum(1))
    samples = np.concatenate([block.samples for block in until_it_ends(hear(channels=(1, 0)))])
    assert np.array_equal(samples, np.stack([hum(1), np.zeros(16_000)], axis=1))


def test_an_overflow_is_counted_as_lost_before_the_block_that_tells_it(portaudio, hear):
    portaudio.plays(hum(1)[:1536], overflows=[1])
    assert [block.lost for block in until_it_ends(hear())] == [0, 512, 0]


def test_what_was_heard_while_the_sound_server_was_asked_is_nobody_s(portaudio, hear, tmp_path, monkeypatch):
    (tmp_path / "pactl").write_text("#!/bin/sh\nsleep 0.7\nexit 1\n")
    (tmp_path / "pactl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    portaudio.plays(hum(30), pause_s=0.032)
    heard = hear()
    heard.changed(True)
    assert time.monotonic() - heard.blocks[0].at_s < 1.5  # seconds: it has just come, and load
    assert not np.array_equal(heard.blocks[0].samples[:, 0], hum(30)[:512])


def test_sound_that_does_not_fit_into_the_queue_is_counted():
    ears, flags = Ears(), type("Flags", (), {"input_overflow": False})
    for _ in range(QUEUE_BLOCKS + 3):
        ears.callback(bytes(2048), 512, None, flags)
    first = [ears.queue.get_nowait() for _ in range(QUEUE_BLOCKS)]
    ears.callback(bytes(2048), 512, None, flags)
    assert {block.lost for block in first} == {0}
    assert ears.queue.get_nowait().lost == 3 * 512


def test_another_rate_is_resampled_and_nothing_spans_a_gap(portaudio, hear):
    sound = hum(1, rate=48_000)
    portaudio.plays(sound, rates=[48_000], size=1536, overflows=[16])
    blocks = until_it_ends(hear())
    lost = next(index for index, block in enumerate(blocks) if block.lost)
    assert blocks[lost].lost == 512  # at 16 kHz
    cut = 16 * 1536
    for part, given in ((sound[:cut], blocks[:lost]), (sound[cut:], blocks[lost:])):
        resampler = Resampler(48_000, 16_000)
        wanted = np.concatenate([resampler.push(part), resampler.flush()])
        heard = np.concatenate([block.samples[:, 0] for block in given])
        assert np.array_equal(heard, wanted)


def test_a_rate_that_is_asked_for_is_taken_or_refused(portaudio, hear):
    portaudio.plays(hum(1), rates=[48_000, 16_000])
    heard = hear(MicrophoneSettings("USB Audio: left", rate=16_000))
    assert np.array_equal(np.concatenate([block.samples[:, 0] for block in until_it_ends(heard)]), hum(1))
    with pytest.raises(DeviceError, match="cannot be opened at 44100 Hz"):
        hear(MicrophoneSettings("USB Audio: left", rate=44_100), insist=False)


@pytest.mark.parametrize(
    ("device", "channel", "words"),
    [
        ("nobody", 0, r"^nobody: no such microphone; there is pcm:USB Audio: left, pcm:USB Audio: right; see python"),
        ("1", 0, "^1: no such microphone"),
        ("USB", 0, "^USB: no such microphone"),
        ("Speaker", 0, "^Speaker: no such microphone"),
        ("USB Audio: left", -1, "no channel -1; USB Audio: left has 2, counted from 0"),
        ("USB Audio: left", 2, "no channel 2; USB Audio: left has 2, counted from 0"),
    ],
)
def test_what_is_not_there_is_an_error_in_one_line(portaudio, device, channel, words):
    with pytest.raises(DeviceError, match=words) as refused:
        Microphone(MicrophoneSettings(device), 16_000, [channel], insist=False)
    assert "\n" not in str(refused.value)


def test_a_device_that_takes_no_rate_is_an_error(portaudio):
    portaudio.plays(hum(1), rates=[])
    with pytest.raises(DeviceError, match="cannot be opened at any rate"):
        Microphone(LEFT, 16_000, insist=False)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("raise OSError('PortAudio library not found')", "apt install libportaudio2"),
        ("raise ModuleNotFoundError('No module named sounddevice')", r"pip install 'auscult\[mic\]'"),
        ("query_devices = None", "TypeError: 'NoneType' object is not callable"),
    ],
)
def test_what_is_missing_for_a_microphone_is_named(tmp_path, monkeypatch, content, words):
    (tmp_path / "sounddevice.py").write_text(f"default = type('D', (), {{'device': (0, 0)}})\n{content}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(DeviceError, match=words):
        Microphone(LEFT, 16_000, insist=False)


def start(**options):
    return subprocess.Popen([*CHILD, WANTED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, **options)


def first_sound(child):
    reader = wire.Reader()
    while True:
        for message in reader.feed(os.read(child.stdout.fileno(), 65_536)):
            if isinstance(message, wire.Sound):
                return


def test_the_child_ends_when_its_listener_is_gone(portaudio):
    portaudio.plays(hum(30), pause_s=0.032)
    child = start()
    first_sound(child)
    child.stdin.close()
    assert child.wait(10) == 0
    child.stdout.close()


def test_signals_that_are_meant_for_the_listener_do_not_end_the_child(portaudio):
    portaudio.plays(hum(30), pause_s=0.032)
    child = start()
    first_sound(child)
    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGTERM)
    first_sound(child)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.2)
    child.stdin.close()
    assert child.wait(10) == 0
    child.stdout.close()


def test_the_child_ends_when_nobody_reads_it(portaudio):
    portaudio.plays(hum(30), pause_s=0.032)
    child = start()
    first_sound(child)
    child.stdout.close()
    assert child.wait(10) == 0
    child.stdin.close()


def test_the_child_does_not_outlive_a_listener_that_is_killed(portaudio):
    portaudio.plays(hum(30), pause_s=0.032)
    program = f"""
import time
from edge_runtime.capture import MicrophoneSettings
from edge_runtime.capture.microphone import Microphone
print(Microphone(MicrophoneSettings({LEFT.device!r}), 16_000, insist=False)._child.pid, flush=True)
time.sleep(60)
"""
    listener = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT)
    child = int(listener.stdout.readline())
    os.kill(child, 0)
    listener.send_signal(signal.SIGKILL)
    listener.wait()
    listener.stdout.close()
    deadline = time.monotonic() + 5
    while _alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _alive(process):
    """A zombie whose new parent has not looked yet is not alive."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_the_child_needs_no_numpy():
    program = "import sys, edge_runtime.capture.child; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True).split()
    assert {"numpy", "soxr", "soundfile", "onnxruntime", "yaml", "asyncio"}.isdisjoint(loaded)
