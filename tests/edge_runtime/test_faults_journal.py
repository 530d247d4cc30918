"""What becomes of the listening when its journal does not hold; rows of docs/faults.md."""

import itertools
import os
import time

import pytest

from tests.conftest import hum, write_wav
from tests.edge_runtime.conftest import FAULT
from tests.edge_runtime.plant import Plant, figure

pytestmark = pytest.mark.plant


@pytest.fixture
def plant(tmp_path, packed):
    """A machine that fails after ten seconds, heard from a file as slowly as it sounds."""
    import numpy as np

    one = Plant(tmp_path, None, packed)
    one.sound = write_wav(tmp_path / "failing.wav", np.concatenate([hum(10), hum(50, pitch=FAULT)]))
    yield one
    one.close()


def spoil(file):
    """Its pages are no pages any more, as after a bad sector."""
    with file.open("r+b") as stream:
        stream.write(os.urandom(file.stat().st_size))


def test_a_journal_that_was_corrupted_before_the_start_is_set_aside_and_alarms_are_kept_anew(plant, tmp_path):
    plant.start("--file", plant.sound, "--realtime")
    plant.wait("alarm", cause="raise")
    assert plant.end()[0] == 0
    spoil(tmp_path / "state/journal.db")
    began = time.monotonic()
    plant.start("--file", plant.sound, "--realtime")
    noticed, notice = plant.wait("notice", about="journal")
    assert "set aside as journal.db.aside-1" in notice["words"]
    plant.heard()
    plant.wait("alarm", cause="raise")
    assert (tmp_path / "state/journal.db.aside-1").exists() and plant.end()[0] == 0 and plant.whole()[0]
    figure("journal corrupted before the start", noticed=noticed - began)


def test_a_journal_that_breaks_under_the_listener_is_set_aside_and_no_window_is_late(plant, tmp_path):
    plant.start("--file", plant.sound, "--realtime")
    plant.heard()
    began = time.monotonic()
    for name in ("journal.db", "journal.db-wal"):
        spoil(tmp_path / "state" / name)
    plant.wait("alarm", cause="raise")  # is written into the file that is none any more
    noticed, notice = plant.wait("notice", about="journal", after=began)
    assert "journal.db" in notice["words"]
    times = [when for when, event in plant.told if event["event"] == "window"]
    assert max(after - before for before, after in itertools.pairwise(times)) < 1.8  # one each 0.256 s
    assert plant.end()[0] == 0 and plant.whole()[0]
    plant.start("--file", plant.sound, "--realtime")
    plant.wait("notice", about="fan")  # "unacknowledged since before this start"
    assert plant.end()[0] == 0
    figure("journal corrupted", noticed=noticed - began)
