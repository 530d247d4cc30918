"""Scores in the journal: a row for each machine and minute, thinner with age, nothing unaccounted for."""

import sqlite3

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.journal import Spell, Visitor, schema, spells
from edge_runtime.journal.spells import DAY_S, HOUR_S, MINUTE_S, Spells
from tests.edge_runtime.journals import BEAT

T = 1.8e9 // HOUR_S * HOUR_S  # UTC, on a full hour


@pytest.fixture
def db(tmp_path):
    opened = schema.connect(tmp_path / "journal.db")
    yield opened
    opened.close()


def minute(begin_s, score=1.0, machine="fan", windows=60):
    return Spell(
        machine, begin_s, MINUTE_S, windows, 1, 2, 3, score - 1, score, score + 1, -30.0, {"gain": 1}, [score, None]
    )


def test_the_windows_of_a_minute_are_one_spell_with_every_score():
    open_ones = Spells()
    over = [
        *open_ones.add("fan", T + 1, 2.0, False, -40.0, ["gain"]),
        *open_ones.add("fan", T + 2, 4.0, True, -20.0, ["gain", "offset"]),
        *open_ones.add("pump", T + 2, 9.0, False, None),
        *open_ones.add("fan", T + 3, None, None, None, ["silence"]),
        *open_ones.lost("fan", T + 4, 5),
    ]
    assert over == [] and len(open_ones.recent) == 2
    (fan,) = open_ones.add("fan", T + 60, 1.0, False, -30.0)
    assert fan == Spell(
        "fan", T, 60.0, 2, 1, 5, 1, 2.0, 3.0, 4.0, -30.0, {"gain": 2, "offset": 1, "silence": 1}, [2.0, 4.0, None]
    )
    assert [one.machine for one in open_ones.over(T + 61)] == ["pump"]
    assert [one.scores for one in open_ones.rest()] == [[1.0]] and open_ones.rest() == []


def test_a_clock_that_is_set_back_ends_the_spell_and_loses_no_window():
    open_ones = Spells()
    list(open_ones.add("fan", T + 30, 1.0))
    (before,) = open_ones.add("fan", T - 365 * DAY_S, 2.0)
    assert (before.begin_s, before.scores) == (T, [1.0])
    assert open_ones.over(T)[0].scores == [2.0]


def test_spells_come_back_as_they_went(db):
    one = minute(T)
    spells.insert(db, [one, minute(T, machine="pump")])
    assert spells.select(db, "fan", T, T + 60) == [one]
    assert spells.select(db, "fan", T + 60, T + 120) == [] and spells.select(db, "fan", T + 59, T + 59) == [one]


def test_after_two_days_a_minute_keeps_no_single_score_and_after_thirty_it_is_part_of_an_hour(db):
    now = T + 40 * DAY_S
    old = [minute(T + 60 * number, float(number)) for number in range(60)]
    young = [minute(now - 3 * DAY_S), minute(now - DAY_S)]
    spells.insert(db, [*old, *young])
    spells.thin(db, now)
    hour, three_days, one_day = spells.select(db, "fan", 0.0, now)
    assert (hour.begin_s, hour.span_s, hour.scored, hour.unfit, hour.lost, hour.above) == (T, 3600, 3600, 60, 120, 180)
    assert (hour.lowest, hour.mean, hour.highest, hour.scores) == (-1.0, 29.5, 60.0, [])
    assert hour.level_dbfs == pytest.approx(-30.0) and hour.faults == {"gain": 60}
    assert three_days == msgspec.structs.replace(young[0], scores=[])
    assert one_day == young[1]
    spells.thin(db, now)  # nothing is counted twice
    assert spells.select(db, "fan", 0.0, now) == [hour, three_days, one_day]


def test_an_hour_of_five_years_ago_goes(db):
    spells.insert(db, [msgspec.structs.replace(minute(T), span_s=HOUR_S)])
    spells.thin(db, T + 5 * 365 * DAY_S - 1)
    assert len(spells.select(db, "fan", 0.0, T + 1)) == 1
    spells.thin(db, T + 5 * 365 * DAY_S + 1)
    assert spells.select(db, "fan", 0.0, T + 1) == []


