"""The states of ISA-18.2: the table walked whole, and random lives of one alarm against what must always hold."""

from itertools import product
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.alarm import ITSELF, Action, Alarm, AlarmSettings, Change, Event, Kept, Level, State
from edge_runtime.alarm.states import CONDITIONS, LEAVES, NOTHING, REFUSED, TABLE
from edge_runtime.alarm.words import ACTIVE, HIDDEN

STATES, EVENTS, ACTIONS, LEVELS = (get_args(words) for words in (State, Event, Action, Level))
PLAIN, LATCHING = AlarmSettings(), AlarmSettings(latching=True)
HOURS = 3600.0
TO = {  # the shortest way to every state of an alarm that latches; a level or an action each
    "normal": [],
    "unacknowledged": ["alarm"],
    "acknowledged": ["alarm", "acknowledge"],
    "latched_unacknowledged": ["alarm", "normal"],
    "latched_acknowledged": ["alarm", "normal", "acknowledge"],
    "returned_unacknowledged": ["alarm", "normal", "reset"],
    "shelved": ["shelve"],
    "out_of_service": ["out_of_service"],
}


def do(alarm, step, now_s=0.0, why=""):
    if step in LEVELS:
        return alarm.raised(step, why)
    return alarm.apply(step, "ann", why, now_s, 1e9 + now_s, 8 * HOURS if step == "shelve" else None)


def made(steps, given=LATCHING, kind="anomaly"):
    alarm = Alarm("fan", kind, given)
    for step in steps:
        assert not isinstance(do(alarm, step), str), (steps, step)
    return alarm


# The table


def test_no_event_leads_out_of_the_table():
    assert {state for state, _ in TABLE} == set(TABLE.values()) == set(STATES)
    assert {event for _, event in TABLE} == set(EVENTS)


def test_from_every_state_there_is_a_way_back_to_normal_and_to_every_other():
    for start in STATES:
        seen, edge = {start}, [start]
        while edge:
            edge = [TABLE[s, e] for s, e in TABLE if s in edge and TABLE[s, e] not in seen]
            seen |= set(edge)
        assert seen == set(STATES)


def test_the_condition_is_answered_in_every_state_where_it_can_change():
    for state in STATES:
        there = state in ACTIVE
        can = set(CONDITIONS) if state in HIDDEN else {e for e in CONDITIONS if (e == "raise") != there}
        assert {event for event in CONDITIONS if (state, event) in TABLE} == can


def test_only_an_acknowledge_leads_to_acknowledged():
    ways = {event for (state, event), after in TABLE.items() if after == "acknowledged" and state != after}
    assert ways == {"acknowledge"}


@pytest.mark.parametrize(("state", "action"), list(product(STATES, ACTIONS)))
def test_every_action_in_every_state_is_a_change_or_refused_in_words(state, action):
    alarm = made(TO[state])
    assert alarm.status.state == state
    kept, change = alarm.kept(0.0), do(alarm, action, why="a reason")
    if isinstance(change, str):
        assert alarm.kept(0.0) == kept and "\n" not in change and state.replace("_", " ") in change
        assert change.endswith(REFUSED.get((state, action), NOTHING[action]))
        assert (state, action) not in TABLE and LEAVES.get(action) != state
        return
    event = {"unshelve": "resume_clear", "in_service": "resume_clear"}.get(action, action)
    assert change == Change("fan", "anomaly", state, TABLE[state, event], kept.level, action, "ann", "a reason")
    assert alarm.status.state == change.state


def test_words_for_refusals_are_for_what_is_refused():
    assert [key for key in REFUSED if key in TABLE or LEAVES.get(key[1]) == key[0]] == []


@pytest.mark.parametrize(("state", "latching", "level"), list(product(STATES, [False, True], LEVELS)))
def test_every_level_in_every_state_is_a_change_or_nothing_new(state, latching, level):
    alarm = made(TO[state], LATCHING)
    alarm._latching = latching
    before = alarm.kept(0.0)
    change = alarm.raised(level, "11 dB above")
    assert (change is None) == (level == before.level)
    if change is not None:
        assert (change.who, change.why, change.level) == (ITSELF, "11 dB above", level)
        assert change.state in (state, TABLE.get((state, "raise")), TABLE.get((state, "latch")), "unacknowledged")


# What the states mean


