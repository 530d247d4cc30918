"""The doctor: each trouble is found, and its line says what to do."""

import ctypes
import json

import msgspec
import numpy as np
import pytest

from edge_runtime.capture import Block, Change, MicrophoneSettings
from edge_runtime.doctor import Finding, board, checks, clock, hearing, network, report
from edge_runtime.doctor import outputs as outputs_module
from edge_runtime.doctor.patient import Patient
from edge_runtime.errors import DeviceError
from edge_runtime.outputs.settings import CommandSettings, RelaySettings, SoundSettings
from edge_runtime.site_file import MachineSettings, Site
from tests.conftest import ROOT, hum, write_wav
from tests.edge_runtime.sound_server import NEEDED, server  # noqa: F401

FAN = "fan_section_00"


class Playing:
    """A microphone that plays what a test wants, and is then absent."""

    name, ended = "usb:0d8c:0014", False

    def __init__(self, sound=None, lost=0, reason=""):
        self._blocks = [Block(sound[:, np.newaxis], lost=lost)] if sound is not None else []
        self._changes = [Change(False, reason)] if reason else []
        self.closed = False

    def take(self):
        blocks, self._blocks = self._blocks, []
        return iter(blocks)

    def changes(self):
        changes, self._changes = self._changes, []
        return changes

    def fileno(self):
        return None

    def close(self):
        self.closed = True


def patient(site=None, source=None, seconds=0.6, fire=False):
    def opened(settings, rate, channels):
        if source is None:
            raise DeviceError(f"{settings.device}: no such microphone; see python -m edge_runtime devices")
        return source

    return Patient(site, "default", seconds, fire, opened)


def site(packed, outputs=None, **changes):
    machine = MachineSettings(bundle=str(packed), microphone="left", machine=FAN)
    return Site(machines={"fan": machine}, microphones={"left": MicrophoneSettings()}, outputs=outputs or {}, **changes)


def states(findings):
    return [finding.state for finding in findings]


def words(findings):
    return " | ".join(f"{finding.seen} -> {finding.todo}" for finding in findings)


@pytest.mark.parametrize("check", checks.CHECKS)
def test_every_check_has_something_to_say_and_what_is_not_well_has_a_next_step(packed, check):
    outputs = {"mail": CommandSettings(command="true")}
    found = list(checks.CHECKS[check](patient(site(packed, outputs), Playing(hum(2.0)))))
    assert found
    assert all(finding.check == check for finding in found)
    assert [finding for finding in found if finding.state != "ok" and not finding.todo] == []


HEARD = {
    "well": ({"sound": hum(0.6)}, "ok", "dBFS"),
    "silence": ({"sound": np.zeros(9600, np.float32)}, "fail", "digital silence"),
    "clipping": ({"sound": np.clip(30 * hum(0.6), -1, 1)}, "fail", "full scale"),
    "another gain": ({"sound": hum(0.6) / 4}, "fail", "below normal"),
    "lost sound": ({"sound": hum(0.5), "lost": 1600}, "warn", "0.10 s of the sound were lost"),
    "less than time": ({"sound": hum(0.3)}, "warn", "0.3 s of sound in 0.6 s"),
    "nothing": ({}, "fail", "no sound in 0.6 s"),
    "unplugged": ({"sound": hum(0.6), "reason": "unplugged"}, "fail", "unplugged"),
}


@pytest.mark.parametrize("name", HEARD)
def test_a_microphone_is_judged_by_what_it_gives(packed, name):
    gives, state, seen = HEARD[name]
    source = Playing(**gives)
    found = list(hearing.microphones(patient(site(packed), source)))
    assert state in states(found), words(found)
    assert seen in words(found)
    assert ("fail" in states(found)) == (state == "fail"), words(found)
    assert source.closed


def test_a_microphone_that_is_not_there_says_where_to_look():
    (found,) = hearing.microphones(patient())
    assert (found.state, found.todo) == ("fail", "see python -m edge_runtime devices")


def test_the_right_machine_sounds_as_it_does_when_it_is_well(packed):
    found = list(hearing.microphones(patient(site(packed), Playing(hum(1.1, 3)), seconds=1.0)))
    assert "sounds as fan does when it is well" in words(found)


