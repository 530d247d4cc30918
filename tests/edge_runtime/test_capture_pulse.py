"""Through a real PulseAudio: bit by bit, by channel, at other rates, and through every way in which it goes away."""

import os
import signal
import time

import numpy as np
import pytest

from edge_runtime.capture import MicrophoneSettings, pulse
from tests.conftest import hum
from tests.edge_runtime.sound_server import NEEDED, Bench

pytestmark = NEEDED
NOTICED_S, RETURNED_S = 0.5, 3.0  # seconds: the budgets
LOAD_S = 2.0  # seconds more, on a busy machine
AHEAD_S = 0.5  # seconds that samples and losses may differ from the clock: buffers of the sound server


@pytest.fixture
def stereo(tmp_path, monkeypatch):
    bench = Bench(tmp_path, monkeypatch, rate=48_000, channels=2)
    yield bench
    bench.close()


def listening(bench, **options):
    bench.play()
    heard = bench.hear(**options)
    heard.until(lambda heard: any(change.listening for change in heard.changes))  # a server that has just begun is slow
    heard.for_s(0.5)
    return heard


def is_in(heard, played):
    """Whether the end of what was heard stands somewhere in what was played, sample by sample."""
    ends = np.flatnonzero(played == heard[-1]) + 1
    return any(end >= len(heard) and np.array_equal(played[end - len(heard) : end], heard) for end in ends)


@pytest.mark.parametrize("rate", [None, 16_000])
def test_sound_at_the_model_s_rate_is_heard_bit_by_bit(bench, rate):
    bench.play(hum(60))
    heard = bench.hear(MicrophoneSettings("pulsemic", rate))
    heard.changed(True)
    heard.for_s(2.0)
    assert is_in(heard.sound[-16_000:], hum(60))
    assert sum(block.lost for block in heard.blocks) == 0


def test_every_channel_of_a_source_is_itself(stereo, tmp_path):
    played = np.stack([hum(30, 1, 48_000), hum(30, 2, 48_000)], axis=1)
    stereo.play(played, 48_000)
    heard = stereo.hear(channels=(1, 0), sample_rate=48_000)
    heard.changed(True)
    heard.for_s(2.0)
    heard.close()
    samples = np.concatenate([block.samples for block in heard.blocks])[-48_000:]
    assert is_in(samples[:, 0], played[:, 1])
    assert is_in(samples[:, 1], played[:, 0])


def test_one_channel_of_two_is_not_their_mean(stereo):
    played = np.stack([hum(30, 1, 48_000), hum(30, 2, 48_000)], axis=1)
    stereo.play(played, 48_000)
    heard = stereo.hear(sample_rate=48_000)
    heard.changed(True)
    heard.for_s(1.0)
    heard.close()
    assert is_in(heard.sound[-24_000:], played[:, 0])


def test_a_channel_that_the_source_lacks_is_told(bench):
    bench.play()
    heard = bench.hear(channels=(1,))
    heard.changed(False)
    assert heard.changes[0].reason == "pulsemic: no channel 1; mic.monitor has 1, counted from 0"


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_a_source_at_another_rate_is_resampled_by_us(tmp_path, monkeypatch, rate):
    bench = Bench(tmp_path, monkeypatch, rate=rate)
    try:
        tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(30 * rate) / rate)
        bench.play(tone, rate)
        heard = bench.hear()
        heard.changed(True)
        heard.for_s(2.5)
        assert f"1 channels, {rate} Hz" in heard.changes[0].reason
        sound = heard.sound[-16_000:]
        power = np.abs(np.fft.rfft(sound * np.hanning(16_000))) ** 2
        assert np.argmax(power) == 1000  # Hz
        assert power[990:1011].sum() / power.sum() > 1 - 1e-7  # 70 dB: 16 bits and the resampler are below
    finally:
        bench.close()


def test_a_source_that_is_unloaded_is_noticed_and_heard_again_after_its_return(bench):
    heard = listening(bench)
    bench.server.unload("mic")
    assert heard.changed(False) < NOTICED_S + LOAD_S
    heard.for_s(3.0)
    bench.server.load("mic")
    began = time.monotonic()
    bench.play()
    heard.changed(True)
    assert time.monotonic() - began < RETURNED_S + LOAD_S
    heard.for_s(0.5)
    heard.close()
    assert abs(heard.ahead_s) < AHEAD_S
    assert [block.new for block in heard.blocks if block.new] == ["pulsemic", "pulsemic"]


def test_a_source_that_is_suspended_is_noticed_named_and_heard_again(bench):
    heard = listening(bench)
    bench.server.suspend("mic")
    assert heard.changed(False) < NOTICED_S + LOAD_S
    heard.changed(False)
    assert "mic.monitor is suspended; resume it" in heard.changes[-1].reason
    bench.server.suspend("mic", False)
    assert heard.changed(True) < RETURNED_S + LOAD_S
    heard.for_s(0.3)
    assert abs(heard.ahead_s) < AHEAD_S


def test_a_stream_that_is_moved_to_another_microphone_is_not_listened_to(bench):
    bench.server.load("other")
    bench.server.rescue_streams()
    bench.play(sink="other")
    heard = listening(bench)
    bench.server.unload("mic")
    assert heard.changed(False) < pulse.BETWEEN_S + LOAD_S  # seconds: the other one is heard until the next look
    assert "moved the stream to other.monitor, which is another microphone" in heard.changes[-1].reason
    heard.for_s(3.0)
    assert not heard.changes[-1].listening
    bench.server.load("mic")
    bench.play()
    assert heard.changed(True) < RETURNED_S + LOAD_S
    assert abs(heard.ahead_s) < AHEAD_S