@pytest.mark.parametrize(
    ("latching", "steps", "end"),
    [
        (False, ["alarm", "normal", "acknowledge"], "normal"),
        (False, ["alarm", "acknowledge", "normal"], "normal"),
        (False, ["alarm", "normal"], "returned_unacknowledged"),
        (False, ["alarm", "normal", "alarm"], "unacknowledged"),
        (False, ["warning", "acknowledge", "alarm"], "unacknowledged"),  # worse: somebody has to look again
        (False, ["alarm", "acknowledge", "warning"], "acknowledged"),
        (True, ["alarm", "acknowledge", "normal"], "latched_acknowledged"),
        (True, ["alarm", "acknowledge", "normal", "reset"], "normal"),
        (True, ["alarm", "normal", "reset", "acknowledge"], "normal"),
        (True, ["alarm", "normal", "acknowledge", "reset"], "normal"),
        (True, ["alarm", "normal", "acknowledge", "alarm"], "unacknowledged"),
        (False, ["alarm", "shelve", "unshelve"], "unacknowledged"),
        (False, ["alarm", "acknowledge", "shelve", "unshelve"], "unacknowledged"),
        (False, ["alarm", "shelve", "normal", "unshelve"], "normal"),
        (False, ["shelve", "alarm", "unshelve"], "unacknowledged"),
        (True, ["alarm", "normal", "shelve", "unshelve"], "latched_unacknowledged"),
        (True, ["alarm", "normal", "acknowledge", "shelve", "unshelve"], "latched_unacknowledged"),
        (True, ["shelve", "alarm", "normal", "unshelve"], "latched_unacknowledged"),
        (True, ["alarm", "out_of_service", "normal", "in_service"], "latched_unacknowledged"),
        (True, ["alarm", "normal", "reset", "shelve", "unshelve"], "normal"),
        (True, ["shelve", "out_of_service", "in_service"], "normal"),
    ],
)
def test_examples(latching, steps, end):
    assert made(steps, LATCHING if latching else PLAIN).status.state == end


def test_a_missing_microphone_never_latches():
    assert made(["alarm", "acknowledge", "normal"], LATCHING, "not_listening").status.state == "normal"


def test_a_reset_while_the_machine_sounds_abnormal_is_refused_and_says_why():
    alarm = made(["alarm", "acknowledge"])
    assert do(alarm, "reset") == "fan, anomaly: acknowledged: what raised it goes on; reset it when that is over"


def test_silence_holds_until_the_next_raise_escalation_or_unshelving_and_changes_no_state():
    alarm = made(["warning", "silence"])
    assert alarm.status.silenced and alarm.status.state == "unacknowledged"
    for step, silenced in [
        ("acknowledge", True),
        ("alarm", False),
        ("silence", True),
        ("warning", True),
        ("normal", True),
        ("alarm", False),
        ("silence", True),
        ("shelve", True),
        ("unshelve", False),
    ]:
        do(alarm, step)
        assert alarm.status.silenced == silenced, step


@pytest.mark.parametrize("who", ["", "  ", ITSELF])
def test_nobody_does_nothing(who):
    alarm = made(["alarm"])
    assert "is not a person" in alarm.apply("acknowledge", who)
    assert alarm.status.state == "unacknowledged"


@pytest.mark.parametrize("seconds", [None, 0.0, -1.0, 8 * HOURS + 1, float("nan"), float("inf")])
def test_a_shelf_without_an_end_that_may_be_is_refused(seconds):
    alarm = made(["alarm"])
    assert "at most 480 (longest_shelve_s)" in alarm.apply("shelve", "ann", "noise", 0.0, 0.0, seconds)
    assert alarm.status.state == "unacknowledged"


# The end of a shelf


def shelved(seconds=8 * HOURS, now_s=1000.0, utc_s=1e9):
    alarm = made(["alarm"])
    alarm.apply("shelve", "ann", "", now_s, utc_s, seconds)
    return alarm


def test_a_shelf_ends_by_the_clock_that_nobody_sets():
    alarm = shelved(60.0)
    assert alarm.tick(1059.9) is None and alarm.status.state == "shelved"
    assert alarm.tick(1060.0) == Change("fan", "anomaly", "shelved", "unacknowledged", "alarm", "expire", ITSELF, "")
    assert alarm.tick(2000.0) is None


def test_shelving_again_replaces_the_end():
    alarm = shelved(60.0)
    alarm.apply("shelve", "bob", "", 1050.0, 1e9, 30.0)
    assert alarm.tick(1079.0) is None and alarm.tick(1080.0).cause == "expire"


