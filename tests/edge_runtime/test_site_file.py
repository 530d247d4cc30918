"""A mistake in a site file is one line: the file, the place in it, what came, and what there is instead."""

import numpy as np
import pytest

from edge_runtime import bundle as bundles
from edge_runtime.__main__ import main
from edge_runtime.capture import MicrophoneSettings
from edge_runtime.cli import run_command
from edge_runtime.listening.opening import place
from edge_runtime.outputs.settings import CommandSettings
from edge_runtime.site_file import MachineSettings, load_site, of_bundle
from tests.conftest import hum, write_wav

FAN = "{bundle: bundle, microphone: left, machine: fan_section_00%s}"
LEFT = "microphones: {left: {}}\n"
OUTPUTS = {
    "relay": "{kind: relay, chip: /dev/gpiochip0, line: 17}",
    "light": "{kind: command, command: true}",
}


def machines(fan="", more="", **outputs):
    """The text of a site: what is added to the machine `fan`, more of the file, and outputs by name."""
    listed = "".join(f"  {name}: {words}\n" for name, words in outputs.items())
    return f"machines:\n  fan: {FAN % fan}\n{LEFT}{more}" + (f"outputs:\n{listed}" if listed else "")


@pytest.fixture
def folder(packed):
    """With a bundle of two machines, a sound, and what is none."""
    write_wav(packed.parent / "horn.wav", hum(1.0))
    write_wav(packed.parent / "long.wav", np.zeros(61 * 16_000, np.float32))
    (packed.parent / "text").write_text("no WAV, no machine\n")
    return packed.parent


@pytest.fixture
def validate(folder, capsys):
    """The text of a site file -> exit code, stdout, what it says after the name of the file."""

    def validated(text):
        (folder / "site.yaml").write_text(text)
        code = run_command(main, ["validate", str(folder / "site.yaml")])
        out, err = capsys.readouterr()
        return code, out, err.removeprefix(f"error: {folder / 'site.yaml'}")

    return validated


