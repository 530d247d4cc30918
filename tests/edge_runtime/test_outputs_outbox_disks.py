"""The queue of a webhook on disks as they are, and in a process that is killed."""

import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from edge_runtime.outputs.outbox import Outbox
from tests.conftest import ROOT


def in_a_small_disk(folder, program, *mounting):
    """Run a program of the tests with a disk of its own there; skips where that is not allowed."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("a file system of one's own needs user namespaces")
    folder.mkdir()
    mount = f'mount -t tmpfs -o size=64k none "{folder}" && exec "$0" "$@"'
    command = ["unshare", "-rm", "sh", "-c", mount, sys.executable, "-c", program, str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


FULL = """
import subprocess, sys
from pathlib import Path
from edge_runtime.outputs.outbox import Outbox
from edge_runtime.outputs.worker import OutputError
from tests.edge_runtime.outboxes import numbered, numbers
disk = Path(sys.argv[1])
def save():
    try:
        outbox.save()
        print("saved", outbox.kept)
    except OutputError as error:
        print(str(error).replace(str(disk), "DISK"), outbox.dirty)
outbox = Outbox(disk / "outbox" / "shift", 50, print)
outbox.put(numbered(0))
save()
{spoil}
for number in range(1, 60):
    outbox.put(numbered(number))
save()
assert len(outbox) == 50
{mend}
save()
assert not outbox.dirty
print([number for number, _ in numbers(outbox)] == list(range(10, 60)))
save()
again = Outbox(disk / "outbox" / "shift", 50, print)
again.save()
print(len(again))
"""
DISKS = {
    "full": (
        '(disk / "big").write_bytes(bytes(40 * 1024))',
        '(disk / "big").unlink()\nsubprocess.run(["mount", "-o", "remount,size=1m", disk], check=True)',
        "No space left on device",
    ),
    "read-only": (
        'subprocess.run(["mount", "-o", "remount,ro", disk], check=True)',
        'subprocess.run(["mount", "-o", "remount,rw,size=1m", disk], check=True)',
        "Read-only file system",
    ),
}


@pytest.mark.parametrize("how", DISKS)
def test_on_a_disk_that_cannot_be_written_it_goes_on_in_memory_and_on_the_disk_when_it_can(tmp_path, how):
    spoiling, mending, why = DISKS[how]
    program = FULL.replace("{spoil}", spoiling).replace("{mend}", mending)
    done = in_a_small_disk(tmp_path / "disk", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "saved 1",
        f"its queue DISK/outbox/shift cannot be written ({why}); it goes on in memory True",
        "saved 50",
        "True",
        "saved 0",
        "0",
    ]


PUTS = """
import sys
from pathlib import Path
from edge_runtime.outputs.outbox import Outbox
from tests.edge_runtime.outboxes import numbered
outbox = Outbox(Path(sys.argv[1]), 40, print)
outbox.save()
for number in range(int(sys.argv[2]), 1_000_000):
    outbox.put(numbered(number))
    outbox.save()
    if number % 3 == 2:
        outbox.done(outbox.first())
    print(number, flush=True)
"""


def test_kill_9_at_any_moment_loses_nothing_that_was_saved_and_spoils_no_order(tmp_path, said):
    chance, last = random.Random(7), -1
    for _ in range(8):
        command = [sys.executable, "-c", PUTS, tmp_path, str(last + 1)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        first = process.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.1))
        process.send_signal(signal.SIGKILL)
        told_last = [int(line) for line in (first + process.communicate()[0]).splitlines()]
        last = max([last, *told_last])
        outbox = Outbox(tmp_path, 41, said.append)
        outbox.save()
        found = [int(entry.message.id) for entry in outbox._waiting]
        assert found == list(range(found[0], found[-1] + 1)), found  # in order, without a hole
        assert last <= found[-1] <= last + 1
        last = found[-1]
    assert said == [] and last >= 8
