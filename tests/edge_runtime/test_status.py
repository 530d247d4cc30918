"""`status`: one look says whether all is well; silence, and who writes nothing, are never taken for it."""

import json
import os
import time

import msgspec
import pytest

from edge_runtime.__main__ import main
from edge_runtime.alarm import Kept
from edge_runtime.cli import run_command
from edge_runtime.journal import Heard, Microphone, Recorded
from edge_runtime.journal.live import Live
from tests.edge_runtime.journals import AT, BEAT, LOUD

FAN = Heard("fan", "normal", "normal", True, 0.5, 1.0, AT.time, -31.5, 0.0, [], 60, 0, 0, AT.utc_s)
LEFT = Microphone("left", "usb:1:2", True, "opened at 16000 Hz")
CALM = [Kept("fan", "anomaly"), Kept("fan", "not_listening")]


@pytest.fixture
def look(open_journal, tmp_path, capsys):
    """A listener that has just told so much of itself -> exit code and lines of `status`."""
    lives, journal = [], open_journal(tmp_path)

    def give(*, kept=CALM, machine=None, microphone=LEFT, quiet_s=0.0, words=(), **more):
        machine = machine or agrees(kept)
        beat = msgspec.structs.replace(
            BEAT, pid=os.getpid(), monotonic_s=time.monotonic() - quiet_s, machines=[machine], microphones=[microphone]
        )
        journal.beat(msgspec.structs.replace(beat, **more), kept, AT.utc_s)
        lives.append(Live(tmp_path))
        lives[-1].show(msgspec.structs.replace(beat, **more))
        code = run_command(main, ["status", str(tmp_path), *words])
        return (code, capsys.readouterr().out.splitlines()), journal

    yield give
    for live in lives:
        live.close()


def changed(heard, **fields):
    return msgspec.structs.replace(heard, **fields)


def agrees(kept):
    """What memory says where the journal is not behind."""
    of = {one.kind: one for one in kept}
    fan = of.get("anomaly", Kept("fan", "anomaly"))
    return changed(FAN, state=fan.state, level=fan.level, listening=of.get("not_listening", CALM[1]).level == "normal")


def test_where_all_is_well_the_exit_code_is_0(look):
    (code, (first, fan, last)), _ = look()
    assert code == 0 and first.startswith(f"process {os.getpid()} listens")
    assert fan.split() == ["fan", "normal", "score", "0.5", "of", "1", "-31.5", "dBFS"]
    assert last.startswith("0 events, ") and last.endswith(" MB free on the disk")


@pytest.mark.parametrize(
    ("wrong", "told_of"),
    [
        ({"kept": [LOUD]}, "anomaly: unacknowledged, alarm"),
        ({"kept": [Kept("fan", "anomaly", "acknowledged", "alarm")]}, "anomaly: acknowledged, alarm"),
        ({"kept": [Kept("fan", "not_listening", "unacknowledged", "alarm")]}, "not listening: unacknowledged"),
        ({"machine": changed(FAN, listening=False)}, "not listening"),
        ({"machine": changed(FAN, listening=False, time="", score=None, scored=0)}, "not listening yet"),
        ({"quiet_s": 11.0}, "writes nothing"),
    ],
)
def test_what_is_not_well_is_said_and_the_exit_code_is_1(look, wrong, told_of):
    (code, told), _ = look(**wrong)
    assert code == 1 and any(told_of in line for line in told)


LATER = "2037-01-15T08:00:00+00:00"  # what memory says is newer than the journal's last change
DEAF = Kept("fan", "not_listening", "unacknowledged", "alarm")


@pytest.mark.parametrize(
    ("kept", "machine", "told_of"),
    [
        (CALM, changed(FAN, state="unacknowledged", level="alarm"), "anomaly: unacknowledged, alarm"),
        ([], changed(FAN, state="unacknowledged", level="alarm"), "anomaly: unacknowledged, alarm"),
        (CALM, changed(FAN, listening=False), "not listening: unacknowledged, alarm"),
        ([], changed(FAN, listening=False), "not listening: unacknowledged, alarm"),
    ],
)
def test_where_a_full_disk_keeps_the_journal_behind_memory_is_told(look, tmp_path, capsys, kept, machine, told_of):
    (code, told), _ = look(kept=kept, machine=machine, time=LATER)
    assert code == 1 and told_of in told[1]
    assert run_command(main, ["alarms", str(tmp_path)]) == 0
    assert told_of.split(": ")[1] in capsys.readouterr().out


def test_who_is_heard_again_is_not_deaf_whatever_a_journal_that_is_behind_says(look):
    (code, told), _ = look(kept=[DEAF], machine=FAN, time=LATER)
    assert code == 1 and "not listening: returned unacknowledged" in told[1]


def test_before_the_first_score_memory_makes_no_alarm_of_silence(look):
    (_, told), _ = look(machine=changed(FAN, listening=False, scored=0, unfit=1), time=LATER)
    assert "unacknowledged" not in told[1] and "not listening" in told[1]


def test_what_a_person_has_put_away_is_shown_and_well(look):
    (code, told), _ = look(kept=[Kept("fan", "anomaly", "shelved", "alarm", shelf_left_s=600.0, shelf_until=AT.utc_s)])
    assert code == 0 and "anomaly: shelved, alarm, for 10 more minutes" in told[1]


def test_silence_has_no_level_and_faults_are_named(look):
    (_, told), _ = look(machine=changed(FAN, score=None, level_dbfs=None, faults=["silence"]))
    assert "no score  silent  silence" in told[1]


def test_microphones_clock_and_what_failed_last_are_told(look, tmp_path):
    deaf = changed(LEFT, listening=False, reason="usb:1:2 is not plugged in")
    _, journal = look(microphone=deaf, clock="unset")
    journal.noted(AT.time, "output mail", "mail-shift: exit code 1")
    journal.recorded(Recorded("20270115T080000Z-fan", "fan", "anomaly", "alarm", AT.time, "", 4.0, "", 30.0, 100))
    (_, told), _ = look(microphone=deaf, clock="unset")
    assert "microphone left: not heard: usb:1:2 is not plugged in" in told
    assert "the wall clock is unset: times are not to be trusted" in told
    assert told[-1].endswith("output mail: mail-shift: exit code 1")


def test_json_has_the_same_for_programs(look):
    (code, told), _ = look(words=("--json",), kept=[LOUD])
    assert code == 1 and json.loads(told[0])["well"] is False
    assert (
        json.loads(told[0])["sign"]["beat"]["machines"][0]["score"] == 0.5
        and json.loads(told[0])["alarms"][0]["state"] == "unacknowledged"
    )