def test_a_sound_server_that_does_not_answer_is_a_warning(tmp_path, monkeypatch):
    (tmp_path / "pulse").mkdir()
    (tmp_path / "pulse" / "native").touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("PULSE_SERVER", raising=False)
    assert "does not answer" in words(hearing.libraries(patient()))


def test_a_bundle_is_opened_replayed_and_timed_against_the_hop(packed):
    found = [*network.bundles(patient(site(packed))), *network.backends(patient(site(packed)))]
    assert states(found) == ["ok", "ok", "ok"], words(found)
    assert "1 machine take" in found[-1].seen


def test_a_network_that_is_too_slow_fails(packed, monkeypatch):
    monkeypatch.setattr(network, "_window_s", lambda bundle: 0.5)  # seconds, for a hop of 0.256 s
    assert states(network.backends(patient(site(packed)))) == ["ok", "fail"]


def test_a_changed_bundle_is_one_failure_and_the_other_checks_go_on(packed):
    (packed / "golden.npz").write_bytes(b"")
    found = list(checks.examine(patient(site(packed), Playing(hum(2.0)))))
    broken = [finding for finding in found if finding.state == "fail"]
    assert [finding.check for finding in broken] == ["bundle"]
    assert "copy the bundle again" in broken[0].todo
    assert {finding.check for finding in found} >= {"disk", "memory", "clock", "microphone"}


def test_a_full_disk_and_a_folder_that_cannot_be_written_fail(packed, tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    one = patient(site(packed, state=str(tmp_path / "not yet" / "made")))
    assert states(board.disk(one)) == ["ok", "ok"]
    monkeypatch.setattr(board, "DISK_FAIL", 1 << 62)
    monkeypatch.setattr(board.tempfile, "TemporaryFile", refuse)
    assert states(board.disk(one)) == ["fail", "fail"]
    assert not (tmp_path / "not yet").exists()


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


def test_the_exit_code_and_the_lines_say_the_same(capsys):
    found = [Finding("disk", "ok", "room"), Finding("clock", "warn", "not set", "set it")]
    assert report(found, as_json=False) == 0
    assert capsys.readouterr().out == "ok   disk: room\nwarn clock: not set\n     -> set it\n"
    assert report([*found, Finding("memory", "fail", "none", "buy some")], as_json=True) == 1
    assert msgspec.json.decode(capsys.readouterr().out, type=list[Finding])[-1].todo == "buy some"


@pytest.mark.parametrize(
    "typed",
    [["nobody.yaml"], ["--machine", "fan"], ["--seconds", "0"], ["{site}", "--device", "left"]],
    ids=["no file", "machine of nothing", "no time", "a site names its microphones"],
)
def test_a_mistake_in_what_was_typed_is_exit_code_2(typed, tmp_path, capsys):
    from edge_runtime.__main__ import main
    from edge_runtime.cli import run_command

    file = tmp_path / "site.yaml"
    file.write_text("")
    try:
        code = run_command(main, ["doctor", *(word.format(site=file) for word in typed)])
    except SystemExit as ended:  # argparse's own
        code = ended.code
    assert code == 2
    assert capsys.readouterr().err


def test_nothing_is_left_behind(packed, tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    before = sorted(packed.rglob("*"))
    list(checks.examine(patient(site(packed, state=str(folder)), Playing(hum(2.0)))))
    assert list(folder.iterdir()) == []
    assert sorted(packed.rglob("*")) == before


@pytest.mark.parametrize("marks", [pytest.param(None, marks=NEEDED, id="PulseAudio")])
def test_a_real_microphone_is_heard_and_one_that_is_not_there_fails(server, packed, tmp_path, marks):  # noqa: F811
    player = server.play(write_wav(tmp_path / "playing.wav", hum(60)))
    words = ("doctor", packed, "--machine", FAN, "--seconds", 2, "--json", "--device")
    well, absent = server.auscult(*words, "pulsemic"), server.auscult(*words, "nobody")
    (out, err), (out_absent, _) = well.communicate(timeout=60), absent.communicate(timeout=60)
    player.kill()
    player.wait()
    assert (well.returncode, err) == (0, ""), out
    heard = [finding["seen"] for finding in json.loads(out) if finding["check"] == "microphone"]
    assert "dBFS" in heard[0]
    assert "sounds as" in heard[1]
    assert absent.returncode == 1
    assert [finding["check"] for finding in json.loads(out_absent) if finding["state"] == "fail"] == ["microphone"]
