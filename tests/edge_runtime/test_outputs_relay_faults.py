"""Whatever fails around a relay looks like an alarm, and a chip that returns is used again."""

# ruff: noqa: F811 - fixtures that are imported

import os
import signal
import subprocess
import sys
import time

import pytest

from edge_runtime.outputs import child, relay, worker
from tests.conftest import ROOT
from tests.edge_runtime.relays import WELL, board, feeding, opened  # noqa: F401 - fixtures
from tests.edge_runtime.telling import said, status, until

LISTENER = """
import sys, time
from edge_runtime.alarm import Status
from edge_runtime.outputs.relay import Relay
from edge_runtime.outputs.settings import RelaySettings
beacon = Relay("beacon", RelaySettings(chip="/dev/gpiochip0", line=17))
beacon.update([], [Status("fan", "anomaly", "normal", "normal", False)])
while True:
    beacon.feed(True)
    time.sleep(0.05)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT])
def test_a_listener_that_dies_drops_it_on_a_board_that_would_keep_it(board, number):
    listener = subprocess.Popen([sys.executable, "-c", LISTENER], cwd=ROOT)
    until(lambda: board.volts == "high", 20)
    listener.send_signal(number)
    assert until(lambda: board.volts == "low") < 3.0
    listener.wait()


def test_a_listener_that_is_stopped_drops_it_after_the_dead_mans_time(board):
    listener = subprocess.Popen([sys.executable, "-c", LISTENER.replace("17)", "17, deadman_s=0.6)")], cwd=ROOT)
    until(lambda: board.volts == "high", 20)
    listener.send_signal(signal.SIGSTOP)
    assert until(lambda: board.volts == "low") < 4.0
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
    assert "line 17 of /dev/gpiochip0 cannot be driven" in lines[0]
    assert "No such file" in lines[0]
    requests = board.calls("request")
    board.fault("")
    lines = []
    feeding(beacon, 8.0, lambda: bool(lines.extend(beacon.failures()) or lines))
    assert lines == ["works again"]
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
    beacon.feed(True)
    assert time.monotonic() - began < 0.5
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
    assert lines[-1] == "works again"


def test_a_sign_of_life_that_waited_too_long_is_none(board, opened):
    beacon = opened(deadman_s=8.0)
    beacon.update([], WELL)
    until(lambda: board.volts == "high")
    beacon._worker.put((True, time.monotonic() - 9.0))
    assert until(lambda: board.volts == "low") < 4.0  # seconds: long before it would fall by itself


def test_ctrl_c_is_for_the_listener(board, opened):
    beacon = opened()
    until(lambda: board.volts == "low")
    assert os.getsid(beacon._child._process.pid) != os.getsid(0)


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
    assert time.monotonic() - began < 2.5
    assert process.wait(1.0) != 0  # killed


def test_what_a_board_tells_never_fills_the_memory(board, opened):
    beacon = opened()
    board.fault("raise")
    for _ in range(2000):
        beacon.feed(True)
        beacon._fed = 0.0
    assert len(beacon._worker._waiting) <= 1
