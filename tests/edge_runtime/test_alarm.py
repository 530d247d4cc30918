"""The alarm: delays in stream time, counted only where something was heard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.alarm import Alarm, AlarmSettings, Change
from edge_runtime.errors import ConfigError

RATE = 10  # samples a second
DECISIONS = st.lists(st.tuples(st.integers(1, 300), st.sampled_from([True, False, None])), max_size=60)
DELAYS = st.integers(0, 40).map(float)


def feed(alarm, steps):
    """Steps of (samples since the last one, decision) -> [(at, decision, change, state)]."""
    at, told = 0, []
    for step, decision in steps:
        at += step
        change = alarm.update(at, decision)
        told.append((at, decision, change, alarm.state))
    return told


def every_second(decisions):
    return [(RATE, decision) for decision in decisions]


def changes(settings, decisions):
    return [change for _, _, change, _ in feed(Alarm(settings, RATE), every_second(decisions)) if change]


def test_an_alarm_comes_when_the_decision_has_held_for_the_on_delay():
    assert changes(AlarmSettings(3.0, 5.0), [False, True, True, True]) == []
    assert changes(AlarmSettings(3.0, 5.0), [False, True, True, True, True]) == [Change("alarm", 50, 20)]


def test_it_is_over_when_the_decision_has_held_for_the_off_delay():
    told = changes(AlarmSettings(0.0, 2.0), [True, False, False, False, True])
    assert told == [Change("alarm", 10, 10), Change("normal", 40, 20), Change("alarm", 50, 50)]


def test_one_decision_for_the_state_starts_the_count_anew():
    assert changes(AlarmSettings(3.0, 5.0), [True, True, True, False] * 5) == []
    assert len(changes(AlarmSettings(0.0, 3.0), [True] + [False, False, False, True] * 5)) == 1


def test_a_delay_of_zero_follows_every_decision():
    assert [change.state for change in changes(AlarmSettings(0.0, 0.0), [True, True, False, True])] == [
        "alarm",
        "normal",
        "alarm",
    ]


def test_time_without_a_score_neither_counts_nor_ends_the_count():
    heard = changes(AlarmSettings(3.0, 5.0), [True, True, None, None, None, None, True, True])
    assert heard == [Change("alarm", 80, 10)]  # at 8 s: 1 s up to the pause, 2 s after it


def test_a_gap_does_not_count_but_the_sound_after_it_does():
    alarm = Alarm(AlarmSettings(12.0, 60.0), RATE)
    assert feed(alarm, [(RATE, True), (1000, None), (100, True)])[-1][3] == "normal"  # 10 s were heard
    assert alarm.update(1000 + RATE + 100 + 2 * RATE, True) == Change("alarm", 1130, 10)


@given(DECISIONS, DELAYS, DELAYS)
def test_it_does_what_a_slow_definition_says(steps, on, off):
    alarm = Alarm(AlarmSettings(on, off), RATE)
    state, told = "normal", feed(alarm, steps)
    run: list[tuple[int, int]] = []  # (at, heard) of the decisions against the state since the last one for it
    for index, (at, decision, change, after) in enumerate(told):
        heard = steps[index][0]
        expected = None
        if decision is not None:
            against = decision != (state == "alarm")
            run = [*run, (at, heard)] if against else []
            if run and sum(heard for _, heard in run[1:]) >= RATE * (on if state == "normal" else off):
                state = "alarm" if state == "normal" else "normal"
                expected, run = Change(state, at, run[0][0]), []
        assert (change, after) == (expected, state)


@given(DECISIONS, DELAYS, DELAYS)
def test_windows_without_a_score_never_change_the_state(steps, on, off):
    assert all(
        change is None
        for _, decision, change, _ in feed(Alarm(AlarmSettings(on, off), RATE), steps)
        if decision is None
    )


@given(DECISIONS, DELAYS, DELAYS)
def test_changes_alternate_and_never_come_before_their_delay(steps, on, off):
    told = [change for _, _, change, _ in feed(Alarm(AlarmSettings(on, off), RATE), steps) if change]
    assert [change.state for change in told] == ["alarm", "normal"] * (len(told) // 2) + ["alarm"] * (len(told) % 2)
    for change in told:
        assert change.at - change.since >= RATE * (on if change.state == "alarm" else off)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_delay_that_is_no_time_is_refused(value):
    with pytest.raises(ConfigError, match="off_delay_s"):
        AlarmSettings(off_delay_s=value)
