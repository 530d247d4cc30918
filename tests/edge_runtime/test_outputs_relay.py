"""The relay: energised while all is well, and whatever fails looks like an alarm."""

import inspect
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_runtime.outputs import child, relay, worker
from edge_runtime.outputs.relay import Relay
from edge_runtime.outputs.settings import RelaySettings
from tests.conftest import ROOT
from tests.edge_runtime.telling import said, status, until

FAKE = ROOT / "tests/edge_runtime/fake_gpio"
WELL = [status(), status(kind="not_listening")]


class Board:
    """The folder that stands for it."""

    def __init__(self, folder):
        self.folder = folder

    @property
    def volts(self):
        file = self.folder / "volts"
        return file.read_text() if file.exists() else "floating"

    def fault(self, words):
        (self.folder / "fault.partial").write_text(words)
        (self.folder / "fault.partial").replace(self.folder / "fault")

    def calls(self, words):
        log = self.folder / "log"
        return log.read_text().count(words) if log.exists() else 0


@pytest.fixture
def board(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_GPIO", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(FAKE))
    return Board(tmp_path)


@pytest.fixture
def opened():
    """Relays, closed after the test."""
    relays = []

    def open_relay(**changes):
        relays.append(Relay("beacon", RelaySettings(chip="/dev/gpiochip0", line=17, **changes)))
        return relays[-1]

    yield open_relay
    for one in relays:
        one.close(1.0)


def feeding(output, seconds, true=lambda: False):
    """The listening loop for a while, or until something is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not true():
        output.feed()
        time.sleep(0.02)


def test_it_is_energised_only_while_all_is_known_to_be_well(board, opened):
    beacon = opened()
    until(lambda: board.volts == "low")
    beacon.update([], [])
    feeding(beacon, 0.3)
    assert board.volts == "low"  # no alarm at all: nothing is known
    beacon.update([], WELL)
    assert until(lambda: board.volts == "high") < 1.0
    assert board.calls("request") == 1
    assert "'auscult'" not in (board.folder / "log").read_text()
    assert list(beacon.failures()) == []


@pytest.mark.parametrize(
    ("now", "volts"),
    [
        (status("unacknowledged"), "low"),
        (status("acknowledged"), "low"),  # somebody knows, and the cause is there
        (status("latched_acknowledged"), "low"),
        (status("unacknowledged", kind="not_listening"), "low"),
        (status("unacknowledged", level="warning"), "high"),  # level: alarm
        (status("returned_unacknowledged"), "high"),
        (status("shelved", level="alarm"), "high"),
        (status("out_of_service", level="alarm"), "high"),
    ],
)
def test_it_follows_the_cause_of_the_alarm(board, opened, now, volts):
    beacon = opened()
    beacon.update([], WELL)
    until(lambda: board.volts == "high")
    before = board.volts
    beacon.update([], [now, status(machine="pump")])
    if volts != before:
        assert until(lambda: board.volts == volts) < 1.0
    else:
        feeding(beacon, 0.3)
        assert board.volts == volts


def test_a_line_that_is_active_low_is_energised_by_0_volts(board, opened):
    beacon = opened(active_low=True)
    until(lambda: board.volts == "high")
    beacon.update([], WELL)
    until(lambda: board.volts == "low")


def test_a_loop_that_hangs_drops_it_and_one_that_goes_on_energises_it_again(board, opened):
    beacon = opened(deadman_s=0.5)
    beacon.update([], WELL)
    feeding(beacon, 1.2)
    assert board.volts == "high"  # longer than deadman_s, but fed
    assert 0.2 < until(lambda: board.volts == "low", 2.0) < 1.0
    feeding(beacon, 2.0, lambda: board.volts == "high")
    assert board.volts == "high"


LISTENER = """
import sys, time
from edge_runtime.alarm import Status
from edge_runtime.outputs.relay import Relay
from edge_runtime.outputs.settings import RelaySettings
beacon = Relay("beacon", RelaySettings(chip="/dev/gpiochip0", line=17))
beacon.update([], [Status("fan", "anomaly", "normal", "normal", False)])
while True:
    beacon.feed()
    time.sleep(0.05)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT])
def test_a_listener_that_dies_drops_it_on_a_board_that_would_keep_it(board, number):
    listener = subprocess.Popen([sys.executable, "-c", LISTENER], cwd=ROOT)
    until(lambda: board.volts == "high", 20)
    listener.send_signal(number)
    assert until(lambda: board.volts == "low") < 1.0
    listener.wait()


def test_a_listener_that_is_stopped_drops_it_after_the_dead_mans_time(board):
    listener = subprocess.Popen([sys.executable, "-c", LISTENER.replace("17)", "17, deadman_s=0.6)")], cwd=ROOT)
    until(lambda: board.volts == "high", 20)
    listener.send_signal(signal.SIGSTOP)
    assert until(lambda: board.volts == "low") < 2.0
    listener.kill()
    listener.wait()


def test_a_keeper_that_is_terminated_drops_it_and_another_takes_over(board, opened):
    beacon = opened()
    beacon.update([], WELL)
    until(lambda: board.volts == "high")
    beacon._child._process.send_signal(signal.SIGTERM)  # as systemd ends a service: every process of it
    until(lambda: board.volts == "low")
    feeding(beacon, 5.0, lambda: board.volts == "high")
    assert board.volts == "high"
    assert any("its process died" in line for line in beacon.failures())


