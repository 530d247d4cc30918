"""The relay: energised while all is well."""

# ruff: noqa: F811 - fixtures that are imported

import inspect
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_runtime.outputs import child, relay
from tests.edge_runtime.relays import WELL, board, feeding, opened  # noqa: F401 - fixtures
from tests.edge_runtime.telling import said, status, until


def test_it_is_energised_only_while_all_is_known_to_be_well(board, opened):
    beacon = opened()
    until(lambda: board.volts == "low")
    beacon.update([], [])
    feeding(beacon, 0.3)
    assert board.volts == "low"  # no alarm at all: nothing is known
    beacon.update([], WELL)
    assert until(lambda: board.volts == "high") < 3.0
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
        assert until(lambda: board.volts == volts) < 3.0
    else:
        feeding(beacon, 0.3)
        assert board.volts == volts


def test_it_is_not_energised_before_every_machine_was_judged(board, opened):
    """A listener that dies again and again before its first window must not look well in between."""
    beacon = opened(judged=False)
    beacon.update([], WELL)
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        beacon.feed(False)
        time.sleep(0.02)
    assert board.volts == "low"
    beacon.feed(True)
    assert until(lambda: board.volts == "high") < 4.0


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
    assert 0.2 < until(lambda: board.volts == "low", 3.0) < 2.5
    feeding(beacon, 2.0, lambda: board.volts == "high")
    assert board.volts == "high"


def test_an_orderly_end_leaves_it_dropped(board, opened):
    beacon = opened()
    beacon.update([], WELL)
    until(lambda: board.volts == "high")
    began = time.monotonic()
    beacon.close(1.0)
    assert (board.volts, board.calls("release")) == ("low", 1)
    assert time.monotonic() - began < 1.5


def test_a_missing_package_says_how_to_get_it(tmp_path, opened, monkeypatch):
    (tmp_path / "gpiod.py").write_text("raise ModuleNotFoundError('gpiod')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "pip install 'auscult[relay]'" in said(opened(), "gpiod is missing")[0]


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
    assert process.wait(10) == 0
    assert resident < 30_000  # KiB: without NumPy
    print(resident)
