"""The condition: k of n, delays counted only where something was heard, deadband, two levels."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.alarm import AlarmSettings, Condition, LevelSettings
from edge_runtime.errors import ConfigError
from tests.edge_runtime.alarms import ABOVE, BELOW, RATE, Former, delays, machine, score

DECISIONS = st.lists(st.tuples(st.integers(1, 300), st.sampled_from([True, False, None])), max_size=60)
DELAYS = st.integers(0, 40).map(float)
AT_ONCE = LevelSettings(on_delay_s=0.0, off_delay_s=0.0)


def heard(condition, scores):
    """One score a second -> [(level, at, since)] of every change."""
    told = []
    for second, one in enumerate(scores, 1):
        before = condition.level
        if condition.update(second * RATE, one) != before:
            told.append((condition.level, second * RATE, condition.since))
    return told


def changes(settings, decisions):
    return heard(Condition(settings, machine(), RATE), [score(decision) for decision in decisions])


def levels(condition, scores):
    return [condition.update(condition._last + RATE, one) for one in scores]


def test_an_alarm_comes_when_the_decision_has_held_for_the_on_delay():
    assert changes(delays(3.0, 5.0), [False, True, True, True]) == []
    assert changes(delays(3.0, 5.0), [False, True, True, True, True]) == [("alarm", 50, 20)]


def test_it_is_over_when_the_decision_has_held_for_the_off_delay():
    told = changes(delays(0.0, 2.0), [True, False, False, False, True])
    assert told == [("alarm", 10, 10), ("normal", 40, 20), ("alarm", 50, 50)]


def test_one_decision_for_the_level_starts_the_count_anew():
    assert changes(delays(3.0, 5.0), [True, True, True, False] * 5) == []
    assert len(changes(delays(0.0, 3.0), [True] + [False, False, False, True] * 5)) == 1


def test_time_without_a_score_neither_counts_nor_ends_the_count():
    told = changes(delays(3.0, 5.0), [True, True, None, None, None, None, True, True])
    assert told == [("alarm", 80, 10)]  # at 8 s: 1 s up to the pause, 2 s after it


def test_a_gap_does_not_count_but_the_sound_after_it_does():
    condition = Condition(delays(12.0, 60.0), machine(), RATE)
    for at, one in ((RATE, ABOVE), (RATE + 1000, None), (RATE + 1100, ABOVE)):
        assert condition.update(at, one) == "normal"  # 10 s were heard
    assert condition.update(RATE + 1100 + 2 * RATE, ABOVE) == "alarm" and condition.since == RATE


@given(DECISIONS, DELAYS, DELAYS)
def test_with_its_defaults_it_does_what_the_alarm_of_one_threshold_did(steps, on, off):
    condition, former, at = Condition(delays(on, off), machine(), RATE), Former(on, off, RATE), 0
    for step, decision in steps:
        at += step
        assert condition.update(at, score(decision)) == former.update(at, decision)
        assert condition.since == former.since


@given(DECISIONS, DELAYS, DELAYS)
def test_it_does_what_a_slow_definition_says(steps, on, off):
    condition, at, level = Condition(delays(on, off), machine(), RATE), 0, "normal"
    run: list[tuple[int, int]] = []  # (at, heard) of the decisions against the level since the last one for it
    for step, decision in steps:
        at += step
        if decision is not None:
            against = decision != (level == "alarm")
            run = [*run, (at, step)] if against else []
            if run and sum(heard for _, heard in run[1:]) >= RATE * (on if level == "normal" else off):
                level, run = "alarm" if level == "normal" else "normal", []
        assert condition.update(at, score(decision)) == level


@given(
    st.lists(st.sampled_from([None, 0.0, 6.0, 9.0, 10.0, 11.0]), max_size=60),
    st.integers(1, 4),
    st.integers(1, 6),
    st.booleans(),
)
def test_k_of_n_counts_the_last_scored_windows_and_leaves_unheard_ones_open(scores, k, of, deadband):
    """Without delays: above k of the last n begins it; what ends it is n - k + 1 known to be below."""
    k, below = min(k, of), 8.0 if deadband else 10.0  # a deadband of a quarter of the margin (8) is 2
    one = LevelSettings(k=k, of=of, on_delay_s=0.0, off_delay_s=0.0, deadband=0.25 if deadband else 0.0)
    condition, level, known = Condition(AlarmSettings(alarm=one), machine(), RATE), "normal", []
    for second, value in enumerate(scores, 1):
        if value is not None:
            known = [*known, value][-of:]
            if level == "normal":
                level = "alarm" if len([v for v in known if v > 10.0]) >= k else "normal"
            else:
                level = "normal" if len([v for v in known if v <= below]) > of - k else "alarm"
        assert condition.update(second * RATE, value) == level


def test_three_of_five_windows_need_not_be_neighbours():
    one = LevelSettings(k=3, of=5, on_delay_s=0.0, off_delay_s=0.0)
    told = changes(AlarmSettings(alarm=one), [True, False, True, None, False, True, False, False, False])
    assert told == [("alarm", 60, 60), ("normal", 70, 70)]


def test_a_score_that_hovers_at_the_threshold_ends_nothing_within_the_deadband():
    hovering = [11.0, 9.5, 11.0, 9.5, 8.5, 9.5, 11.0]
    without = Condition(AlarmSettings(alarm=AT_ONCE), machine(), RATE)
    within = Condition(delays(0.0, 0.0, deadband=0.2), machine(), RATE)  # 1.6 below 10
    assert len(heard(without, hovering)) == 5
    assert heard(within, [*hovering, 8.3]) == [("alarm", 10, 10), ("normal", 80, 80)]


def test_the_highest_active_level_is_told():
    settings = AlarmSettings(
        warning=LevelSettings(margin=0.5, on_delay_s=1.0, off_delay_s=1.0),  # 6
        alarm=LevelSettings(on_delay_s=2.0, off_delay_s=1.0),
    )
    scores = [7.0, 7.0, 11.0, 11.0, 11.0, 7.0, 7.0, 3.0, 3.0]
    assert heard(Condition(settings, machine(), RATE), scores) == [
        ("warning", 20, 10),
        ("alarm", 50, 30),
        ("warning", 70, 60),  # since: what ended the alarm
        ("normal", 90, 80),
    ]


def test_a_margin_of_one_is_the_machines_threshold_to_the_bit():
    third = np.float32(1 / 3)
    condition = Condition(AlarmSettings(alarm=AT_ONCE), machine(float(third), (third / 7,)), RATE)
    assert levels(condition, [float(third), np.nextafter(float(third), 1.0)]) == ["normal", "alarm"]


def test_margins_are_distances_from_the_median_normal_score():
    condition = Condition(delays(0.0, 0.0, margin=1.5), machine(), RATE)
    assert levels(condition, [14.0, 14.1]) == ["normal", "alarm"]
    condition = Condition(delays(0.0, 0.0, threshold=-3.0), machine(), RATE)
    assert levels(condition, [-3.0, -2.9]) == ["normal", "alarm"]


def test_a_score_that_is_no_number_is_no_score():
    condition = Condition(delays(0.0, 0.0), machine(), RATE)
    assert levels(condition, [ABOVE, float("nan"), None, BELOW]) == ["alarm", "alarm", "alarm", "normal"]


def test_forgetting_begins_the_counts_anew_and_keeps_an_active_level():
    condition = Condition(delays(2.0, 2.0, k=2, of=3), machine(), RATE)
    assert levels(condition, [ABOVE] * 3) == ["normal"] * 3
    condition.forget()
    assert levels(condition, [ABOVE] * 4) == ["normal", "normal", "normal", "alarm"]
    condition.forget()
    assert condition.level == "alarm" and levels(condition, [BELOW] * 4) == ["alarm", "alarm", "alarm", "normal"]


def test_after_a_restart_the_level_of_before_has_to_be_heard_to_end():
    condition = Condition(delays(1.0, 2.0), machine(), RATE, level="alarm")
    assert levels(condition, [None, None, BELOW, BELOW, BELOW]) == ["alarm"] * 4 + ["normal"]


def test_a_level_that_no_setting_gives_any_more_ends_with_the_first_score():
    condition = Condition(delays(1.0, 2.0), machine(), RATE, level="warning")
    assert levels(condition, [None, BELOW]) == ["warning", "normal"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"off_delay_s": -1.0}, "off_delay_s -1.0: a delay"),
        ({"on_delay_s": float("nan")}, "on_delay_s nan"),
        ({"on_delay_s": float("inf")}, "on_delay_s inf"),
        ({"k": 3, "of": 2}, "k 3: k of so many windows"),
        ({"k": 0}, "k 0"),
        ({"of": 0}, "of 0"),
        ({"of": 10**9}, "of 1000000000"),
        ({"margin": 0.0}, "margin 0.0"),
        ({"margin": -2.0}, "margin -2.0"),
        ({"margin": float("nan")}, "margin nan"),
        ({"threshold": float("nan")}, "threshold nan"),
        ({"threshold": 3.0, "margin": 2.0}, "give one of them"),
        ({"deadband": -0.1}, "deadband -0.1"),
        ({"deadband": 1.0}, "deadband 1.0: wanted less than the margin"),
    ],
)
def test_a_level_that_is_nonsense_is_refused_and_the_decoder_says_where(settings, words):
    with pytest.raises(ConfigError, match=words) as refused:
        LevelSettings(**settings)
    assert "\n" not in str(refused.value)
    if not any(value != value or value == float("inf") for value in settings.values()):  # JSON has no such numbers
        with pytest.raises(msgspec.ValidationError, match=r"at `\$.alarm`"):
            msgspec.json.decode(msgspec.json.encode({"alarm": settings}), type=AlarmSettings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"warning": LevelSettings(margin=1.1)}, "warning above alarm"),
        ({"warning": LevelSettings(threshold=2.0), "alarm": LevelSettings(threshold=1.0)}, "thresholds 2.0 and 1.0"),
        ({"not_listening_s": 0.0}, "not_listening_s 0.0"),
        ({"not_listening_s": float("nan")}, "not_listening_s nan"),
        ({"longest_shelve_s": 1e9}, "longest_shelve_s"),
    ],
)
def test_settings_that_are_nonsense_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        AlarmSettings(**settings)


def test_what_only_the_machine_shows_to_be_nonsense_is_refused_with_its_name():
    with pytest.raises(ConfigError, match=r"fan: warning at 10\.5, above alarm at 10"):
        Condition(AlarmSettings(warning=LevelSettings(threshold=10.5)), machine(), RATE)
    for odd in (machine(1.0), machine(scores=()), machine(float("inf"))):
        Condition(AlarmSettings(), odd, RATE)  # the machine's own threshold asks for no unit
        with pytest.raises(ConfigError, match="fan: margin"):
            Condition(delays(0.0, 0.0, margin=2.0), odd, RATE)
        with pytest.raises(ConfigError, match="fan: deadband"):
            Condition(delays(0.0, 0.0, deadband=0.1), odd, RATE)
