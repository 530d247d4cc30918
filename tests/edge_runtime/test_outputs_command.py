"""The command on alarm: told of everything that it asks for, harmful to nothing."""

import json
import time
from pathlib import Path

import pytest

from edge_runtime.errors import ConfigError
from edge_runtime.outputs import worker
from edge_runtime.outputs.command import Command
from edge_runtime.outputs.settings import CommandSettings
from tests.edge_runtime.telling import said, status, told, until

KEEP = """#!/bin/sh
echo "$AUSCULT_EVENT $AUSCULT_MACHINE $AUSCULT_SCORE $AUSCULT_STATE $AUSCULT_LEVEL $AUSCULT_KIND $AUSCULT_REASON" \\
  >> {folder}/told
cat >> {folder}/stdin
"""


def script(folder, text):
    file = folder / "hook with a space.sh"
    file.write_text(text.format(folder=folder))
    file.chmod(0o755)
    return f"'{file}'"


def command(words, **changes):
    return Command("mail", CommandSettings(command=words, **changes))


def ended(pid):
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().split(")")[1].split()[0] == "Z"


def test_it_is_told_of_the_alarm_and_of_its_end(tmp_path):
    mail = command(script(tmp_path, KEEP))
    raised, over = told(), told("returned_unacknowledged", cause="return", score=None)
    mail.update([raised], [status("unacknowledged")])
    mail.update([over], [status("returned_unacknowledged")])
    mail.close(5.0)
    assert (tmp_path / "told").read_text().splitlines() == [
        "alarm fan 3.5 unacknowledged alarm anomaly hiss",
        "normal fan  returned_unacknowledged normal anomaly hiss",
    ]
    lines = [json.loads(line) for line in (tmp_path / "stdin").read_text().splitlines()]
    assert [line["change"]["cause"] for line in lines] == ["raise", "return"]
    assert (lines[0]["time"], lines[0]["score"], lines[1]["score"]) == ("2026-01-01T00:00:12+00:00", 3.5, None)


ALL = {
    "a warning": told(level="warning"),
    "not listening": told(kind="not_listening"),
    "an acknowledgement": told("acknowledged", cause="acknowledge"),
    "a raise while shelved": told("shelved"),
    "the end of an alarm that it was never told of": told("normal", cause="return"),
}


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, ["not listening"]),
        ({"level": "warning"}, ["a warning", "not listening"]),
        ({"kinds": ("anomaly",)}, []),
        ({"on": ("acknowledge",)}, ["an acknowledgement"]),
    ],
)
def test_it_is_told_of_what_it_asks_for_alone(settings, wanted):
    for name, one in ALL.items():
        mail = command("true", **settings)
        mail._worker.stop(1.0, finish=False)
        mail.update([one], [])
        assert bool(mail._worker._waiting) == (name in wanted), name


def test_a_shelf_that_ends_with_its_cause_there_is_a_raise_and_an_end_after_a_restart_is_told(tmp_path):
    mail = command(script(tmp_path, KEEP))
    mail.update([], [status("acknowledged", kind="not_listening")])  # of before the restart
    mail.update([told("shelved"), told("unacknowledged", cause="expire")], [])
    mail.update([told("normal", cause="return", kind="not_listening")], [])
    mail.close(5.0)
    words = [line.split() for line in (tmp_path / "told").read_text().splitlines()]
    assert [(event, kind) for event, _, _, _, _, kind, _ in words] == [
        ("alarm", "anomaly"),
        ("normal", "not_listening"),
    ]


def test_what_is_raised_anew_behind_a_shelf_is_told_when_the_shelf_ends(tmp_path):
    """Raised, shelved, over, raised again: whoever was told that it is over is told that it is there."""
    mail = command(script(tmp_path, KEEP))
    mail.update([], [status()])
    mail.update([told()], [status("unacknowledged")])
    mail.update([told("shelved", cause="shelve")], [status("shelved", level="alarm")])
    mail.update([told("shelved", cause="return", level="normal")], [status("shelved", level="normal")])
    mail.update([told("shelved", cause="raise")], [status("shelved", level="alarm")])
    mail.update([told("unacknowledged", cause="expire")], [status("unacknowledged")])
    mail.close(5.0)
    words = [line.split()[0] for line in (tmp_path / "told").read_text().splitlines()]
    assert words == ["alarm", "normal", "alarm"]


