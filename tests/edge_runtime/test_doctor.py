"""The doctor: each trouble is found, and its line says what to do."""

import json

import msgspec
import numpy as np
import pytest

from edge_runtime.doctor import Finding, checks, hearing, network, report
from edge_runtime.outputs.settings import CommandSettings
from tests.conftest import hum, write_wav
from tests.edge_runtime.patients import FAN, Playing, patient, site, states, words
from tests.edge_runtime.sound_server import NEEDED, server  # noqa: F401


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
