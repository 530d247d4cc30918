"""What people say of an event: nothing of it is lost, whoever else says something or writes at that moment."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from edge_runtime.errors import DataError
from edge_runtime.reason import Reason
from edge_runtime.recorder import event, folder
from edge_runtime.recorder.event import Event


@pytest.fixture
def found():
    return Event(
        format=event.FORMAT, id="20261121T190256Z-fan", site="site", machine="fan", kind="anomaly", level="alarm",
        state="open", time="2026-11-21T19:02:56.000+00:00", clock="", seconds=1.0, since_s=0.0, alarm_s=0.5,
        returned_s=None, score=2.0, threshold=1.0, reason=Reason("a tone", []), bundle="fan.bundle", model_hash="",
        sample_rate=16_000, privacy="sound",
    )  # fmt: skip


def test_of_many_who_label_at_once_every_word_is_kept(tmp_path, found):
    folder.put(tmp_path / event.EVENTS, found, {})
    place = event.folder_of(tmp_path, found.id)
    with ThreadPoolExecutor(8) as people:
        list(people.map(lambda number: event.label(place, "fault", f"p{number}"), range(64)))
    assert {one.who for one in event.said(place).labels} == {f"p{number}" for number in range(64)}
    assert sorted(left.name for left in place.iterdir()) == [event.MANIFEST, event.LABEL]


def test_a_label_is_kept_while_the_event_is_written_anew_over_and_over(tmp_path, found):
    folder.put(tmp_path / event.EVENTS, found, {})
    place, over = event.folder_of(tmp_path, found.id), threading.Event()

    def write():
        while not over.is_set():
            folder.put(tmp_path / event.EVENTS, found, {event.WINDOWS: b"[]"})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(40):
            event.mark(place, bool(number % 2), "ann")
            event.label(place, "fault", f"p{number}")
    finally:
        over.set()
        writer.join()
    assert [one.who for one in event.said(place).labels] == [f"p{number}" for number in range(40)]
    assert event.said(place).marked


def test_what_was_removed_cannot_be_labelled(tmp_path, found):
    folder.put(tmp_path / event.EVENTS, found, {})
    place = event.folder_of(tmp_path, found.id)
    folder.remove(place)
    with pytest.raises(DataError, match="removed meanwhile"):
        event.label(place, "fault", "ann")
