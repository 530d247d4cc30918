"""Events take their share of the disk and no more: what goes first, what stays, and when nothing may go."""

import datetime
import threading
import time

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.journal import Moment, Visitor
from edge_runtime.recorder import disk, event, folder
from edge_runtime.recorder import writer as writers
from edge_runtime.recorder.disk import Standing, interest, removals
from edge_runtime.recorder.shelf import Removed, Shelf, Written
from tests.conftest import hum
from tests.edge_runtime import recordings
from tests.edge_runtime.recordings import fault, in_blocks, listen, settings

DAY = 86_400.0
NOW = 1.8e9
STANDINGS = st.builds(
    Standing,
    id=st.uuids().map(str),
    bytes=st.integers(1, 10_000_000),
    level=st.sampled_from(["warning", "alarm"]),
    excess=st.floats(0.0, 50.0),
    utc_s=st.none() | st.floats(NOW - 400 * DAY, NOW + DAY),
    labelled=st.booleans(),
    marked=st.booleans(),
    state=st.sampled_from(["open", "whole", "cut"]),
)
MANY = st.lists(STANDINGS, max_size=30, unique_by=lambda one: one.id)
CLOCK = st.none() | st.just(NOW)


@given(STANDINGS, CLOCK)
def test_what_is_labelled_louder_farther_or_newer_is_never_less_interesting(one, now_s):
    more = {
        "level": "alarm",
        "excess": one.excess + 1.0,
        "labelled": True,
        "utc_s": None if one.utc_s is None else one.utc_s + DAY,
    }
    for name, value in more.items():
        assert interest(msgspec.structs.replace(one, **{name: value}), now_s) >= interest(one, now_s), name


@given(STANDINGS, STANDINGS, CLOCK)
def test_what_a_person_labelled_is_above_all_that_nobody_did(one, other, now_s):
    labelled, not_yet = msgspec.structs.replace(one, labelled=True), msgspec.structs.replace(other, labelled=False)
    assert interest(labelled, now_s) > interest(not_yet, now_s)


@given(STANDINGS)
def test_an_event_is_half_as_interesting_after_thirty_days(one):
    new = msgspec.structs.replace(one, utc_s=NOW)
    assert interest(new, NOW + 30 * DAY)[1] == pytest.approx(interest(new, NOW)[1] / 2)


@given(MANY, st.floats(0, 5e7), st.floats(1, 400), CLOCK)
def test_marked_events_and_those_that_go_on_are_never_removed(events, budget, keep_days, now_s):
    gone = set(removals(events, budget, keep_days * DAY, now_s))
    assert not any(one.id in gone for one in events if one.marked or one.state == "open")


@given(MANY, st.floats(0, 5e7), st.floats(1, 400), CLOCK)
def test_the_rest_fits_or_nothing_more_may_go(events, budget, keep_days, now_s):
    gone = set(removals(events, budget, keep_days * DAY, now_s))
    left = [one for one in events if one.id not in gone]
    over = [one for one in left if not one.marked and one.state != "open"]
    going_on = sum(one.bytes for one in left if one.state == "open")
    if sum(one.bytes for one in left) > budget:  # nothing that a person labelled goes for what goes on
        assert all(one.labelled for one in over)
        assert not over or sum(one.bytes for one in left) - going_on <= budget


@given(MANY, st.floats(0, 5e7), CLOCK)
def test_what_goes_for_room_is_less_interesting_than_all_that_stays_and_none_goes_needlessly(events, budget, now_s):
    gone = removals(events, budget, float("inf"), now_s)
    by_id = {one.id: one for one in events}
    free = [one for one in events if not one.marked and one.state != "open"]
    worth = [interest(by_id[name], now_s) for name in gone]
    assert worth == sorted(worth)
    stays = [interest(one, now_s) for one in free if one.id not in gone]
    assert not worth or not stays or worth[-1] <= min(stays)
    if gone:
        but_the_last = sum(one.bytes for one in events if one.id not in gone[:-1])
        assert but_the_last > budget


@given(MANY, st.floats(1, 400), CLOCK)
def test_only_what_was_recorded_and_is_judged_by_a_set_clock_grows_too_old(events, keep_days, now_s):
    gone = set(removals(events, float("inf"), keep_days * DAY, now_s))
    for one in events:
        old = now_s is not None and one.utc_s is not None and now_s - one.utc_s > keep_days * DAY
        assert (one.id in gone) == (old and not one.marked and one.state != "open")


# On a disk


def aged(place, days=0.0, **changes):
    """The event as if it had been recorded that long ago."""
    found = event.read(place)
    then = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=days)
    name = f"{then:%Y%m%dT%H%M%SZ}-fan_section_00"
    made = msgspec.structs.replace(found, id=name, time=then.isoformat(timespec="milliseconds"), **changes)
    folder.rewrite(place, made)
    return place.rename(place.with_name(name))


