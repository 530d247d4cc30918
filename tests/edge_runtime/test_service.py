"""A stream that breaks off, a disk that is full: listening goes on, or ends with its error told."""

import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_runtime import events
from edge_runtime.alarm import AlarmSettings, LevelSettings
from edge_runtime.backends import open_backend
from edge_runtime.bundle import open_bundle
from edge_runtime.detector import Detector
from edge_runtime.errors import DeviceError
from edge_runtime.recorder import Recorder
from edge_runtime.service import Service
from edge_runtime.source import Block
from tests.conftest import hum
from tests.edge_runtime.conftest import FAULT


class Scripted:
    """A source that gives these blocks and then, like a dead microphone, an error."""

    name = "scripted"

    def __init__(self, *blocks, error=None):
        self.given, self.error, self.closed = blocks, error, False

    def blocks(self):
        yield from self.given
        if self.error:
            raise self.error

    def close(self):
        self.closed = True


@pytest.fixture
def fan(packed):
    bundle = open_bundle(packed)
    return Detector(bundle.model, bundle.machine("fan_section_00"), open_backend(bundle.network, bundle.model))


def listen(detector, source, recorder=None, outputs=()):
    told = []
    service = Service(detector, AlarmSettings(), told.append, outputs, recorder)
    service.listen(source, threading.Event())
    return told


def test_no_window_spans_lost_samples_and_the_loss_is_told(fan, tmp_path):
    sound, recorder = hum(3, seed=5), Recorder(tmp_path / "saved", 16_000)
    blocks = [Block(sound[:24_000], new="mic"), Block(sound[24_000:], lost=800)]
    told = listen(fan, Scripted(*blocks), recorder)
    places = [(event.start_s, event.end_s) for event in told if isinstance(event, events.Window)]
    assert [event for event in told if isinstance(event, events.Lost)] == [events.Lost(1.5, 800)]
    assert [event.at_s for event in told if isinstance(event, events.Recording)] == [0.0, 1.55]
    assert places == [(0.0, 1.024), (0.256, 1.28), (1.55, 2.574), (1.806, 2.83)]
    assert told[-1] == events.End(3.0, 4, 0, 0, 800)
    saved = [soundfile.read(tmp_path / "saved" / f"00000{n}.wav", dtype="float32")[0] for n in (1, 2)]
    assert np.array_equal(saved[0], sound[:24_000])
    assert np.array_equal(saved[1], sound[24_000:])


def test_lost_time_does_not_count_towards_the_alarm(fan):
    sound, told = hum(3.1, 2, pitch=FAULT), []
    service = Service(fan, AlarmSettings(alarm=LevelSettings(on_delay_s=1.9)), told.append)
    source = Scripted(Block(sound[:32_000], new="mic"), Block(sound[32_000:], lost=160_000))
    service.listen(source, threading.Event())
    assert [event.decision for event in told if isinstance(event, events.Window)] == [True] * 5
    assert told[-1].alarms == 0  # heard above the threshold: 0.768 s before the gap, 1.024 s after it


def test_a_microphone_that_dies_ends_the_run_with_its_error_told(fan):
    told, source = [], Scripted(Block(hum(2), new="mic"), error=DeviceError("mic: dead"))
    with pytest.raises(DeviceError):
        Service(fan, AlarmSettings(), told.append).listen(source, threading.Event())
    assert (told[-1].error, told[-1].windows, source.closed) == ("mic: dead", 4, True)


def test_a_full_disk_is_reported_once_and_listening_goes_on(fan, tmp_path, capsys):
    (tmp_path / "file").touch()
    blocks = [Block(hum(2), new="a"), Block(hum(2), new="b")]
    told = listen(fan, Scripted(*blocks), Recorder(tmp_path / "file" / "folder", 16_000))
    assert told[-1].windows == 8
    assert capsys.readouterr().err.count("sound cannot be saved") == 1
    log = events.Log(Path("/dev/full").open("w"))  # noqa: SIM115 - the log closes it
    for event in told:
        log(event)
    assert capsys.readouterr().err.count("events cannot be written (No space left on device)") == 1
    log.close()  # writes what is left, and fails quietly
