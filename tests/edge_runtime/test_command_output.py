"""The command on alarm: told of everything, harmful to nothing."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_runtime import events
from edge_runtime.errors import ConfigError
from edge_runtime.outputs.command import Command
from tests.conftest import ROOT
from tests.edge_runtime.conftest import DELAYS, of

KEEP = """#!/bin/sh
echo "$AUSCULT_EVENT $AUSCULT_MACHINE $AUSCULT_SCORE" >> {folder}/told
cat >> {folder}/stdin
echo "from the command"
"""


def script(folder, text):
    file = folder / "hook with a space.sh"
    file.write_text(text.format(folder=folder))
    file.chmod(0o755)
    return f"'{file}'"


def test_the_command_is_told_of_the_alarm_and_of_its_end(packed, faulty, tmp_path, type_in):
    hook = script(tmp_path, KEEP)
    code, told, _ = type_in("run", packed, "--file", faulty, *DELAYS, "--command", hook)
    alarm, normal = of(told, "alarm")[0], of(told, "normal")[0]
    assert code == 0
    words = [line.split() for line in (tmp_path / "told").read_text().splitlines()]
    assert [(event, machine) for event, machine, _ in words] == [
        ("alarm", "fan_section_00"),
        ("normal", "fan_section_00"),
    ]
    assert [float(score) for *_, score in words] == [alarm["score"], normal["score"]]
    assert [json.loads(line) for line in (tmp_path / "stdin").read_text().splitlines()] == [alarm, normal]


ALARM = events.Alarm(2.0, 1.0, 3.5)


def test_what_the_command_prints_does_not_mix_with_the_events(packed, faulty, tmp_path):
    words = [sys.executable, "-m", "edge_runtime", "run", packed, "--file", faulty, *DELAYS]
    done = subprocess.run([*words, "--command", script(tmp_path, KEEP)], cwd=ROOT, capture_output=True, text=True)
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()][-1] == "end"
    assert done.stderr.splitlines() == ["from the command"] * 2


def test_words_of_the_command_never_reach_a_shell(tmp_path):
    touch = Command(f"touch '{tmp_path}/a b' '{tmp_path}/$(date);c'", "fan")
    touch.send(ALARM)
    touch.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["$(date);c", "a b"]


def test_a_command_that_takes_long_delays_nothing(tmp_path):
    slow = Command("sleep 0.5", "fan")
    began = time.monotonic()
    for _ in range(3):
        slow.send(ALARM)
    assert time.monotonic() - began < 0.1  # seconds
    slow.close()
    assert time.monotonic() - began >= 1.5  # all three were run


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path, capsys):
    hook = script(tmp_path, "#!/bin/sh\nsleep 60 & echo $! > {folder}/child\nsleep 60\n")
    hanging = Command(hook, "fan", timeout_s=0.5)
    hanging.send(ALARM)
    time.sleep(1.0)
    hanging.close()
    assert "killed after 0.5 s" in capsys.readouterr().err
    child = int((tmp_path / "child").read_text())
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().split(")")[1].split()[0] == "Z"  # ended


def test_a_command_that_fails_is_reported(capsys):
    failing = Command("false", "fan")
    failing.send(ALARM)
    failing.close()
    assert "warning: --command false: exit code 1" in capsys.readouterr().err


def test_a_command_that_reads_nothing_does_no_harm(capsys):
    deaf = Command("true", "fan")
    for _ in range(5):
        deaf.send(ALARM)
    deaf.close()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("words", ["", "'open quote", "no-such-program-here --x"])
def test_a_command_that_cannot_be_run_is_refused_at_the_start(words):
    with pytest.raises(ConfigError, match="--command"):
        Command(words, "fan")


# score