def recorded(state, bundle, count=1, **changes):
    """That many events, of days ago, as folders; the oldest first."""
    made = []
    for number in range(count):
        listen(state, bundle, *in_blocks(hum(6, 1), 6.0), *in_blocks(fault(4, number), 4.0, None))
        new = max(place for place in event.folders(state) if place not in made)
        made.append(aged(new, count - number, state="whole", **changes))
    return made


def swept(state, bundle, utc_s, after_s=0.0, clock="", wanted=None):
    """What is left once a listener of that time of day has looked, so many seconds after its start."""
    kept, journal = recordings.recording(state, bundle, wanted or settings(keep_days=90.0))
    now_s = time.monotonic()
    for at_s in (now_s, now_s + after_s):
        kept._recorder._sweep_s = float("-inf")
        list(kept.attend(Moment(at_s, utc_s + at_s - now_s, 0.0, clock)))
    kept.close()
    list(kept.attend(Moment(now_s + after_s, utc_s)))
    journal.close()
    return {place.name for place in event.folders(state)}


def test_an_event_goes_when_its_time_has_come_and_the_clock_was_right_for_an_hour(state, bundle):
    old, young = recorded(state, bundle, 2)
    kept = settings(keep_days=1.5)
    assert swept(state, bundle, time.time(), 3000.0, wanted=kept) == {old.name, young.name}
    assert swept(state, bundle, time.time(), 3601.0, wanted=kept) == {young.name}
    assert [row.id for row in Visitor(state).events(9)] == [young.name]


def test_a_clock_that_is_not_set_or_jumps_makes_nothing_old(state, bundle):
    (one,) = recorded(state, bundle)
    for clock in ("unset", "jumped"):
        assert swept(state, bundle, time.time() + 400 * DAY, 7200.0, clock) == {one.name}
    kept, journal = recordings.recording(state, bundle, settings())
    now_s = time.monotonic()
    list(kept.attend(Moment(now_s, NOW)))
    kept._recorder._sweep_s = float("-inf")
    list(kept.attend(Moment(now_s + 7200.0, NOW + 7200.0 + 400 * DAY)))  # it jumps in that moment
    kept.close()
    journal.close()
    assert one.is_dir()


def test_the_least_interesting_go_when_the_budget_is_spent_and_marked_ones_stay(state, bundle):
    first, second, third = recorded(state, bundle, 3)
    event.mark(first, True, "ann")
    event.label(second, "fault", "ann")
    size = sum(disk.standing(place)[0].bytes for place in (first, second, third)) / 3
    listen(
        state,
        bundle,
        *in_blocks(hum(6, 1)),
        *in_blocks(fault(4, 9), new=None),
        wanted=settings(budget_mb=3.3 * size / 1e6),
    )
    there = {place.name for place in event.folders(state)}
    assert {first.name, second.name} <= there and third.name not in there and len(there) == 3
    assert {row.id for row in Visitor(state).events(9)} == there


def small(monkeypatch, state, free_mb):
    """A disk of which so much is free beside the events that there are now."""
    size = free_mb * 1e6 + taken(state)
    monkeypatch.setattr(writers.Writer, "_free", lambda _: size - taken(state))


def taken(state):
    return sum(disk.standing(place)[0].bytes for place in event.folders(state))


def test_events_give_way_until_so_much_of_the_disk_is_free(state, bundle, monkeypatch):
    first, second, third = recorded(state, bundle, 3)
    event.mark(second, True, "ann")
    small(monkeypatch, state, 200.0)
    listen(state, bundle, *in_blocks(hum(6, 1)), *in_blocks(fault(4, 9), new=None), wanted=settings(free_mb=200.0))
    left = {place.name for place in event.folders(state)}
    assert second.name in left and first.name not in left and left - {second.name, third.name}


def test_a_disk_that_something_else_filled_costs_no_event(state, bundle, monkeypatch):
    places = recorded(state, bundle, 3)
    small(monkeypatch, state, 200.0 - 2 * taken(state) / 1e6)
    told = listen(state, bundle, *in_blocks(hum(6, 1)), *in_blocks(fault(4, 9), new=None), wanted=settings(free_mb=200))
    assert event.folders(state) == places
    assert ["no other may go for it" in one.words for one in told if getattr(one, "about", "") == "recorder"] == [True]


