"""The doctor of the board and of the outputs: disk, clock, systemd, and what fires."""

import ctypes
import json
from types import SimpleNamespace

import pytest

from edge_runtime.doctor import board, clock
from edge_runtime.doctor import outputs as outputs_module
from edge_runtime.outputs.settings import CommandSettings, RelaySettings, SoundSettings
from edge_runtime.recorder.settings import RecorderSettings
from tests.conftest import ROOT, hum, write_wav
from tests.edge_runtime.patients import patient, site, states


def test_a_full_disk_and_a_folder_that_cannot_be_written_fail(packed, tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    one = patient(site(packed, state=str(tmp_path / "not yet" / "made")))
    assert states(board.disk(one)) == ["ok", "ok"]
    monkeypatch.setattr(board, "DISK_FAIL", 1 << 62)
    monkeypatch.setattr(board.tempfile, "TemporaryFile", refuse)
    assert states(board.disk(one)) == ["fail", "fail"]
    assert not (tmp_path / "not yet").exists()


def test_events_that_the_disk_has_no_room_for_are_a_warning(packed, tmp_path, monkeypatch):
    kept = RecorderSettings(budget_mb=500.0, free_mb=100.0)
    one = patient(site(packed, state=str(tmp_path / "state"), recorder=kept))
    for free, state in ((700e6, "ok"), (550e6, "warn"), (50e6, "warn")):
        monkeypatch.setattr(board.shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        (found,) = board.recorder(one)
        assert found.state == state and "0 events, 0 of 500 MB (sound)" in found.seen
    assert states(board.recorder(patient(site(packed)))) == ["ok"]


def test_a_clock_before_the_bundle_was_packed_is_not_set(packed):
    (found,) = clock.clock(patient(site(packed)), now=1000.0)
    assert (found.state, "not set" in found.seen) == ("warn", True)
    assert "1970" in found.seen


@pytest.mark.parametrize(("follows", "state"), [(True, "ok"), (False, "warn"), (None, "ok")])
def test_a_clock_that_nobody_keeps_right_is_a_warning(monkeypatch, follows, state):
    monkeypatch.setattr(clock, "follows", lambda: follows)
    assert states(clock.clock(patient())) == [state]


class Timex(ctypes.Structure):
    """The beginning of struct timex, as adjtimex(2) has it."""

    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int),
    )  # fmt: skip


class Kernel:
    """A libc whose kernel has a clock of that status."""

    def __init__(self, status, answer=0):
        self.status, self.answer = status, answer

    def adjtimex(self, buffer):
        timex = Timex.from_buffer(buffer)
        assert timex.modes == 0  # or it would set the clock
        timex.offset = timex.freq = timex.maxerror = timex.esterror = -1
        timex.status = self.status
        return self.answer


@pytest.mark.parametrize(
    ("kernel", "follows"),
    [
        (Kernel(0x2001), True),
        (Kernel(0x40, answer=5), False),
        (Kernel(0x41, answer=5), False),
        (Kernel(0, answer=-1), None),
        (object(), None),
    ],
)
def test_the_kernel_says_whether_its_clock_is_synchronised(kernel, follows):
    assert clock.follows(kernel) is follows


def test_a_real_kernel_can_be_asked():
    assert clock.follows() in (True, False, None)


@pytest.mark.parametrize(
    ("told", "state", "seen"),
    [
        (None, "ok", "not here"),
        ({"LoadState": "not-found"}, "warn", "no auscult.service"),
        ({"LoadState": "loaded", "Type": "simple", "WatchdogUSec": "0"}, "warn", "WatchdogSec"),
        ({"LoadState": "loaded", "Type": "notify", "WatchdogUSec": "infinity"}, "warn", "WatchdogSec"),
        ({"LoadState": "loaded", "Type": "notify", "WatchdogUSec": "1min", "Restart": "no"}, "warn", "stays dead"),
        ({"LoadState": "loaded", "Type": "notify", "WatchdogUSec": "1min", "Restart": "always"}, "ok", "1min"),
    ],
)
def test_a_service_that_nobody_restarts_is_a_warning(monkeypatch, told, state, seen):
    monkeypatch.setattr(board, "_properties", lambda unit: told)
    (found,) = board.systemd(patient())
    assert (found.state, seen in found.seen) == (state, True)


@pytest.mark.parametrize(
    ("settings", "state"),
    [
        (CommandSettings(command="true"), "ok"),
        (CommandSettings(command="no-such-program"), "fail"),
        (SoundSettings(file="/nowhere/horn.wav"), "fail"),
        (RelaySettings(chip="/dev/gpiochip-none", line=17), "fail"),
        (RelaySettings(chip="/etc/passwd", line=17), "fail"),
    ],
)
def test_an_output_that_cannot_work_is_found_without_firing_it(packed, settings, state, monkeypatch):
    monkeypatch.setattr(outputs_module, "open_output", lambda *_: pytest.fail("fired"))
    (found,) = outputs_module.outputs(patient(site(packed, {"beacon": settings})))
    assert found.state == state
    assert found.todo or state == "ok"


@pytest.mark.parametrize(("command", "state"), [("sh -c 'cat > {}'", "ok"), ("sh -c 'cat > {}; exit 3'", "fail")])
def test_fire_runs_a_command_once(packed, tmp_path, command, state):
    settings = CommandSettings(command=command.format(tmp_path / "told"))
    (found,) = outputs_module.outputs(patient(site(packed, {"mail": settings}), fire=True))
    assert found.state == state, found
    assert json.loads((tmp_path / "told").read_text())["change"]["machine"] == "doctor"


def test_fire_lets_a_relay_fall_and_a_horn_sound(packed, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_GPIO", str(tmp_path))
    monkeypatch.setenv("FAKE_SPEAKER", str(tmp_path))
    fakes = ROOT / "tests/edge_runtime"
    monkeypatch.setenv("PYTHONPATH", f"{fakes / 'fake_gpio'}:{fakes / 'fake_speaker'}")
    monkeypatch.setattr(outputs_module, "check_output", lambda *_: None)
    monkeypatch.setattr(outputs_module, "_chip", lambda chip: None)
    outputs = {
        "beacon": RelaySettings(chip="/dev/gpiochip0", line=17),
        "horn": SoundSettings(file=str(write_wav(tmp_path / "horn.wav", hum(0.2)))),
    }
    assert states(outputs_module.outputs(patient(site(packed, outputs), fire=True))) == ["ok", "ok"]
    assert (tmp_path / "volts").read_text() == "low"
    assert len((tmp_path / "played").read_bytes()) > 16_000
