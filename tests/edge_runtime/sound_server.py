"""A real microphone path without a sound card: PulseAudio's null sink, ALSA, PortAudio, sounddevice.

Nothing of the user's is touched: the sound server, its socket and ALSA's configuration live in a temporary folder. The
null sink "mic" is the microphone `pulsemic`, "other" is `othermic`; what is played into a sink is what its microphone
hears. `stuckmic` is `pulsemic` as long as it is not stuck.
"""

import ctypes.util
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_runtime.capture import MicrophoneSettings
from edge_runtime.capture.microphone import Microphone
from tests.conftest import ROOT, hum, write_wav
from tests.edge_runtime.fake_microphone import Heard

PULSEMIC = MicrophoneSettings("pulsemic")

ALSA = """
</usr/share/alsa/alsa.conf>
pcm.pulsemic {{ type pulse; device "mic.monitor" }}
pcm.othermic {{ type pulse; device "other.monitor" }}
pcm.anymic {{ type pulse }}
pcm.stuckmic {{ type file; slave.pcm pulsemic; file "/dev/null"; infile "{folder}/stuck.raw"; format "raw" }}
"""


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


NEEDED = [
    pytest.mark.skipif(bool(missing_packages()), reason=f"apt install {' '.join(missing_packages())}"),
    pytest.mark.skipif(importlib.util.find_spec("sounddevice") is None, reason="pip install 'auscult[mic]'"),
]


class SoundServer:
    """A PulseAudio of our own, whose null sink is a microphone named pulsemic."""

    def __init__(self, folder, rate=16_000, channels=1):
        self.folder, self.rate, self.channels = folder, rate, channels
        (folder / "alsa.conf").write_text(ALSA.format(folder=folder))
        (folder / "stuck.raw").touch()
        ours = {"XDG_RUNTIME_DIR": str(folder), "HOME": str(folder), "ALSA_CONFIG_PATH": str(folder / "alsa.conf")}
        theirs = ("PULSE_", "DBUS_", "XDG_")
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(theirs)} | ours
        self.process = None
        self._modules = {}  # sink -> number of its module
        self.run()

    def run(self):
        """Start, or start again after `kill`, with the sink "mic"."""
        words = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "-L", "module-native-protocol-unix"]
        self.process = self.start(words, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while self.start(["pactl", "info"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).wait():
            assert time.monotonic() < deadline, "PulseAudio does not start"
            time.sleep(0.05)
        self.load("mic")

    def load(self, sink, rate=None, channels=None):
        """A sink, which is a microphone, at this rate (Hz); the server's own without."""
        form = f"rate={rate or self.rate} channels={channels or self.channels} format=s16le"
        self._modules[sink] = self.ask("load-module", "module-null-sink", f"sink_name={sink}", *form.split())

    def unload(self, sink):
        """The microphone is gone."""
        self.ask("unload-module", self._modules.pop(sink))

    def rescue_streams(self):
        """A stream whose source goes away is moved to another one, as desktops have it."""
        self.ask("load-module", "module-rescue-streams")

    def suspend(self, sink, suspended=True):
        """The microphone gives no sound any more, and says nothing of it."""
        self.ask("suspend-sink", sink, int(suspended))

    def hang(self):
        """The server answers nobody."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        """After `hang`."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        """The server is gone, and so are its sinks."""
        self.go_on()
        self.process.kill()
        self.process.wait()
        self._modules.clear()
        for left in (self.folder / "pulse").glob("*"):
            left.unlink()

    def ask(self, *words):
        """What pactl answers."""
        return subprocess.check_output(["pactl", *map(str, words)], env=self.environment, text=True).strip()

    def start(self, words, **options):
        """A program that knows this server alone."""
        return subprocess.Popen(list(map(str, words)), env=self.environment, cwd=ROOT, **options)

    def auscult(self, *words):
        """A command of ours, its output in pipes."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return self.start([sys.executable, "-m", "edge_runtime", *words], **pipes)

    def play(self, file, sink="mic"):
        """Into a microphone, in real time; a process."""
        return self.start(["paplay", f"--device={sink}", "--latency-msec=100", file], stderr=subprocess.DEVNULL)

    def stick(self, samples, seconds=60.0):
        """[samples] float32 at the server's rate that `stuckmic` gives over and over instead of what it hears."""
        again = np.resize(samples.astype(np.float32), round(seconds * self.rate) * self.channels)
        again.tofile(self.folder / "stuck.raw")


def opened(**options):
    """A server, to be closed with `closed`."""
    return SoundServer(Path(tempfile.mkdtemp(prefix="auscult-")), **options)  # short: a socket's path has 107 bytes


def closed(server):
    """Nothing of it is left."""
    server.kill()
    shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture
def server():
    """Runs while a test does; its microphone has one channel of 16 kHz."""
    server = opened()
    yield server
    closed(server)


@pytest.fixture
def playing(server, tmp_path):
    """The hum of a machine, as long as a test needs it."""
    player = server.play(write_wav(tmp_path / "playing.wav", hum(60)))
    yield
    player.kill()
    player.wait()


class Bench:
    """A sound server that this process knows too, what plays into it, and who listens."""

    def __init__(self, folder, monkeypatch, **options):
        self.server, self.folder = opened(**options), folder
        for name in set(os.environ) - set(self.server.environment):
            monkeypatch.delenv(name)
        for name, value in self.server.environment.items():
            monkeypatch.setenv(name, value)
        self._players, self._heard = [], []

    def play(self, sound=None, rate=16_000, sink="mic"):
        """[samples] or [samples, channels] into a sink; one that nothing is played into sleeps for up to 2 s."""
        file = self.folder / f"{len(self._players)}.wav"
        soundfile.write(file, hum(60) if sound is None else sound, rate, subtype="PCM_16")
        self._players.append(self.server.play(file, sink))
        deadline = time.monotonic() + 10
        while "RUNNING" not in self.server.ask("list", "short", "sinks"):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def hear(self, settings=PULSEMIC, channels=(0,), sample_rate=16_000, **options):
        """A microphone of this server, in this process."""
        self._heard.append(Heard(Microphone(settings, sample_rate, channels, **options)))
        return self._heard[-1]

    def close(self):
        """Nothing of it is left."""
        for heard in self._heard:
            heard.microphone.close()
        for player in self._players:
            player.kill()
            player.wait()
        closed(self.server)


@pytest.fixture
def bench(tmp_path, monkeypatch):
    bench = Bench(tmp_path, monkeypatch)
    yield bench
    bench.close()
