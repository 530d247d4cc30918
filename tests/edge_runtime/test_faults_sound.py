"""Sound that is not fit to be judged, through the whole process and a real PulseAudio: rows of docs/faults.md."""

import time

import numpy as np
import pytest

from tests.conftest import hum
from tests.edge_runtime.plant import Plant, figure
from tests.edge_runtime.sound_server import NEEDED, closed, opened

pytestmark = [*NEEDED, pytest.mark.plant]
STUCK = np.tile(hum(0.032), 2000)  # 32 ms over and over


@pytest.fixture
def plant(tmp_path, packed):
    plant = Plant(tmp_path, opened(), packed)
    yield plant
    plant.close()
    closed(plant.server)


FAULTS = {
    "digital silence": (None, "silence", "digital silence"),
    "stuck buffer": (STUCK, "stuck", "over and over"),
    "clipping": (np.clip(30 * hum(60), -1, 1), "clipping", "at full scale"),
    "gain +12 dB": (4 * hum(60), "gain", "gain"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_unfit_sound_has_no_score_and_is_an_alarm_that_says_why(plant, fault):
    sound, word, words = FAULTS[fault]
    plant.play()
    plant.start()
    plant.heard()
    began = time.monotonic()
    plant.quiet()
    if sound is not None:
        plant.play(sound)
    noticed = time.monotonic()
    while not any(word in event["faults"] for when, event in windows(plant) if when > began):
        assert time.monotonic() - began < 20, plant.kinds()
        time.sleep(0.01)
    noticed = time.monotonic()
    raised, alarm = plant.wait("alarm", kind="not_listening", cause="raise")
    assert words in alarm["why"], alarm["why"]
    late = [event for when, event in windows(plant) if noticed + 0.3 < when]
    assert all(event["score"] is None and event["decision"] is None for event in late)
    if word == "silence":
        assert late[-1]["level_dbfs"] is None  # not 0, which is full scale
    mended = time.monotonic()
    plant.quiet()
    plant.play()
    over, _ = plant.wait("alarm", kind="not_listening", cause="return", after=mended)
    assert plant.end()[0] == 0
    whole, end = plant.whole()
    assert whole and end["unfit"] > 0 and end["lost"] <= 4
    figure(fault, noticed=noticed - began, alarm=raised - began, recovered=over - mended)


def windows(plant):
    plant.look()
    return [(when, event) for when, event in plant.told if event["event"] == "window"]


def test_a_device_whose_driver_gives_the_same_buffer_for_ever_is_not_listened_to(tmp_path, packed):
    server = opened()
    server.stick(STUCK)
    plant = Plant(tmp_path, server, packed, device="stuckmic")
    try:
        plant.play()
        plant.start()
        plant.wait("alarm", kind="not_listening", cause="raise")
        told = [event for _, event in windows(plant)]
        assert told and all(event["score"] is None for event in told)
        assert {fault for event in told for fault in event["faults"]} >= {"stuck"}
    finally:
        plant.close()
        closed(server)


def test_blocks_that_vanish_without_a_word_are_lost_and_told(plant):
    """The source sleeps for a third of a second: too short for the watchdog, and no flag is set anywhere."""
    plant.play()
    plant.start()
    plant.heard()
    time.sleep(6.0)  # the clock's first period
    began = time.monotonic()
    plant.server.suspend("mic")
    time.sleep(0.35)
    plant.server.suspend("mic", False)
    told, lost = plant.wait("lost", after=began)
    assert 0.2 < lost["samples"] / 16_000 < 1.5
    assert plant.end()[0] == 0 and plant.whole()[0]
    figure("vanished blocks", noticed=told - began)
