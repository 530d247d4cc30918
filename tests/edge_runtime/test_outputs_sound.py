"""The sound on alarm: over and over until somebody acknowledges or silences it, whatever happens to its player."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_runtime.errors import ConfigError
from edge_runtime.outputs import sound
from edge_runtime.outputs.open import open_output
from edge_runtime.outputs.settings import SoundSettings
from edge_runtime.outputs.sound import Sound
from tests.conftest import ROOT, hum, write_wav
from tests.edge_runtime.sound_server import NEEDED, closed, opened
from tests.edge_runtime.telling import status, until

FAKE = ROOT / "tests/edge_runtime/fake_speaker"
CALLING = [status("unacknowledged"), status(machine="pump")]


class Room:
    """The folder that the fake loudspeaker plays into."""

    def __init__(self, folder):
        self.folder = folder
        self.file = write_wav(folder / "horn.wav", hum(0.2))

    @property
    def heard(self):
        file = self.folder / "played"
        return file.read_bytes() if file.exists() else b""

    def fault(self, words):
        (self.folder / "fault.partial").write_text(words)
        (self.folder / "fault.partial").replace(self.folder / "fault")

    def sounds(self, seconds=0.4):
        before = len(self.heard)
        time.sleep(seconds)
        return len(self.heard) > before


@pytest.fixture
def room(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_SPEAKER", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(FAKE))
    return Room(tmp_path)


@pytest.fixture
def horn(room):
    output = Sound("horn", SoundSettings(file=str(room.file), pause_s=0.1))
    yield output
    output.close(1.0)


def feeding(output, seconds, true=lambda: False):
    """The listening loop for a while, or until something is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not true():
        output.feed(True)
        time.sleep(0.02)


def test_it_sounds_over_and_over_with_its_pause(room, horn):
    horn.update([], [status(), status(machine="pump")])
    assert not room.sounds()
    horn.update([], CALLING)
    wanted = (hum(0.2) * 32768).astype("<i2").tobytes() + bytes(2 * 1600)  # 0.1 s of silence
    until(lambda: len(room.heard) > 2 * len(wanted))
    assert room.heard.startswith(2 * wanted)


@pytest.mark.parametrize(
    ("now", "sounds"),
    [
        (status("acknowledged"), False),
        (status("unacknowledged", silenced=True), False),
        (status("returned_unacknowledged"), True),  # it was there, and nobody has seen it
        (status("latched_unacknowledged", level="normal"), True),
        (status("latched_acknowledged", level="normal"), False),
        (status("shelved"), False),
        (status("normal"), False),
    ],
)
def test_acknowledging_or_silencing_ends_it(room, horn, now, sounds):
    horn.update([], CALLING)
    until(lambda: room.heard)
    horn.update([], [now, status(machine="pump")])
    time.sleep(0.3)  # seconds: what was begun
    assert room.sounds() == sounds


def test_a_warning_that_has_returned_never_sounded_and_still_does_not(room, horn):
    horn.update([], [status("unacknowledged", level="warning")])
    horn.update([], [status("returned_unacknowledged")])
    assert not room.sounds()


def test_a_player_that_is_killed_is_said_and_started_again(room, horn):
    horn.update([], CALLING)
    until(lambda: room.heard)
    horn._child._process.kill()
    horn._child._process.wait()
    lines = []
    feeding(horn, 5.0, lambda: bool(lines.extend(horn.failures()) or len(lines) > 1))
    assert lines == ["its process died (SIGKILL); it is started again", "works again"]
    assert room.sounds()


@pytest.mark.parametrize(
    ("fault", "words"), [("raise", "cannot play"), ("hang", "no answer for 0.5 s"), ("gone", "cannot play")]
)
def test_a_loudspeaker_that_fails_or_hangs_is_said_once_and_comes_back(room, monkeypatch, fault, words):
    monkeypatch.setattr(sound, "PATIENCE_S", 0.5)
    horn = Sound("horn", SoundSettings(file=str(room.file)))
    until(lambda: not horn._worker._waiting and horn._worker._began is None)
    room.fault(fault)
    if fault == "gone":  # it is not seen before the player starts again
        horn._child._process.kill()
        horn._child._process.wait()
    began = time.monotonic()
    horn.update([], CALLING)
    assert time.monotonic() - began < 0.5
    lines = []
    feeding(horn, 2.5)
    lines += horn.failures()
    assert len([line for line in lines if words in line]) == 1, lines
    room.fault("")
    feeding(horn, 15.0, lambda: bool(lines.extend(horn.failures()) or "works again" in lines[-1]))
    assert lines[-1] == "works again"
    until(lambda: room.heard)
    horn.close(1.0)