TWO = "machines:\n  mill 2: {bundle: bundle, microphone: left}\n  mill_2: {bundle: bundle, microphone: left}\n"
MISTAKES = {
    "recordings of two machines in one folder": (
        f"{TWO}{LEFT}state: state\nrecorder: {{}}\n",
        ": machines: 'mill 2' and 'mill_2' would share their recordings; give one another name",
    ),
    "a machine twice": (
        "machines:\n  fan: {bundle: a, microphone: left}\n  pump: {bundle: a, microphone: left}\n"
        "  fan: {bundle: b, microphone: left}\n",
        ", line 4: fan is there twice; rename one",
    ),
    "a field twice": (machines(", channel: 0, channel: 1"), ", line 2: channel is there twice; rename one"),
    "an output twice": (machines() + "outputs:\n  a: 1\n  a: 2\n", ", line 6: a is there twice; rename one"),
    "no YAML": ("machines: {", ": not YAML (while parsing"),
    "no such date": ("name: 2026-13-45", ": not YAML (month must be in 1..12"),
    "an unknown field": (
        machines(", chanel: 1"),
        ": machines.fan: unknown field chanel; there is bundle, microphone, machine, channel, references",
    ),
    "an unknown field of a file": (machines(more="tate: x\n"), ": unknown field tate; there is machines, microphones,"),
    "what no file says": (machines(more="file: x\n"), ": unknown field file; there is machines"),
    "a wrong type": (machines(", channel: left"), ": machines.fan.channel: Expected int, got str"),
    "deep": (
        machines(", alarm: {warning: {k: x}}"),
        ": machines.fan.alarm.warning.k: Expected int, got str",
    ),
    "a setting": (machines(", threshold: .nan"), ": machines.fan: threshold nan: wanted a number"),
    "the second of two": (
        machines(more="").replace(LEFT, "  pump: {bundle: bundle}\n" + LEFT),
        ": machines.pump: missing field microphone; give it",
    ),
    "no machines": ("machines: {}\n" + LEFT, ": machines: Expected object of length >= 1"),
    "nothing": ("", ": Expected object, got null"),
    "no kind": (
        machines(a="{chip: x}"),
        ": outputs.a: missing field kind; say which: relay, sound, command or webhook",
    ),
    "an unknown kind": (
        machines(a="{kind: mqtt}"),
        ": outputs.a.kind: unknown kind mqtt; there is relay, sound, command, webhook",
    ),
    "an unknown word": (
        machines(a="{kind: command, command: 'true', level: red}"),
        ": outputs.a.level: unknown red; there is alarm, warning",
    ),
    "on is true": (machines(a="{kind: command, command: 'true', on: [raise]}"), ": outputs.a: Expected str in a key"),
    "a name that is a number": (machines().replace("fan_section_00", "00"), "quote it: YAML reads 00 as the number 0"),
    "1e-3": (machines(", threshold: 1e-3"), "machines.fan.threshold: Expected float | null, got str (YAML reads 1e-3"),
    "no such rate": (
        machines().replace("left: {}", "left: {rate: 5}"),
        ": microphones.left: rate 5: wanted 8000 to",
    ),
    "no device": (machines().replace("left: {}", "left: {device: ''}"), ": microphones.left: device is empty; give"),
    "a chip that no system has": (
        machines(a='{kind: relay, chip: "/dev/a\\0b", line: 1}'),
        r", line 5: '/dev/a\x00b' holds a NUL; take it out",
    ),
    "a state that no system has": (machines(more='state: "a\\0b"\n'), r", line 4: 'a\x00b' holds a NUL"),
    "no such microphone": (
        machines().replace("left: {}", "right: {}"),
        ": machines.fan.microphone: unknown left; there is right",
    ),
    "a window is longer": (
        machines(", alarm: {not_listening_s: 1.0}"),
        ": machines.fan: alarm.not_listening_s 1: a window and a hop take",
    ),
    "no such bundle": (
        machines().replace("bundle: bundle", "bundle: nope.bundle"),
        "/nope.bundle: no such folder; give the path of a bundle",
    ),
    "no such machine": (
        machines().replace("fan_section_00", "fan"),
        "/bundle: unknown machine fan; it knows fan_section_00, pump_section_00",
    ),
    "which machine": (
        machines().replace(", machine: fan_section_00", ""),
        "/bundle knows several machines; say which: machine: one of fan_section_00, pump_section_00",
    ),
    "no such references": (
        machines(", references: nope.npz"),
        "/nope.npz: No such file or directory; enrol the machine (calib/enroll.py) or give another path",
    ),
    "references that are none": (machines(", references: text"), "/text: not a machine's file; enrol the machine"),
    "of another machine": (
        machines(", references: text").replace("fan_section_00", "motor"),
        "/bundle: unknown machine motor; it knows fan_section_00, pump_section_00; leave `machine:` out",
    ),
    "a warning above the alarm": (
        machines(", alarm: {warning: {threshold: 900.0}}"),
        ": machines.fan: alarm: warning at 900, above alarm at 12; give a lower threshold",
    ),
    "no horn": (machines(a="{kind: sound, file: nope.wav}"), "/nope.wav: No such file or directory; give a WAV file"),
    "a horn that is a folder": (machines(a="{kind: sound, file: bundle}"), "/bundle: Is a directory; give a WAV file"),
    "a horn that is a text": (machines(a="{kind: sound, file: text}"), "/text: file does not start with RIFF id"),
    "a long horn": (machines(a="{kind: sound, file: long.wav}"), "/long.wav: 61 s long, wanted up to 60 s"),
    "no command": (machines(a="{kind: command, command: ''}"), ": output a: command '': no such program"),
    "quotes": (machines(a="{kind: command, command: 'a \"'}"), ': output a: command a ": No closing quotation'),
    "an address that is none": (
        machines(a="{kind: webhook, url: example.org}"),
        ": outputs.a: url: wanted http or https and a host; write it as https://host:port/path",
    ),
    "a secret in a header": (
        machines(a="{kind: webhook, url: 'https://example.org', headers: {authorization: x}}"),
        ": outputs.a: headers: authorization is written by the webhook itself; give token_file",
    ),
    "a relay below 0": (
        machines(a="{kind: relay, chip: /dev/gpiochip0, line: -1}"),
        ": outputs.a.line -1: wanted 0 or more",
    ),
    "two relays": (
        machines(a=OUTPUTS["relay"], b=OUTPUTS["relay"]),
        ": outputs.b: /dev/gpiochip0, line 17 is the relay a too; give another line",
    ),
    "an output named twice": (
        machines(", outputs: [a, a]", a=OUTPUTS["relay"]),
        ": machines.fan.outputs: a is there twice; name it once",
    ),
    "nobody uses it": (
        machines(", outputs: []", a=OUTPUTS["relay"]),
        ": outputs.a: no machine uses it; remove it, or name it at one",
    ),
    "a state that is a file": (machines(more="state: text\n"), "/text is a file; give a folder"),
}


