"""Events of before, where the site file has no `recorder:` any more: known, ended, and never in the way of a start."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_runtime.journal import Visitor
from edge_runtime.recorder import event
from edge_runtime.recorder.folder import rewrite
from edge_runtime.recorder.shelf import Shelf
from tests.conftest import hum, write_wav
from tests.edge_runtime.recordings import SITE, fault, only


@pytest.fixture
def before(tmp_path, packed, type_in):
    """A site that has recorded an event and does so no more, and the sound that it hears."""
    site, file = tmp_path / "site.yaml", write_wav(tmp_path / "a.wav", np.concatenate([hum(8, 1), fault(6), hum(6, 3)]))
    site.write_text(SITE.format(bundle=packed, more="free_mb: 0.0"))
    assert type_in("run", site, "--file", file)[0] == 0
    site.write_text("".join(line for line in site.read_text().splitlines(True) if "recorder" not in line))
    return site, file


def test_events_of_before_are_listed_and_told_where_nothing_is_recorded_any_more(tmp_path, before, type_in):
    site, file = before
    _, _, err = type_in("run", site, "--file", file)
    assert "no `recorder:`, yet 2 events and normal sounds of before are there" in err and "events purge" in err
    assert [row.id for row in Visitor(tmp_path / "state").events(9)] == [only(tmp_path / "state")[0].name]


def test_an_event_that_a_crash_left_open_is_cut_where_nothing_is_recorded_any_more(tmp_path, before, type_in):
    site, file = before
    folder, found = only(tmp_path / "state")
    rewrite(folder, msgspec.structs.replace(found, state="open"))
    _, _, err = type_in("run", site, "--file", file)
    assert event.read(folder).state == "cut" and f"event {folder.name} was cut" in err


def test_an_old_event_that_cannot_be_read_does_not_keep_the_listening_from_its_start(before, type_in, monkeypatch):
    site, file = before

    def refused(_):
        raise PermissionError(13, "Permission denied", "events")

    monkeypatch.setattr(event, "folders", refused)
    code, _, err = type_in("run", site, "--file", file)
    assert code == 0 and "events: Permission denied; scoring goes on" in err


def test_one_event_that_nobody_may_read_hides_no_other(tmp_path, before, monkeypatch):
    state = tmp_path / "state"
    locked = state / event.EVENTS / "20260101T000000Z-fan"
    locked.mkdir()
    is_file = Path.is_file

    def asked(path):
        if path.parent == locked:
            raise PermissionError(13, "Permission denied")
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", asked)
    shelf = Shelf(state)
    assert len(list(shelf.look())) == 1 and len(event.folders(state)) == 2