def test_a_loudspeaker_that_goes_away_is_said_before_it_should_sound(room, monkeypatch):
    monkeypatch.setattr(sound, "CHECK_S", 0.5)
    horn = Sound("horn", SoundSettings(file=str(room.file)))
    horn.update([], [status()])
    feeding(horn, 1.0)
    assert list(horn.failures()) == []
    room.fault("gone")
    lines = []
    feeding(horn, 5.0, lambda: bool(lines.extend(horn.failures()) or lines))
    assert "cannot play" in lines[0]
    horn.close(1.0)


def test_closing_takes_no_longer_than_it_may_and_ends_the_player(room, horn):
    horn.update([], CALLING)
    until(lambda: room.heard)
    room.fault("hang")
    time.sleep(0.3)
    process = horn._child._process
    began = time.monotonic()
    horn.close(1.0)
    assert time.monotonic() - began < 2.5
    assert process.poll() is not None


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), (b"", "WAV"), (b"RIFF....", "WAV"), (hum(61.0, rate=1000), "60 s")],
    ids=["missing", "empty", "no wav", "too long"],
)
def test_a_file_that_cannot_be_played_is_refused_at_the_start(tmp_path, content, words):
    file = tmp_path / "horn.wav"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        write_wav(file, content, 1000)
    with pytest.raises(ConfigError, match=r"output horn: .*horn.wav") as error:
        open_output("horn", SoundSettings(file=str(file)))
    assert words in str(error.value)


@pytest.fixture
def hall(monkeypatch):
    """A sound server of our own, with a loudspeaker whose sound can be recorded."""
    server = opened()
    alsa = server.folder / "alsa.conf"
    alsa.write_text(alsa.read_text() + '\npcm.horn { type pulse; device "mic" }\n')
    for key, value in server.environment.items():
        monkeypatch.setenv(key, value)
    yield server
    closed(server)


def level(server, folder, seconds=1.0):
    """Root mean square of what the loudspeaker gives."""
    file = folder / "recorded.raw"
    words = ["parec", "--device=mic.monitor", "--format=s16le", "--rate=16000", "--channels=1", "--latency-msec=50"]
    with file.open("wb") as stream:
        recorder = server.start(words, stdout=stream, stderr=subprocess.DEVNULL)
        time.sleep(seconds + 0.5)
        recorder.kill()
        recorder.wait()
    samples = np.frombuffer(file.read_bytes(), "<i2")[-round(seconds * 16_000) :]
    return float(np.sqrt(np.mean((samples / 32768.0) ** 2))) if len(samples) else 0.0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=lambda number: number.name)
@pytest.mark.parametrize("marks", [pytest.param(None, marks=NEEDED, id="PulseAudio")])
def test_a_real_sound_server_plays_it_and_its_death_is_said(hall, tmp_path, number, marks):
    file = write_wav(tmp_path / "horn.wav", hum(1.0))
    horn = open_output("horn", SoundSettings(file=str(file), device="horn", pause_s=0.0))
    horn.update([], [status()])
    time.sleep(1.0)
    assert level(hall, tmp_path) < 1e-4
    horn.update([], CALLING)
    time.sleep(1.0)
    played = soundfile.read(file)[0]
    assert level(hall, tmp_path) == pytest.approx(np.sqrt(np.mean(played**2)), rel=0.2)
    hall.process.send_signal(number)
    lines = []
    feeding(horn, 12.0, lambda: bool(lines.extend(horn.failures()) or lines))
    assert lines
    began = time.monotonic()
    horn.close(1.0)
    assert time.monotonic() - began < 2.5


LISTENER = """
import sys, time
from edge_runtime.outputs.settings import SoundSettings
from edge_runtime.outputs.sound import Sound
from tests.edge_runtime.telling import status
horn = Sound("horn", SoundSettings(file=sys.argv[1]))
horn.update([], [status("unacknowledged")])
while not horn._child._process:
    time.sleep(0.05)
print(horn._child._process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("fault", ["", "hang"])
def test_a_listener_that_is_killed_leaves_no_player_behind(room, fault):
    words = [sys.executable, "-c", LISTENER, room.file]
    listener = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    player = int(listener.stdout.readline())
    until(lambda: room.heard)
    room.fault(fault)
    time.sleep(0.2)
    listener.kill()
    listener.wait()
    stat = Path(f"/proc/{player}/stat")
    until(lambda: not stat.exists() or stat.read_text().split(")")[1].split()[0] == "Z", 2.0)


def test_the_player_is_small(room, horn):
    horn.update([], CALLING)
    until(lambda: room.heard)
    words = Path(f"/proc/{horn._child._process.pid}/status").read_text()
    assert next(int(line.split()[1]) for line in words.splitlines() if line.startswith("VmRSS")) < 30_000  # KiB