@given(st.lists(st.tuples(st.integers(0, 4 * 3600), st.sampled_from(["fan", "pump"])), max_size=60))
@settings(max_examples=50, deadline=None)
def test_thinning_keeps_every_window_accounted_for(made):
    db = sqlite3.connect(":memory:", isolation_level=None)
    schema.migrate(db)
    spells.insert(db, [minute(T + at // 60 * 60, 1.0, machine) for at, machine in made])
    for _ in range(3):
        spells.thin(db, T + 31 * DAY_S)
    for machine in ("fan", "pump"):
        found = spells.select(db, machine, 0.0, T + DAY_S)
        many = sum(name == machine for _, name in made)
        assert sum(one.scored + one.unfit + one.lost for one in found) == 63 * many
        assert {one.span_s for one in found} <= {HOUR_S}
    db.close()


def test_a_day_of_a_machine_takes_less_than_a_megabyte_and_a_month_less_than_ten(tmp_path):
    db = schema.connect(tmp_path / "journal.db")
    day = [msgspec.structs.replace(minute(T + 60 * each), scores=[1.0] * 60) for each in range(1440)]
    assert grown(db, tmp_path, day) < 1e6
    month = [
        msgspec.structs.replace(one, begin_s=one.begin_s - before * DAY_S, scores=[])
        for before in range(1, 30)
        for one in day
    ]
    assert grown(db, tmp_path, month) < 1e7
    db.close()


def grown(db, folder, more):
    """Bytes of the file with those spells in it."""
    db.execute("BEGIN")
    spells.insert(db, more)
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return (folder / "journal.db").stat().st_size


def test_what_has_grown_old_is_thinned_by_a_clock_that_was_right_for_an_hour(open_journal, tmp_path):
    opened = open_journal(tmp_path)
    opened.spells([minute(T), minute(T + 60)])
    ahead = T + 6 * 365 * DAY_S  # as of a wrong clock, which nobody knows to be wrong

    def spans(after_s, utc_s, clock=""):
        opened.beat(msgspec.structs.replace(BEAT, monotonic_s=BEAT.monotonic_s + after_s, clock=clock), [], utc_s)
        return [one.span_s for one in Visitor(tmp_path).scores("fan", 0.0, T + DAY_S)]

    assert spans(0.0, ahead) == spans(3540.0, ahead + 3540.0) == [60.0, 60.0]
    right = T + 40 * DAY_S - 3600.0
    assert spans(3600.0, right + 3600.0) == [60.0, 60.0]  # it jumps in that moment
    assert spans(7140.0, right + 7140.0) == [60.0, 60.0]
    assert spans(7140.0, right + 7140.0, "unset") == spans(10_680.0, right + 10_680.0) == [60.0, 60.0]
    assert spans(10_740.0, right + 10_740.0) == [HOUR_S]


def test_a_little_with_each_minute_keeps_up_with_many_machines(db):
    machines = [f"fan {number}" for number in range(100)]
    spells.insert(db, [minute(T + 60 * each, machine=name) for each in range(0, 60, 6) for name in machines])
    db.execute("BEGIN")
    for beat in range(60):
        before = db.total_changes
        spells.thin(db, T + 30 * DAY_S + HOUR_S + 60 * beat)
        assert db.total_changes - before <= 2 * spells.ROWS
    db.execute("COMMIT")
    assert db.execute("SELECT DISTINCT span_s, scores FROM spells").fetchall() == [(HOUR_S, b"")]


@pytest.mark.parametrize(
    ("statement", "index"),
    [(spells.SHORTER, "spells_whole"), (spells.GONE, "spells_age"), (spells.OLDEST, "spells_age")],
)
def test_what_is_looked_for_each_minute_is_found_by_an_index(db, statement, index):
    plan = " ".join(step for *_, step in db.execute(f"EXPLAIN QUERY PLAN {statement}", (T,)))
    assert f"INDEX {index}" in plan and "begin_s<?" in plan and "SCAN" not in plan and "B-TREE" not in plan
