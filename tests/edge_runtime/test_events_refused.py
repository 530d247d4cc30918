"""Events: what a person may not ask for, and what is said where an event does not stay."""

import msgspec
import pytest

from edge_runtime.__main__ import main
from edge_runtime.bundle import open_bundle
from edge_runtime.cli import run_command
from edge_runtime.recorder import event, folder
from tests.conftest import hum
from tests.edge_runtime.recordings import fault, in_blocks, listen, settings


@pytest.fixture
def recorded(state, packed):
    """One event -> its folder."""
    listen(state, open_bundle(packed), *in_blocks(hum(5)), *in_blocks(fault(6), new=None), wanted=settings())
    (place,) = event.folders(state)
    return place


@pytest.fixture
def refused(capsys):
    """The one line of a command that is refused."""

    def run(*words):
        assert run_command(main, ["events", *map(str, words)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return run


@pytest.mark.parametrize("name", ["", " ", "auscult"])
def test_who_labels_is_a_person(recorded, refused, state, name):
    assert "wanted the name of a person" in refused("label", state, recorded.name, "fault", "--by", name)
    assert not event.said(recorded).labels


@pytest.mark.parametrize("words", ["fan=..", "fan=.hidden", "fan=a/b", "fan=", "fan"])
def test_a_machine_is_renamed_to_nothing_outside_the_data_set(recorded, refused, state, tmp_path, words):
    said = refused("export", state, "--out", tmp_path / "data", "--rename", words)
    assert said.startswith("error: --rename") and not (tmp_path / "data").exists()


def test_two_machines_are_not_exported_as_one(recorded, refused, state, tmp_path):
    other = msgspec.structs.replace(event.read(recorded), id=f"{recorded.name}.2", machine="pump")
    folder.put(state / event.EVENTS, other, {})
    for place in event.folders(state):
        event.label(place, "normal", "ann")
    said = refused("export", state, "--out", tmp_path / "data")
    assert "fan_section_00 and pump are both fan_section_00" in said and "--rename pump=TYPE" in said
    assert not (tmp_path / "data").exists()


def test_a_place_that_cannot_be_looked_into_is_not_empty(refused, state):
    state.mkdir()
    (state / event.EVENTS).write_text("no folder")
    assert "Not a directory" in refused("list", state)


def test_an_event_that_what_people_labelled_leaves_no_room_for_is_told_and_no_label_is_lost(recorded, state, packed):
    event.label(recorded, "fault", "ann")
    folder.rewrite(recorded, msgspec.structs.replace(event.read(recorded), bytes=1_900_000))
    (recorded / "padding").write_bytes(bytes(1_800_000))
    blocks = [*in_blocks(hum(6, 1)), *in_blocks(fault(4, 8), new=None), *in_blocks(hum(4, 3), new=None)]
    told = listen(state, open_bundle(packed), *blocks, wanted=settings(budget_mb=2.0))
    words = [one.words for one in told if getattr(one, "about", "") == "recorder"]
    assert len(words) == 1 and "is not kept: what people labelled or marked" in words[0]
    assert event.folders(state) == [recorded]