def test_what_people_labelled_goes_for_the_budget_and_never_for_free_space_of_the_disk(state, bundle, monkeypatch):
    places = recorded(state, bundle, 2)
    for one in places:
        event.label(one, "fault", "ann")
    with monkeypatch.context() as until:
        small(until, state, 200.0)
        listen(state, bundle, *in_blocks(hum(6, 1)), *in_blocks(fault(4, 9), new=None), wanted=settings(free_mb=200.0))
    assert event.folders(state) == places
    assert swept(state, bundle, time.time(), wanted=settings(budget_mb=1.5 * taken(state) / 2e6)) == {places[1].name}


def test_where_nothing_may_go_it_is_said_once_and_scoring_goes_on(state, bundle, monkeypatch):
    monkeypatch.setattr(writers.Writer, "_free", lambda _: 1e6)
    told = listen(state, bundle, *in_blocks(hum(6, 1)), *in_blocks(fault(4), new=None), wanted=settings(free_mb=200.0))
    words = [one.words for one in told if getattr(one, "about", "") == "recorder"]
    assert len(words) == 1 and "1.0 MB of the disk are free" in words[0] and "free_mb is 200" in words[0]
    assert not event.folders(state) and told[-1].windows == (10 * 16_000 - bundle.model.window) // bundle.model.hop + 1


def test_what_people_marked_may_fill_the_budget_and_that_is_said(state, bundle):
    (one,) = recorded(state, bundle)
    event.mark(one, True, "ann")
    size = disk.standing(one)[0].bytes / 1e6
    padding = one / "padding"
    padding.write_bytes(bytes(2_000_000))
    folder.rewrite(one, msgspec.structs.replace(event.read(one), bytes=2_000_000))
    told = listen(
        state, bundle, *in_blocks(hum(6, 1)), *in_blocks(fault(4, 8), new=None), wanted=settings(budget_mb=1.0)
    )
    words = [one.words for one in told if getattr(one, "about", "") == "recorder"]
    assert len(words) == 1 and "what people marked takes 2 MB, budget_mb is 1" in words[0] and size > 0.1
    assert [place.name for place in event.folders(state)] == [one.name]


def test_what_others_remove_label_or_bring_is_seen_and_nothing_else_is_read_again(state, bundle):
    first, second = recorded(state, bundle, 2)
    shelf = Shelf(state)
    assert sorted(one.row.id for one in shelf.look()) == [first.name, second.name]
    assert list(shelf.look()) == []
    event.label(first, "fault", "ann")
    assert list(shelf.look()) == []  # a row of the journal has no label
    assert {one.id: one.labelled for one in shelf.standing} == {first.name: True, second.name: False}
    folder.remove(second)
    assert list(shelf.look()) == [Removed(second.name)]
    folder.rewrite(first, msgspec.structs.replace(event.read(first), state="cut"))
    (change,) = shelf.look()
    assert isinstance(change, Written) and change.state == "cut"


def test_a_label_that_cannot_be_read_keeps_its_event(state, bundle):
    (one,) = recorded(state, bundle)
    (one / event.LABEL).write_bytes(b"")  # as after a lost supply
    assert disk.standing(one)[0].marked


def test_what_was_heard_is_not_for_every_user_of_the_computer(state, bundle):
    (one,) = recorded(state, bundle)
    for place in (one.parent, state / "normal"):
        assert place.stat().st_mode & 0o007 == 0


def test_a_disk_that_hangs_is_told_and_no_window_waits_for_it(state, bundle, monkeypatch):
    monkeypatch.setattr(writers, "HANG_S", 0.05)
    kept, journal = recordings.recording(state, bundle, settings(longest_s=10.0), wait_s=0.0)  # 20 s of memory
    hangs, writer = threading.Event(), kept._recorder._writer
    for _ in range(writers.WAITING + 1):  # one is being done, and no more may wait
        waited_for = time.monotonic() + 5.0
        while not writer.put(lambda: hangs.wait(60.0) and None):
            assert time.monotonic() < waited_for
    several = [part for seed in range(3) for part in (hum(6, seed), fault(4, seed), hum(16, seed))]
    told, sounds = [], in_blocks(np.concatenate(several), 0.5)
    one = recordings.post(bundle, recordings.Scripted(*sounds), recordings.ALARM)
    service = recordings.service([one], told.append, recording=kept)
    while not one.source.ended:
        service.turn()
    words = [said.words for said in told if getattr(said, "about", "") == "recorder"]
    assert len(words) == 1 and words[0].startswith("the disk hangs")
    assert sum(type(said).__name__ == "Window" for said in told) == (78 * 16_000 - bundle.model.window) // 4096 + 1
    assert not event.folders(state)
    hangs.set()
    service.close()
    journal.close()
    words = [said.words for said in told if getattr(said, "about", "") == "recorder"]
    assert len(words) == 3 and "is cut: the disk took too long" in words[1] and words[2] == "events are kept again"
    assert len(event.folders(state)) == 1  # the last one is still in memory
