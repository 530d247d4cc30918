"""A process that listens, but for the listening: `python journal_process.py FOLDER HOW`, for the tests of the journal.

serve   the loop of a listener; every line of stdin is MACHINE KIND LEVEL
write   changes without end; each is told on stdout after it was written
full    fills the disk, records, frees it, records
limit   the same with a limit to the size of a file
locked  the folder becomes read-only before it is opened
"""

import os
import resource
import select
import subprocess
import sys
import time
from itertools import cycle
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from edge_runtime.alarm import AlarmSettings
from edge_runtime.cli import run_command
from edge_runtime.journal import Beat, Heard, Journal, Moment, Visitor
from edge_runtime.listening.panel import Panel, in_words

MACHINES = {"fan": AlarmSettings(latching=True), "pump": AlarmSettings()}


def now():
    return Moment(time.monotonic(), time.time(), time.monotonic())


def opened(folder):
    journal = Journal(folder)
    return journal, Panel(MACHINES, journal, now())


def told(*words):
    print(*words, flush=True)


def serve(folder):
    journal, panel = opened(folder)
    signs = [Heard(machine, "normal", "normal", machine == "fan", 1.25) for machine in MACHINES]
    _beat(journal, panel, signs)
    told("ready")
    while True:
        if select.select([sys.stdin], [], [], 0.02)[0]:
            words = sys.stdin.readline().split()
            if not words:
                journal.close()
                return 0
            panel.raised(*words, now(), 12.5, "1.9-2.3 kHz, 14 dB above normal")
            told(*words)
        for change in panel.pass_time(now()):
            told(in_words(change))


def _beat(journal, panel, machines):
    at = now()
    journal.beat(Beat(os.getpid(), at.time, at.now_s, machines), panel.kept(at.now_s), at.utc_s)


def write(folder):
    _, panel = opened(folder)
    told("ready")
    for level in cycle(["warning", "alarm", "normal"]):
        if panel.raised("fan", "anomaly", level, now()) is not None:  # or the life before ended with this one
            told(level)


def full(folder):
    journal, panel = opened(folder)
    panel.raised("fan", "anomaly", "warning", now())
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    _outage(journal, panel, (folder / "filler").unlink)
    return 0


def limit(folder):
    journal, panel = opened(folder)
    panel.raised("fan", "anomaly", "warning", now())
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = (folder / "journal.db-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (log + 1000, most[1]))
    _outage(journal, panel, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, most))
    return 0


def _outage(journal, panel, end):
    """Forty changes that cannot be written, then some that can."""
    for level in ["alarm", "normal"] * 20:
        panel.raised("fan", "anomaly", level, now())
        panel.raised("pump", "not_listening", level, now())
        panel.pass_time(now())
        _beat(journal, panel, [])
    told("listening goes on")
    end()
    panel.raised("pump", "anomaly", "warning", now())
    panel.raised("pump", "anomaly", "alarm", now())
    journal.close()


def locked(folder):
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    journal, panel = opened(folder)
    told(panel.status("fan").state)
    panel.raised("pump", "anomaly", "alarm", now())
    _beat(journal, panel, [])
    told(panel.status("pump").state)
    journal.close()
    told(Visitor(folder).states()[0].state)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(lambda argv: globals()[sys.argv[2]](Path(sys.argv[1]))))