def test_two_shelves_that_end_at_once_are_both_told(tmp_path):
    mail = command(script(tmp_path, KEEP))
    shelved = [status("shelved", level="alarm", machine=machine) for machine in ("fan", "pump")]
    mail.update([], shelved)
    both = [status("unacknowledged", machine=machine) for machine in ("fan", "pump")]
    for machine in ("fan", "pump"):
        mail.update([told("unacknowledged", cause="expire", machine=machine)], both)
    mail.close(5.0)
    assert len((tmp_path / "told").read_text().splitlines()) == 2


def test_what_it_prints_is_told_where_it_fails_and_a_flood_of_it_is_not(tmp_path):
    fails = command(script(tmp_path, "#!/bin/sh\necho 'connecting'; echo 'no route to host' >&2; exit 3"))
    fails.update([told()], [])
    assert "exit code 3: no route to host" in said(fails, "exit code")[0]
    fails.close(5.0)
    floods = command(script(tmp_path, "#!/bin/sh\nexec yes flood"), timeout_s=1.0)
    floods.update([told()], [])
    assert said(floods, "killed after 1 s")
    floods.close(5.0)


def test_its_words_never_reach_a_shell(tmp_path):
    touch = command(f"touch '{tmp_path}/a b' '{tmp_path}/$(date);c'")
    touch.update([told()], [])
    touch.close(5.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["$(date);c", "a b"]


def test_one_that_takes_long_delays_nothing():
    slow = command("sleep 0.3")
    began = time.monotonic()
    for _ in range(3):
        slow.update([told()], [])
    assert time.monotonic() - began < 0.5  # seconds
    slow.close(5.0)
    assert time.monotonic() - began >= 0.9  # all three were run


HANG = "#!/bin/sh\nsleep 60 & echo $! > {folder}/child.partial\nmv {folder}/child.partial {folder}/child\nsleep 60\n"


def test_one_that_hangs_is_killed_with_its_children_and_said(tmp_path):
    hanging = command(script(tmp_path, HANG), timeout_s=0.5)
    hanging.update([told()], [])
    assert len(said(hanging, "killed after 0.5 s")) == 1
    assert ended(int((tmp_path / "child").read_text()))
    hanging.close(1.0)


def test_closing_takes_no_longer_than_it_may_and_kills_what_still_runs(tmp_path):
    hanging = command(script(tmp_path, HANG))
    hanging.update([told()] * 3, [])
    until((tmp_path / "child").exists)
    began = time.monotonic()
    hanging.close(1.0)
    assert time.monotonic() - began < 2.5
    assert list(hanging.failures()) == ["has not finished; it is stopped"]
    assert ended(int((tmp_path / "child").read_text()))
    assert not hanging._worker._waiting or not hanging._worker._thread.is_alive()


def test_a_failure_is_said_once_and_so_is_its_end(tmp_path):
    failing = command(f"test -e {tmp_path}/there")
    for _ in range(3):
        failing.update([told()], [])
    until(lambda: not failing._worker._waiting and failing._worker._began is None)
    assert list(failing.failures()) == ["test: exit code 1"]
    (tmp_path / "there").touch()
    failing.update([told()], [])
    assert said(failing, "works again") == ["works again"]
    failing.close(1.0)


def test_a_flood_of_changes_is_bounded_and_said_once():
    slow = command("sleep 60")
    for _ in range(500):
        slow.update([told()], [])
    assert len(slow._worker._waiting) == worker.WAITING
    assert [line for line in slow.failures() if "still busy" in line] == [
        f"still busy with {worker.WAITING} earlier events; newer ones are not sent to it"
    ]
    slow.close(0.5)


def test_one_that_floods_its_output_does_no_harm(tmp_path, capfd):
    flood = command(script(tmp_path, "#!/bin/sh\nhead -c 10000000 /dev/zero\n"))
    flood.update([told()], [])
    flood.close(5.0)
    assert list(flood.failures()) == []


def test_one_that_reads_nothing_does_no_harm():
    deaf = command("true")
    for _ in range(5):
        deaf.update([told(reason="x" * 100_000)], [])
    deaf.close(5.0)
    assert list(deaf.failures()) == []


@pytest.mark.parametrize("words", ["", "'open quote", "no-such-program-here --x"])
def test_one_that_cannot_be_run_is_refused_at_the_start(words):
    with pytest.raises(ConfigError, match="output mail: command"):
        command(words)