@pytest.mark.parametrize(
    ("off_s", "clock_s", "left"),
    [
        (0.0, 0.0, 7 * HOURS),  # restarted at once
        (2 * HOURS, 2 * HOURS, 5 * HOURS),  # the time without power counts
        (2 * HOURS, -365 * 24 * HOURS, 7 * HOURS),  # the clock is a year behind: no longer than it was
        (2 * HOURS, 9 * HOURS, 0.0),  # ahead: it ends, the alarm is seen
        (0.0, -1e9, 7 * HOURS),  # 1970
    ],
)
def test_after_a_restart_a_shelf_is_never_longer_than_it_was(off_s, clock_s, left):
    kept = shelved().kept(1000.0 + HOURS)  # one of eight hours is over; the next boot counts seconds from 0
    alarm = Alarm("fan", "anomaly", PLAIN)
    alarm.restore(kept, 5.0, 1e9 + HOURS + clock_s)
    assert alarm.kept(5.0).shelf_left_s == pytest.approx(left)
    assert left == 0.0 or alarm.tick(5.0 + left - 0.1) is None
    assert alarm.tick(5.0 + left).cause == "expire"


@pytest.mark.parametrize(
    "odd",
    [
        {"state": "normal", "level": "alarm"},
        {"state": "acknowledged"},
        {"state": "latched_acknowledged"},
        {"state": "shelved"},
        {"state": "shelved", "shelf_left_s": float("nan"), "shelf_until": 0.0},
        {"shelf_left_s": 3.0, "shelf_until": 3.0},
    ],
)
def test_what_cannot_be_is_not_restored(odd):
    with pytest.raises(ValueError, match=r"normal|acknowledged|shelved"):
        Kept("fan", "anomaly", **odd)


# Random lives

STEP = st.one_of(st.sampled_from(LEVELS), st.sampled_from(ACTIONS), st.just("time"))
LIFE = st.lists(st.tuples(STEP, st.floats(0.0, 5 * HOURS)), max_size=60)


def lived(alarm, step, amount, now_s):
    """One step -> the change, if any."""
    if step == "time":
        return alarm.tick(now_s)
    if step == "shelve":
        return alarm.apply("shelve", "ann", "", now_s, 1e9 + now_s, amount)
    return do(alarm, step, now_s)


@settings(max_examples=300)
@given(LIFE, st.booleans(), st.booleans())
def test_whatever_happens(life, latching, restarted):
    """The invariants, and that an alarm that is restored before every step lives the same life."""
    given_ = LATCHING if latching else PLAIN
    alarm, twin = Alarm("fan", "anomaly", given_), Alarm("fan", "anomaly", given_)
    now_s, latched, shelf_ends = 0.0, False, None
    for step, amount in life:
        now_s += amount if step == "time" else 1.0
        before = alarm.kept(now_s)
        if restarted:
            stored = msgspec.json.decode(msgspec.json.encode(twin.kept(now_s)), type=Kept)
            twin = Alarm("fan", "anomaly", given_)
            twin.restore(stored, now_s, 1e9 + now_s)
        change = lived(alarm, step, amount, now_s)
        after = alarm.kept(now_s)
        again = lived(twin, step, amount, now_s)
        assert change == again and alarm.status == twin.status

        if isinstance(change, str):
            assert after == before and step in ACTIONS
            continue
        assert (after.state, after.level) == (
            (before.state, before.level) if change is None else (change.state, change.level)
        )
        assert change is None or (change.before, change.who) == (before.state, "ann" if step in ACTIONS else ITSELF)
        if after.state != before.state:
            assert change is not None
        if after.state == "acknowledged" and before.state != "acknowledged":
            assert step == "acknowledge"

        latched = (latched or (latching and after.level != "normal")) and step != "reset"
        if latched and after.level == "normal":
            assert after.state in ("latched_unacknowledged", "latched_acknowledged", *HIDDEN)
        assert after.latched == latched

        if after.state == "shelved":
            shelf_ends = now_s + amount if step == "shelve" else shelf_ends
            assert now_s <= shelf_ends if step == "time" else shelf_ends is not None
            assert after.shelf_left_s <= 8 * HOURS
        Kept(**msgspec.structs.asdict(after))
    alarm.tick(now_s + 8 * HOURS)
    assert alarm.status.state != "shelved"
