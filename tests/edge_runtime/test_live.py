"""A real microphone path without a sound card: PulseAudio's null sink, ALSA, PortAudio, sounddevice.

Nothing of the user's is touched: the sound server, its socket and ALSA's configuration live in a temporary folder.
"""

import ctypes.util
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import ROOT, hum, write_wav

MACHINE = ("--machine", "fan_section_00")
ALSA = '</usr/share/alsa/alsa.conf>\npcm.pulsemic { type pulse; device "mic.monitor" }\n'


def missing_packages():
    """Debian packages that these tests lack."""
    plugins = list(Path("/usr/lib").glob("**/alsa-lib/libasound_module_pcm_pulse.so"))
    there = {
        "pulseaudio": shutil.which("pulseaudio"),
        "pulseaudio-utils": shutil.which("pactl") and shutil.which("paplay"),
        "libportaudio2": ctypes.util.find_library("portaudio"),
        "libasound2-plugins": plugins,
    }
    return [name for name, found in there.items() if not found]


pytestmark = [
    pytest.mark.skipif(bool(missing_packages()), reason=f"apt install {' '.join(missing_packages())}"),
    pytest.mark.skipif(importlib.util.find_spec("sounddevice") is None, reason="pip install 'auscult[mic]'"),
]


class SoundServer:
    """A PulseAudio of our own, whose null sink is a microphone named pulsemic."""

    def __init__(self, folder):
        (folder / "alsa.conf").write_text(ALSA)
        ours = {"XDG_RUNTIME_DIR": str(folder), "HOME": str(folder), "ALSA_CONFIG_PATH": str(folder / "alsa.conf")}
        theirs = ("PULSE_", "DBUS_", "XDG_")
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(theirs)} | ours
        sink = "module-null-sink sink_name=mic rate=16000 channels=1 format=s16le"
        words = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "-L", "module-native-protocol-unix"]
        self.process = self.start([*words, "-L", sink], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while self.start(["pactl", "info"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).wait():
            assert time.monotonic() < deadline, "PulseAudio does not start"
            time.sleep(0.05)

    def start(self, words, **options):
        return subprocess.Popen(list(map(str, words)), env=self.environment, cwd=ROOT, **options)

    def auscult(self, *words):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return self.start([sys.executable, "-m", "edge_runtime", *words], **pipes)

    def play(self, file):
        return self.start(["paplay", "--device=mic", "--latency-msec=100", file])


@pytest.fixture
def server():
    """Runs while a test does."""
    folder = Path(tempfile.mkdtemp(prefix="auscult-"))  # short: the path of a socket has 107 bytes
    server = SoundServer(folder)
    yield server
    server.process.send_signal(signal.SIGCONT)
    server.process.kill()
    server.process.wait()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def playing(server, tmp_path):
    """The hum of a machine, as long as a test needs it."""
    player = server.play(write_wav(tmp_path / "playing.wav", hum(60)))
    yield
    player.kill()
    player.wait()


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def windows(told):
    return [event for event in told if event["event"] == "window"]


def test_a_live_run_scores_what_it_saved_and_saves_what_was_played(server, playing, packed, tmp_path):
    saved = tmp_path / "saved"
    run = server.auscult("run", packed, "--device", "pulsemic", *MACHINE, "--save-audio", saved, "--seconds", 4)
    out, err = run.communicate(timeout=30)
    assert (run.returncode, err) == (0, "")
    told = lines(out)
    assert (told[0]["source"], told[-1]["seconds"], told[-1]["lost_samples"]) == ("pulsemic", 4.0, 0)
    score = server.auscult("score", packed, saved, *MACHINE)
    again = lines(score.communicate(timeout=30)[0])
    keys = ("start_s", "end_s", "score", "decision", "level_dbfs", "clipped", "faults")
    assert len(again) == 12
    assert [[window[key] for key in keys] for window in windows(told)] == [
        [line[key] for key in keys] for line in again
    ]
    heard, played = soundfile.read(saved / "000001.wav", dtype="float32")[0], hum(60)
    found = np.flatnonzero(played == heard[-1])  # every sample, bit by bit, as far back as the player goes
    assert any(np.array_equal(played[max(0, end + 1 - 16_000) : end + 1], heard[-16_000:]) for end in found)


@pytest.mark.parametrize(("number", "words"), [(signal.SIGKILL, "has ended"), (signal.SIGSTOP, "no sound for 0.5 s")])
def test_a_sound_server_that_dies_or_hangs_ends_the_run_with_one_error(server, playing, packed, number, words):
    run = server.auscult("run", packed, "--device", "pulsemic", *MACHINE)
    watchdog = threading.Timer(30, run.kill)
    watchdog.start()
    told = []
    for line in run.stdout:
        told.append(json.loads(line))
        if len(told) == 4:
            server.process.send_signal(number)
            began = time.monotonic()
    noticed = time.monotonic() - began
    watchdog.cancel()
    assert run.wait(10) == 2
    assert time.monotonic() - began < 4.0  # seconds: 0.5 to notice, 1 to close a stream that hangs, the rest is load
    assert noticed < 3.0
    error = run.stderr.read().splitlines()[-1]
    assert error.startswith("error: pulsemic: ")
    assert words in error
    assert told[-1]["event"] == "end"
    assert error == f"error: {told[-1]['error']}"


def test_sigterm_ends_a_live_run_in_order(server, packed):
    run = server.auscult("run", packed, "--device", "pulsemic", *MACHINE)
    told = [json.loads(run.stdout.readline()) for _ in range(2)]
    run.send_signal(signal.SIGTERM)
    out, err = run.communicate(timeout=10)
    assert [event["event"] for event in told] == ["start", "recording"]
    assert (run.returncode, err, lines(out)[-1]["error"]) == (0, "", None)


def test_recorded_clips_can_be_scored(server, playing, packed, tmp_path):
    words = ("record", tmp_path / "out", "--device", "pulsemic", "--clip-seconds", 1.5, "--clips", 2)
    record = server.auscult(*words)
    err = record.communicate(timeout=30)[1]
    assert record.returncode == 0
    assert err.count("dBFS") == 2
    assert sorted(path.name for path in (tmp_path / "out" / "normal").iterdir()) == ["000001.wav", "000002.wav"]
    score = server.auscult("score", packed, tmp_path / "out", *MACHINE)
    told = lines(score.communicate(timeout=30)[0])
    assert len(told) == 4  # two windows of 1.024 s in each clip
    assert all(line["score"] is not None for line in told)


def test_a_device_that_does_not_exist_is_one_line(server, packed):
    run = server.auscult("run", packed, "--device", "nobody", *MACHINE)
    out, err = run.communicate(timeout=10)
    assert (run.returncode, out, len(err.splitlines())) == (2, "", 1)
    assert "nobody: no such microphone" in err
    assert "pulsemic" in err
