"""What the tests of the journal share: two changes, and a process that listens."""

import sqlite3
import subprocess
import sys
from pathlib import Path

from edge_runtime.alarm import Change, Kept
from edge_runtime.journal import Beat, Heard, Moment

PROCESS = str(Path(__file__).with_name("journal_process.py"))
AT = Moment(100.0, 1.8e9, 12.5, "unset")
RAISED = Change("fan", "anomaly", "normal", "unacknowledged", "alarm", "raise", "auscult", "")
SEEN = Change("fan", "anomaly", "unacknowledged", "acknowledged", "alarm", "acknowledge", "ann", "on my way")
BEAT = Beat(1234, AT.time, AT.now_s, [Heard("fan", "normal", "normal", True, 3.5)])
LOUD = Kept("fan", "anomaly", "unacknowledged", "alarm")


def start(folder, how, *before, **more):
    words = [*before, sys.executable, PROCESS, str(folder), how]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def ask(folder, action="acknowledge", machine="fan"):
    db = sqlite3.connect(folder / "journal.db", isolation_level=None)
    db.execute(
        "INSERT INTO requests (action, machine, kind, who, why, made) VALUES (?, ?, 'anomaly', 'ann', '', '')",
        (action, machine),
    )
    db.close()
