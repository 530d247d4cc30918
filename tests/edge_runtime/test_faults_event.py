"""An event while the microphone goes and comes back, through the whole process and a real PulseAudio."""

import numpy as np
import pytest
import soundfile

from edge_runtime.recorder import event
from tests.conftest import hum
from tests.edge_runtime.conftest import FAULT
from tests.edge_runtime.plant import Plant
from tests.edge_runtime.sound_server import NEEDED, closed, opened

pytestmark = [*NEEDED, pytest.mark.plant]
RATE = 16_000
RECORDER = "recorder: {before_s: 2.0, after_s: 2.0, free_mb: 0.0}\n"


def share(samples, pitch):
    """Of the sound's power, what is within 5 Hz of a pitch."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    away = np.abs(np.fft.rfftfreq(len(samples), 1 / RATE) - pitch)
    return float(power[away < 5.0].sum() / power.sum())


def test_an_event_holds_what_was_heard_before_and_after_the_microphone_was_gone(tmp_path, packed):
    plant = Plant(tmp_path, opened(), packed, more=RECORDER)
    try:
        fault = plant.play(hum(60, pitch=FAULT))
        plant.start()
        raised, _ = plant.wait("alarm", kind="anomaly", cause="raise")
        plant.wait("recorded", state="open")
        plant.server.unload("mic")
        fault.kill()
        plant.wait("microphone", listening=False, after=raised)
        plant.server.load("mic")
        plant.wait("microphone", listening=True, after=raised)
        plant.play(hum(60))
        plant.wait("alarm", kind="anomaly", cause="return")
        _, written = plant.wait("recorded", state="whole")
        assert plant.end()[0] == 0 and plant.whole()[0]
    finally:
        plant.close()
        closed(plant.server)
    (folder,) = event.folders(tmp_path / "state")
    found = event.read(folder)
    heard, _ = soundfile.read(folder / event.SOUND)
    assert found.id == written["id"] and len(heard) == round(found.seconds * RATE)
    lost = [(start, end) for start, end in found.gaps if end - start > 0.3]
    assert len(lost) == 1 and lost[0][0] >= found.alarm_s
    before, after = round(lost[0][0] * RATE), round(lost[0][1] * RATE)
    alarm = round(found.alarm_s * RATE)
    assert share(heard[alarm - RATE : alarm], FAULT) > 0.5  # the fault, as it was played
    assert share(heard[-RATE:], 49.0) > 0.5 and share(heard[-RATE:], FAULT) < 0.01  # the hum, after the return
    assert not heard[before:after].any()
