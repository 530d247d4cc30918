"""What becomes of the microphone, through the whole process and a real PulseAudio: rows of docs/faults.md."""

import os
import signal
import time

import numpy as np
import pytest

from tests.conftest import hum
from tests.edge_runtime.plant import Plant, figure
from tests.edge_runtime.sound_server import NEEDED, closed, opened

pytestmark = [*NEEDED, pytest.mark.plant]
NOTICED_S, RETURNED_S = 0.5, 3.0  # seconds: the budgets of a microphone that is unplugged
LOAD_S = 2.0  # seconds more, on a busy machine
WINDOW_S = 1.5  # seconds to the first window of new sound, and a hop


@pytest.fixture
def made(tmp_path, packed):
    """Makes plants and clears them away."""
    plants, servers = [], []

    def make(server=None, **options):
        if server is None:
            server = opened(**{name: options.pop(name) for name in ("channels",) if name in options})
        servers.append(server)
        plants.append(Plant(tmp_path, server, packed, **options))
        return plants[-1]

    yield make
    for plant in plants:
        plant.close()
    for server in set(servers):
        closed(server)


def listening(plant, *words):
    """Sound is played, and the first window has its score."""
    plant.play()
    plant.start(*words)
    plant.heard()
    return plant


def lost_and_found(plant, fault, harm, mend, noticed_s=NOTICED_S, returned_s=RETURNED_S):
    """Harm, then mend after the machine was said not to be listened to; every budget is kept, no window forgotten."""
    began = time.monotonic()
    harm()
    noticed, _ = plant.wait("microphone", listening=False)
    raised, alarm = plant.wait("alarm", kind="not_listening", cause="raise")
    assert alarm["level"] == "alarm"
    assert noticed - began < noticed_s + LOAD_S
    assert not [one for when, one in plant.told if one["event"] == "window" and noticed + 0.2 < when < raised]
    mended = time.monotonic()
    mend()
    returned, _ = plant.wait("microphone", listening=True, after=mended)
    assert returned - mended < returned_s + LOAD_S
    plant.heard(after=returned)
    over, _ = plant.wait("alarm", kind="not_listening", cause="return", after=mended)
    assert plant.end()[0] == 0
    whole, end = plant.whole()
    assert whole and end["lost"] > 0
    gap = [event for event in plant.look() if event["event"] == "lost"][-1]
    lost_s = gap["samples"] / 16_000  # from when it was noticed, or from the last sound before it
    assert returned - noticed - 1.5 < lost_s < returned - began + 1.5
    assert "not listening: raise" in plant.said() and "not listening: return" in plant.said()
    figure(fault, noticed=noticed - began, alarm=raised - began, recovered=returned - mended, over=over - mended)


def test_a_microphone_that_is_unplugged(made):
    plant = listening(made())
    lost_and_found(plant, "unplugged", lambda: plant.server.unload("mic"), lambda: back(plant))


def back(plant):
    plant.server.load("mic")
    plant.play()


def test_a_microphone_that_is_suspended(made):
    plant = listening(made())
    server = plant.server
    lost_and_found(plant, "suspended", lambda: server.suspend("mic"), lambda: server.suspend("mic", False))


def test_a_sound_server_that_is_killed_and_comes_back(made):
    plant = listening(made())

    def again():
        plant.server.run()
        plant.play()

    lost_and_found(plant, "server killed", plant.server.kill, again)


def test_a_sound_server_that_hangs(made):
    plant = listening(made())
    lost_and_found(plant, "server hangs", plant.server.hang, plant.server.go_on)


def test_a_capturing_process_that_is_killed_costs_less_than_a_second(made):
    plant = listening(made())
    began = time.monotonic()
    os.kill(plant.child(), signal.SIGKILL)
    noticed, _ = plant.wait("microphone", listening=False)
    returned, _ = plant.wait("microphone", listening=True, after=noticed)
    assert returned - began < RETURNED_S + LOAD_S
    assert plant.end()[0] == 0 and plant.whole()[0]
    figure("capturing process killed", noticed=noticed - began, recovered=returned - began)


def test_a_stream_that_is_moved_to_another_microphone_is_not_listened_to(made):
    plant = made()
    plant.server.load("other")
    plant.server.rescue_streams()
    plant.play(hum(120, 5, pitch=400.0), sink="other")
    listening(plant)
    lost_and_found(plant, "moved", lambda: plant.server.unload("mic"), lambda: back(plant), noticed_s=2.5)


def test_a_microphone_that_is_absent_at_the_start_is_said_and_heard_when_it_comes(made):
    plant = made()
    plant.server.unload("mic")
    began = time.monotonic()
    plant.start()
    noticed, absent = plant.wait("microphone", listening=False)
    plant.wait("alarm", kind="not_listening", cause="raise")
    assert "pulsemic" in absent["reason"]
    mended = time.monotonic()
    back(plant)
    returned, _ = plant.wait("microphone", listening=True)
    assert returned - mended < 5.0 + RETURNED_S  # it was never heard: the longest pause
    plant.heard()
    assert plant.end()[0] == 0 and plant.whole()[0]
    figure("absent at start", noticed=noticed - began, recovered=returned - mended)


def test_another_microphone_is_never_taken_in_its_place(made):
    """The named one is gone and another is there, humming as it should: nothing is scored."""
    plant = made()
    plant.server.load("other")
    plant.play(sink="other")
    listening(plant)
    plant.server.unload("mic")
    raised, _ = plant.wait("alarm", kind="not_listening", cause="raise")
    time.sleep(2.0)
    plant.look()
    assert not [one for when, one in plant.told if one["event"] == "window" and when > raised]


def test_microphones_that_are_swapped_are_an_alarm_whatever_it_is_called(made):
    """Unlike what the machine was enrolled with, or an anomaly: which of the two depends on how unlike it is."""
    plant = made()
    plant.server.load("other")
    other = np.random.default_rng(0).standard_normal(60 * 16_000) * 0.1  # another machine: hiss where this one hums
    plant.play(other.astype(np.float32), sink="other")
    listening(plant)
    plant.end()
    plant.site.write_text(plant.site.read_text().replace("pulsemic", "othermic"))
    began = time.monotonic()
    plant.start()
    raised, alarm = plant.wait("alarm", cause="raise")
    assert alarm["why"]
    assert not any(event["decision"] is False for event in plant.look() if event["event"] == "window")
    figure("swapped", alarm=raised - began)


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 1), (48_000, 2)])
def test_devices_of_other_rates_are_heard_at_their_own(tmp_path, packed, rate, channels):
    server = opened(rate=rate, channels=channels)
    plant = Plant(tmp_path, server, packed, rate=None)
    try:
        plant.play(hum(60, rate=rate), rate=rate)
        plant.start()
        plant.heard()
        plant.heard(after=time.monotonic() + 1.0)
        _, on = plant.wait("microphone", listening=True)
        assert " Hz" in on["reason"]
        assert plant.end()[0] == 0 and plant.whole()[0]
        assert plant.whole()[1]["lost"] <= 4  # before the first sound
    finally:
        plant.close()
        closed(server)