def test_the_default_microphone_is_the_one_that_it_meant_at_first(bench):
    bench.server.load("other")
    bench.server.ask("set-default-source", "mic.monitor")
    bench.play(sink="other")
    heard = listening(bench, settings=MicrophoneSettings("anymic"))
    assert heard.microphone._identity == "mic.monitor"
    bench.server.unload("mic")
    heard.changed(False)
    heard.until(lambda heard: "means other.monitor now, and meant mic.monitor" in heard.changes[-1].reason)
    bench.server.load("mic")
    bench.server.ask("set-default-source", "mic.monitor")
    bench.play()
    heard.changed(True)


def test_a_server_that_is_killed_is_noticed_and_heard_again_when_it_runs(bench):
    heard = listening(bench)
    bench.server.kill()
    assert heard.changed(False) < NOTICED_S + LOAD_S
    heard.for_s(1.0)
    bench.server.run()
    began = time.monotonic()
    bench.play()
    heard.changed(True)
    assert time.monotonic() - began < RETURNED_S + LOAD_S
    heard.for_s(0.3)
    assert abs(heard.ahead_s) < AHEAD_S


def test_a_server_that_hangs_is_noticed_and_heard_again_when_it_goes_on(bench):
    heard = listening(bench)
    bench.server.hang()
    assert heard.changed(False) < NOTICED_S + LOAD_S
    heard.for_s(1.0)
    bench.server.go_on()
    assert heard.changed(True) < RETURNED_S + LOAD_S
    heard.for_s(0.3)
    began = time.monotonic()
    bench.server.hang()
    heard.close()
    assert time.monotonic() - began < 1.5  # seconds, load among them: closing waits for no server
    assert abs(heard.ahead_s) < AHEAD_S


def test_a_microphone_absent_at_first_is_heard_when_it_comes(bench):
    heard = bench.hear(MicrophoneSettings("othermic"))
    heard.changed(False)
    heard.for_s(1.0)
    bench.server.load("other")
    bench.play(sink="other")
    assert heard.changed(True) < 5.0 + LOAD_S  # seconds: of one never heard before
    assert abs(heard.ahead_s) < AHEAD_S


def test_two_microphones_do_not_touch_each_other(bench):
    bench.server.load("other")
    bench.play(sink="other")
    other = bench.hear(MicrophoneSettings("othermic"))
    heard = listening(bench)
    other.changed(True)
    child = other.microphone._child.pid
    bench.server.unload("mic")
    heard.changed(False)
    heard.for_s(2.0)
    other.for_s(0.2)
    assert other.microphone._child.pid == child
    assert [change.listening for change in other.changes] == [True]
    assert sum(block.lost for block in other.blocks) == 0
    assert abs(other.ahead_s) < AHEAD_S


def test_a_child_that_is_killed_is_replaced(bench):
    heard = listening(bench)
    os.kill(heard.microphone._child.pid, signal.SIGKILL)
    assert heard.changed(False) < NOTICED_S + LOAD_S
    assert heard.changed(True) < RETURNED_S + LOAD_S
    assert abs(heard.ahead_s) < AHEAD_S


def test_a_stuck_buffer_is_what_the_test_bench_makes_of_it(bench):
    stuck = hum(0.1)
    bench.server.stick(stuck)
    bench.play()
    heard = bench.hear(MicrophoneSettings("stuckmic"))
    heard.changed(True)
    heard.for_s(1.5)
    assert np.array_equal(heard.sound[-4800:-1600], np.tile(heard.sound[-1600:], 2))


def test_samples_and_losses_follow_the_clock_through_one_fault_after_another(bench):
    heard = listening(bench)
    for fault, mend in (("hang", "go_on"), ("kill", "run"), ("hang", "go_on")):
        getattr(bench.server, fault)()
        heard.changed(False)
        heard.for_s(0.4)
        getattr(bench.server, mend)()
        bench.play()
        heard.until(lambda heard: heard.changes[-1].listening)
        heard.for_s(0.3)
        assert abs(heard.ahead_s) < AHEAD_S
    assert [block.new for block in heard.blocks if block.new] == ["pulsemic"] * 4


def test_what_pactl_says_is_understood():
    outputs = """Source Output #4
\tSource: 1
\tProperties:
\t\tapplication.process.id = "77"
Source Output #5
\tDriver: protocol-native.c
\tSource: 12
\tProperties:
\t\tapplication.name = "ALSA plug-in [python3.10]"
\t\tapplication.process.id = "7"
"""
    assert (pulse.source_of(outputs, 7), pulse.source_of(outputs, 77), pulse.source_of("", 7)) == (12, 1, None)
    sources = "1\tcard\tmodule.c\ts16le 2ch 44100Hz\tIDLE\n12\tusb\tPipeWire\tfloat32le 6ch 48000Hz\tSUSPENDED"
    assert pulse.place_of(sources, 12) == pulse.Place(12, "usb", 48_000, 6, True)
    assert pulse.place_of(sources, 2) is None
