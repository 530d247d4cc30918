"""What people type about alarms, against a process that listens: each command is a process of its own."""

import json
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from edge_runtime.journal import Journal, Visitor
from tests.conftest import ROOT
from tests.edge_runtime.journals import AT, BEAT

PROCESS = str(Path(__file__).with_name("journal_process.py"))


def typed(*words):
    """Exit code, stdout, stderr of one command."""
    command = [sys.executable, "-m", "edge_runtime", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def act(*words):
    return typed(*words, "--by", "ann")


class Listener:
    """A process that listens to fan (which latches) and pump."""

    def __init__(self, folder):
        words = [sys.executable, PROCESS, str(folder), "serve"]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.said() == "ready"

    def said(self):
        return self.process.stdout.readline().strip()

    def hears(self, *words):
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        assert self.said() == " ".join(words)

    def kill(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def listener(tmp_path):
    one = Listener(tmp_path)
    yield one
    one.kill()


def test_an_alarm_is_acknowledged_reset_and_both_are_in_the_history(listener, tmp_path):
    listener.hears("fan", "anomaly", "alarm")
    assert act("reset", tmp_path, "fan")[::2] == (
        1,
        "fan, anomaly: unacknowledged: what raised it goes on; acknowledge it, and reset it when that is over",
    )
    assert act("ack", tmp_path, "fan", "--why", "on my way") == (0, "fan, anomaly: unacknowledged -> acknowledged", "")
    assert listener.said() == "fan, anomaly: unacknowledged -> acknowledged"  # and the outputs hear of it
    listener.hears("fan", "anomaly", "normal")
    assert act("reset", tmp_path, "fan") == (0, "fan, anomaly: latched acknowledged -> normal", "")
    code, out, _ = typed("alarms", tmp_path, "--json", "--history", "9")
    told = json.loads(out)
    assert code == 0 and told["sign"]["listener"] == listener.process.pid and told["sign"]["quiet_s"] < 20
    assert [(one["cause"], one["who"], one["why"]) for one in told["history"]] == [
        ("raise", "auscult", ""),
        ("acknowledge", "ann", "on my way"),
        ("return", "auscult", ""),
        ("reset", "ann", ""),
    ]
    assert told["history"][0]["reason"] == "1.9-2.3 kHz, 14 dB above normal"
    assert {(one["machine"], one["kind"]) for one in told["alarms"]} == {
        (machine, kind) for machine in ("fan", "pump") for kind in ("anomaly", "not_listening")
    }


def test_silence_shelf_and_service(listener, tmp_path):
    listener.hears("pump", "not_listening", "alarm")
    kind = ("--kind", "not_listening")
    assert act("silence", tmp_path, "pump", *kind)[:2] == (0, "pump, not_listening: silence: unacknowledged")
    assert "unacknowledged, alarm, silenced" in typed("alarms", tmp_path)[1]
    assert act("shelve", tmp_path, "pump", *kind, "--minutes", "600")[0] == 1
    assert act("shelve", tmp_path, "pump", *kind, "--minutes", "30")[0] == 0
    assert "shelved, alarm, silenced, for 30 more minutes" in typed("alarms", tmp_path)[1]
    assert act("unshelve", tmp_path, "pump", *kind)[1] == "pump, not_listening: shelved -> unacknowledged"
    assert act("out-of-service", tmp_path, "pump", *kind)[0] == 0
    assert act("ack", tmp_path, "pump", *kind)[0] == 1
    assert act("in-service", tmp_path, "pump", *kind)[1] == "pump, not_listening: out of service -> unacknowledged"


def test_a_shelf_ends_by_itself(listener, tmp_path):
    listener.hears("pump", "anomaly", "alarm")
    began = time.monotonic()
    assert act("shelve", tmp_path, "pump", "--minutes", "0.02")[0] == 0
    assert listener.said() == "pump, anomaly: unacknowledged -> shelved"
    assert listener.said() == "pump, anomaly: shelved -> unacknowledged"
    assert time.monotonic() - began > 1.2
    entry = Visitor(tmp_path).history(1)[0]
    assert (entry.cause, entry.who) == ("expire", "auscult")


def test_a_machine_that_is_not_there_is_refused_with_those_that_are(listener, tmp_path):
    assert act("ack", tmp_path, "mill")[::2] == (1, "no machine mill is listened to; there is fan, pump")


def test_the_page_says_who_listens_and_who_is_deaf(listener, tmp_path):
    _, out, _ = typed("alarms", tmp_path)
    first, *rest = out.splitlines()
    assert first.startswith(f"process {listener.process.pid} listens (last sign of life 20")
    assert [line.endswith("normal  not listening") for line in rest] == [False, False, True, False]  # pump's anomaly


def test_when_nobody_listens_it_says_so_and_leaves_nothing_behind(listener, tmp_path):
    listener.hears("fan", "anomaly", "alarm")
    listener.kill()
    code, out, error = act("ack", tmp_path, "fan")
    assert (code, out) == (1, "") and error.startswith("nobody listens for") and "nothing is done" in error
    assert typed("alarms", tmp_path)[1].splitlines()[0].startswith("NOBODY LISTENS (last sign of life 20")
    again = Listener(tmp_path)
    assert "unacknowledged, alarm" in typed("alarms", tmp_path)[1]  # neither forgotten nor acknowledged
    again.kill()


def test_a_listener_that_hangs_is_waited_for_three_seconds_and_the_request_taken_back(tmp_path):
    journal = Journal(tmp_path)  # holds the folder, and answers nothing
    journal.beat(BEAT, [], AT.utc_s)
    began = time.monotonic()
    code, _, error = act("ack", tmp_path, "fan")
    assert code == 1 and "did not answer: nothing is done" in error and 3.0 < time.monotonic() - began < 10.0
    assert journal.requests() == []
    journal.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ack", "{}/none", "fan"), "no such file or folder"),
        (("ack", "{}", "fan"), "no journal.db: nothing has listened here"),
        (("alarms", "{}", "--history", "-1"), "--history -1"),
        (("ack", "{}", "fan", "--why", "two\nlines"), "--why"),
        (("ack", "{}", "fan", "--why", "x" * 501), "at most 500"),
        (("shelve", "{}", "fan"), "--minutes"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(tmp_path, words, said):
    code, out, error = typed(*(word.format(tmp_path) for word in words))
    assert code == 2 and out == "" and said in error.splitlines()[-1]


def test_the_name_of_the_process_is_no_persons(listener, tmp_path):
    listener.hears("fan", "anomaly", "alarm")
    assert "give a name" in typed("ack", tmp_path, "fan", "--by", "auscult")[2]


def test_without_by_it_is_the_login_name(listener, tmp_path, monkeypatch):
    listener.hears("fan", "anomaly", "alarm")
    monkeypatch.setenv("LOGNAME", "zoe")
    assert typed("ack", tmp_path, "fan")[0] == 0
    assert Visitor(tmp_path).history(1)[0].who == "zoe"


def test_a_site_file_stands_for_the_folder_of_its_state(tmp_path, type_in, monkeypatch):
    site = types.ModuleType("edge_runtime.site_file")
    site.load_site = lambda path: types.SimpleNamespace(state=tmp_path / "state")
    monkeypatch.setitem(sys.modules, "edge_runtime.site_file", site)
    (tmp_path / "site.yaml").write_text("name: pump house\n")
    Journal(tmp_path / "state").close()
    code, told, _ = type_in("alarms", tmp_path / "site.yaml", "--json")
    assert code == 1 and told[0]["sign"]["listener"] is None and told[0]["alarms"] == []


def test_who_asks_for_alarms_needs_no_numpy():
    code = "import sys, edge_runtime.__main__, edge_runtime.listening.panel"
    code += "; import edge_runtime.journal; raise SystemExit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
