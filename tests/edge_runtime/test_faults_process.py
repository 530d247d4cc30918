"""What becomes of the process: clock, outputs, bundle, kill -9, systemd; rows of docs/faults.md."""

import fcntl
import itertools
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT, hum
from tests.edge_runtime.conftest import FAULT
from tests.edge_runtime.plant import Plant, figure
from tests.edge_runtime.sound_server import NEEDED, closed, opened

pytestmark = [*NEEDED, pytest.mark.plant]
LOAD_S = 1.0  # seconds more, on a busy machine


@pytest.fixture
def made(tmp_path, packed):
    """Makes a plant and clears it away."""
    plants = []

    def make(**options):
        plants.append(Plant(tmp_path, opened(), packed, **options))
        return plants[-1]

    yield make
    for plant in plants:
        plant.close()
        closed(plant.server)


def typed(plant, *words):
    """A command of a person, from outside."""
    command = [sys.executable, "-m", "edge_runtime", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, env=plant.environment, capture_output=True, text=True, timeout=30)


def test_a_wall_clock_set_back_a_year_is_told_and_changes_no_decision(made, tmp_path):
    wall = tmp_path / "wall"
    wall.write_text("0")
    path = f"{ROOT / 'tests/edge_runtime/fake_clock'}:{ROOT}"
    plant = made(environment=[("AUSCULT_FAKE_CLOCK", str(wall)), ("PYTHONPATH", path)])
    plant.play()
    plant.start()
    plant.heard()
    began = time.monotonic()
    wall.write_text(str(-365 * 86_400))
    noticed, notice = plant.wait("notice", about="clock", after=began)
    assert "set by -3153" in notice["words"]
    plant.heard(after=noticed + 1.5)
    assert not [event for event in plant.look() if event["event"] in ("alarm", "lost")]
    years = [event["time"][:4] for event in plant.look() if event["event"] == "window"]
    assert int(years[-1]) == int(years[0]) - 1
    assert plant.end()[0] == 0 and plant.whole()[0]
    figure("clock set back", noticed=noticed - began)


def test_an_output_that_hangs_is_told_and_delays_no_score(made):
    more = "outputs:\n  mail: {kind: command, command: sleep 600, timeout_s: 2.0}\n"
    plant = made(more=more)
    plant.play(hum(120, pitch=FAULT))
    plant.start()
    raised, _ = plant.wait("alarm", kind="anomaly", cause="raise")
    noticed, notice = plant.wait("notice", about="output mail")
    times = [when for when, event in plant.told if event["event"] == "window"]
    assert max(after - before for before, after in itertools.pairwise(times)) < 1.8  # a window each 0.256 s
    assert "2 s" in notice["words"]
    code, seconds = plant.end()
    assert code == 0 and seconds < 2.0 + LOAD_S and plant.whole()[0]
    figure("output hangs", noticed=noticed - raised, ended=seconds)


def test_sigterm_ends_within_two_seconds_whatever_hangs(made):
    more = "outputs:\n  mail: {kind: command, command: sleep 600}\n"
    plant = made(more=more)
    plant.play(hum(120, pitch=FAULT))
    plant.start()
    plant.wait("alarm", kind="anomaly", cause="raise")
    plant.server.hang()
    code, seconds = plant.end()
    assert code == 0
    assert seconds < 2.0 + LOAD_S
    figure("SIGTERM, server and output hang", ended=seconds)


def test_a_bundle_that_is_replaced_is_told_and_what_was_opened_listens_on(made, packed, monkeypatch):
    plant = made()
    plant.play()
    plant.start()
    plant.heard()
    began = time.monotonic()
    shutil.rmtree(packed)
    noticed, notice = plant.wait("notice", after=began)
    assert notice["about"].startswith("bundle ") and "until a restart" in notice["words"]
    plant.heard(after=noticed + 1.0)
    assert plant.end()[0] == 0 and plant.whole()[0]
    figure("bundle replaced", noticed=noticed - began)


def test_a_latched_alarm_outlives_kill_9_until_somebody_resets_it(made):
    plant = made(latching=True)
    fault = plant.play(hum(120, pitch=FAULT))
    plant.start()
    plant.wait("alarm", kind="anomaly", cause="raise")
    fault.kill()
    plant.play()
    _, over = plant.wait("alarm", kind="anomaly", cause="return")
    assert over["state"] == "latched_unacknowledged"
    plant.process.send_signal(signal.SIGKILL)
    plant.process.wait()
    assert "nobody listens" in typed(plant, "ack", plant.site, "fan", "--by", "Ada").stderr
    plant.start()
    began = time.monotonic()
    plant.heard()
    assert "latched unacknowledged" in typed(plant, "alarms", plant.site).stdout
    assert typed(plant, "reset", plant.site, "fan", "--by", "Ada", "--why", "bearing changed").returncode == 0
    assert typed(plant, "ack", plant.site, "fan", "--by", "Ada").returncode == 0
    changes = [event for event in plant.look() if event["event"] == "alarm"]
    assert [(event["cause"], event["state"], event["who"]) for event in changes] == [
        ("reset", "returned_unacknowledged", "Ada"),
        ("acknowledge", "normal", "Ada"),
    ]
    history = typed(plant, "alarms", plant.site, "--history", 9).stdout
    assert "Ada" in history and "bearing changed" in history
    assert plant.end()[0] == 0
    figure("kill -9", recovered=time.monotonic() - began)


def test_systemd_is_told_that_it_is_ready_and_that_windows_are_judged_and_of_nothing_else(made, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(15)
        plant = made(environment=[("NOTIFY_SOCKET", str(tmp_path / "notify")), ("WATCHDOG_USEC", "5000000")])
        plant.play()
        plant.start()
        assert manager.recv(100) == b"READY=1"
        while manager.recv(200) != b"WATCHDOG=1":
            pass
        plant.process.send_signal(signal.SIGSTOP)  # a loop that hangs is not alive
        time.sleep(0.3)
        manager.settimeout(0.01)
        while received(manager):
            pass
        manager.settimeout(2.0)
        assert received(manager) is None
        plant.process.send_signal(signal.SIGCONT)
        assert received(manager)
        manager.settimeout(10)
        plant.server.unload("mic")
        plant.wait("alarm", kind="not_listening", cause="raise")
        manager.settimeout(0.01)
        while received(manager):
            pass
        manager.settimeout(10)
        while received(manager) != b"WATCHDOG=1":  # windows are judged: they are lost, and that is known
            pass
        assert plant.end()[0] == 0


def received(manager):
    try:
        return manager.recv(200)
    except TimeoutError:
        return None


def test_a_reader_that_stalls_stops_neither_the_listening_nor_its_end(made, packed):
    plant = made()
    plant.play()
    words = [sys.executable, "-m", "edge_runtime", "run", str(packed), "--machine", "fan_section_00"]
    run = subprocess.Popen(
        [*words, "--device", "pulsemic", "--rate", "16000"], cwd=ROOT, env=plant.environment, stdout=subprocess.PIPE
    )
    try:
        fcntl.fcntl(run.stdout.fileno(), fcntl.F_SETPIPE_SZ, 4096)
        time.sleep(8.0)  # some 20 windows more than it holds
        began = time.monotonic()
        run.send_signal(signal.SIGTERM)
        assert run.wait(10) == 0
        assert time.monotonic() - began < 2.0 + LOAD_S
    finally:
        run.kill()