def test_a_chip_that_goes_away_is_said_once_and_requested_again_when_it_returns(board, opened):
    beacon = opened()
    beacon.update([], WELL)
    until(lambda: board.volts == "high")
    board.fault("gone")
    lines = []
    feeding(beacon, 3.0)
    lines += beacon.failures()
    assert len(lines) == 1
    assert "beacon: the line cannot be driven" in lines[0]
    assert "No such file" in lines[0]
    requests = board.calls("request")
    board.fault("")
    lines = []
    feeding(beacon, 8.0, lambda: bool(lines.extend(beacon.failures()) or lines))
    assert lines == ["beacon: works again"]
    assert board.calls("request") == requests + 1
    assert board.volts == "high"


@pytest.mark.parametrize("fault", ["hang", "deaf"])
def test_a_chip_that_hangs_delays_nothing_and_is_given_a_new_keeper(board, opened, monkeypatch, fault):
    monkeypatch.setattr(relay, "PATIENCE_S", 0.5)
    beacon = opened()
    beacon.update([], WELL)
    until(lambda: board.volts == "high")
    keeper = beacon._child._process.pid
    board.fault(fault)
    began = time.monotonic()
    beacon.update([], [status("unacknowledged")])
    beacon.feed()
    assert time.monotonic() - began < 0.05
    lines = said(beacon, "no answer for 0.5 s")
    assert len(lines) == 1
    board.fault("")
    feeding(beacon, 5.0, lambda: board.volts == "low")
    assert board.volts == "low"
    assert beacon._child._process.pid != keeper


def test_processes_that_cannot_be_killed_are_no_more_than_a_few(board, opened, monkeypatch):
    monkeypatch.setattr(relay, "PATIENCE_S", 0.1)
    monkeypatch.setattr(child, "START_S", 0.5)
    monkeypatch.setattr(child, "_kill", lambda process: None)
    monkeypatch.setattr(child.subprocess.Popen, "terminate", lambda process: None)
    monkeypatch.setattr(worker, "PAUSES_S", (0.05,))
    beacon = opened()
    board.fault("deaf")
    lines = []
    feeding(beacon, 10.0, lambda: bool(lines.extend(beacon.failures()) or "no more are started" in "".join(lines)))
    assert "no more are started" in lines[-1]
    assert len(beacon._child._hung) == child.UNKILLED
    for process in beacon._child._hung:
        process.kill()
        process.wait()
    board.fault("")
    feeding(beacon, 10.0, lambda: bool(lines.extend(beacon.failures()) or "works again" in lines[-1]))
    assert lines[-1] == "beacon: works again"


def test_a_sign_of_life_that_waited_too_long_is_none(board, opened):
    beacon = opened(deadman_s=0.5)
    beacon.update([], WELL)
    until(lambda: board.volts == "high")
    beacon._worker.put((True, time.monotonic() - 1.0))
    assert until(lambda: board.volts == "low") < 0.4


def test_ctrl_c_is_for_the_listener(board, opened):
    beacon = opened()
    until(lambda: board.volts == "low")
    assert os.getsid(beacon._child._process.pid) != os.getsid(0)


def test_an_orderly_end_leaves_it_dropped(board, opened):
    beacon = opened()
    beacon.update([], WELL)
    until(lambda: board.volts == "high")
    began = time.monotonic()
    beacon.close(1.0)
    assert (board.volts, board.calls("release")) == ("low", 1)
    assert time.monotonic() - began < 0.5


@pytest.mark.parametrize("fault", ["hang", "deaf"])
def test_closing_takes_no_longer_than_it_may_when_the_chip_hangs(board, opened, fault):
    beacon = opened()
    beacon.update([], WELL)
    until(lambda: board.volts == "high")
    board.fault(fault)
    beacon._pass_on()
    until(lambda: board.calls(fault) > 0)
    process = beacon._child._process
    began = time.monotonic()
    beacon.close(1.0)
    assert time.monotonic() - began < 1.2
    assert process.wait(1.0) != 0  # killed


def test_a_missing_package_says_how_to_get_it(tmp_path, opened, monkeypatch):
    (tmp_path / "gpiod.py").write_text("raise ModuleNotFoundError('gpiod')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "pip install 'auscult[relay]'" in said(opened(), "gpiod is missing")[0]


def test_what_a_board_tells_never_fills_the_memory(board, opened):
    beacon = opened()
    board.fault("raise")
    for _ in range(2000):
        beacon.feed()
        beacon._fed = 0.0
    assert len(beacon._worker._waiting) <= 1


def test_the_fake_is_called_as_the_real_package_is():
    gpiod = pytest.importorskip("gpiod", reason="pip install 'auscult[relay]'")
    assert "LineSettings" in gpiod.__all__
    settings = inspect.signature(gpiod.LineSettings).parameters
    assert {"direction", "active_low", "output_value"} <= set(settings)
    assert {"path", "config", "consumer"} <= set(inspect.signature(gpiod.request_lines).parameters)
    assert list(inspect.signature(gpiod.LineRequest.set_value).parameters) == ["self", "line", "value"]
    assert list(inspect.signature(gpiod.LineRequest.release).parameters) == ["self"]
    assert {"ACTIVE", "INACTIVE"} <= {value.name for value in gpiod.line.Value}
    with pytest.raises(OSError, match="No such file"):
        gpiod.request_lines("/dev/gpiochip-none", config={17: gpiod.LineSettings()}, consumer="auscult")


def test_the_keeper_is_small():
    process = subprocess.Popen(
        [sys.executable, "-m", relay.KEEPER, "/dev/gpiochip-none", "17", "0", "10"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=child.ROOT, env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    process.stdin.write(b"0\n")
    process.stdin.flush()
    assert b"\n" in process.stdout.readline()
    words = Path(f"/proc/{process.pid}/status").read_text()
    resident = next(int(line.split()[1]) for line in words.splitlines() if line.startswith("VmRSS"))
    process.stdin.close()
    assert process.wait(2) == 0
    assert resident < 30_000  # KiB: without NumPy
    print(resident)