@pytest.mark.parametrize(("text", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_that_names_file_and_place(text, words, validate):
    code, out, said = validate(text)
    assert (code, out, said.count("\n")) == (2, "", 1)
    assert words in said, said


def test_what_is_told_of_a_threshold_is_where_the_alarm_begins(validate):
    code, out, _ = validate(machines(", alarm: {alarm: {threshold: 33.5}}"))
    assert code == 0 and "alarms  above 33.5 (set by hand, no rate promised)" in out
    assert "no sound is kept: no `recorder:` is given" in out


@pytest.mark.parametrize("name", ["no such bundle", "no such machine", "no such references", "which machine"])
def test_what_is_wrong_with_a_bundle_names_the_machine_of_the_file(name, validate):
    assert validate(MISTAKES[name][0])[2].startswith(": machines.fan: ")


def test_a_broken_bundle_names_the_first_machine_that_is_heard_with_it(validate, folder):
    (folder / "bundle" / bundles.GOLDEN).write_bytes(b"")
    said = validate(machines())[2]
    assert said.startswith(": machines.fan: ") and "golden.npz: SHA-256" in said and "--machine" not in said


def test_a_missing_package_is_said_before_it_runs(validate, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, said = validate(machines(a=OUTPUTS["relay"]))
    assert code == 2 and "output a: the Python package gpiod is missing; pip install 'auscult[relay]'" in said


def test_one_machine_without_state_is_said_in_the_right_words(validate):
    out = validate(machines())[1].splitlines()[-1]
    assert out.endswith("site.yaml: 1 machine, as it should be; no state is kept: no `state:` is given, alarms do not "
                        "survive a restart and nobody can acknowledge")  # fmt: skip


def test_a_webhook_without_state_is_said_and_its_files_lie_beside_the_site(validate, folder):
    (folder / "shift.token").write_text("abc")
    text = machines(a="{kind: webhook, url: 'https://example.org', token_file: shift.token}")
    assert validate(text)[1].endswith("; a restart forgets what a webhook has not delivered\n")
    assert load_site(folder / "site.yaml").outputs["a"].token_file == str(folder / "shift.token")
    assert "forgets" not in validate(text + "state: kept\n")[1]


def test_two_machines_with_a_state_are_said_in_the_right_words(validate, folder):
    two = machines(more="state: kept\n").replace(LEFT, f"  pump: {FAN % ''}\n{LEFT}")
    assert (
        validate(two)[1].splitlines()[-1].endswith(f"2 machines, as it should be; state is kept in {folder / 'kept'}")
    )


def test_merged_keys_are_not_twice(folder):
    others = "  pump: {<<: *fan, channel: 1}\n  other: {<<: *fan, channel: 2}\n"
    text = f"machines:\n  fan: &fan {FAN % ''}\n{others}{LEFT}"
    (folder / "site.yaml").write_text(text)
    site = load_site(folder / "site.yaml")
    assert [machine.channel for machine in site.machines.values()] == [0, 1, 2]


def test_a_home_is_a_place(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    text = machines(", references: ~/fan.npz", "state: ~/state\n", a="{kind: sound, file: ~/horn.wav}")
    (folder / "site.yaml").write_text(text.replace("bundle: bundle", "bundle: ~/bundle"))
    site = load_site(folder / "site.yaml")
    fan = site.machines["fan"]
    assert (fan.bundle, fan.references) == (str(folder / "bundle"), str(folder / "fan.npz"))
    assert (site.state, site.outputs["a"].file) == (str(folder / "state"), str(folder / "horn.wav"))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("./tell.sh 'on call' -v", "{folder}/tell.sh 'on call' -v"),
        ("bin/tell.sh", "{folder}/bin/tell.sh"),
        ("/bin/true x", "/bin/true x"),
        ("true ./x", "true ./x"),
    ],
)
def test_a_program_with_a_slash_lies_beside_the_file(written, meant, folder):
    (folder / "site.yaml").write_text(machines(a=f'{{kind: command, command: "{written}"}}'))
    site = load_site(folder / "site.yaml")
    assert site.outputs["a"] == CommandSettings(command=meant.format(folder=folder))


def test_a_program_beside_a_file_of_this_folder_is_not_looked_for_in_path(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "site.yaml").write_text(machines(a="{kind: command, command: ./tell.sh}"))
    assert load_site("site.yaml").outputs["a"].command == str(folder / "tell.sh")


def test_every_mistake_of_the_short_form_is_as_it_was(packed):
    settings = MachineSettings(bundle=str(packed), microphone="left")
    with pytest.raises(bundles.BundleError, match=f"^{packed}: no --machine given"):
        place(of_bundle(settings, MicrophoneSettings(), {}, None, "onnxruntime"))


def test_the_short_form_calls_a_machine_by_its_own_name(model_folder, tmp_path):
    from calib.golden import write_golden

    (model_folder / bundles.MACHINES / "pump_section_00.npz").unlink()
    write_golden(model_folder)
    bundles.write_bundle(model_folder, tmp_path / "my.bundle")
    settings = MachineSettings(bundle=str(tmp_path / "my.bundle"), microphone="left")
    site = of_bundle(settings, MicrophoneSettings(), {}, None, "onnxruntime")
    assert [placed.name for placed in place(site)] == ["fan_section_00"]
