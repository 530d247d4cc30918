"""Scores over time, figures for Prometheus; asked without a server."""

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
import time

import msgspec
import pytest

from edge_runtime.alarm.words import Kept
from edge_runtime.journal import Beat, Heard, Journal, Latency, Listened, Microphone, Moment, Spell, spells
from edge_runtime.journal.live import Live
from edge_runtime.journal.standing import standing
from edge_runtime.web import happened, health, metrics, traces
from edge_runtime.web.exchange import Asked, Refused
from edge_runtime.web.place import Place
from edge_runtime.web.routes import ROUTES
from tests.conftest import ROOT

DAY_S = 86_400.0
FAN = Listened("fan", "fan.bundle", "left", "usb:1", 12.0, 9.0, "1 % of windows", 9.984, 0.992)
LATENCY = Latency([0.01, 0.1], [90, 9, 1], 1.5)


def sign(now_s, **more):
    fields = {"score": 3.5, "threshold": 12.0, "time": Moment(0, now_s).time, "level_dbfs": -31.5, "valid_s": now_s}
    fan = Heard("fan", "normal", "normal", True, **{**fields, **more}, clipped=0.01, scored=5, unfit=2, lost=1)
    pump = Heard("pump", "normal", "normal", False, None)
    left = Microphone("left", "usb:1", True, "listening", 1.25, -30.0)
    at = Moment(0, now_s).time
    return Beat(os.getpid(), at, time.monotonic(), [fan, pump], [left], at, "1.0", "onnxruntime", "", LATENCY)


@pytest.fixture
def place(tmp_path):
    """A journal that this process listens for."""
    journal = Journal(tmp_path / "state")
    journal.listened([FAN])
    now_s = time.time()
    alarms = [Kept("fan", "anomaly", "unacknowledged", "alarm"), Kept("fan", "not_listening"), Kept("pump", "anomaly")]
    journal.beat(sign(now_s), alarms, now_s)
    yield Place(tmp_path / "state", "pump house", tmp_path / "site.yaml")
    journal.close()


@pytest.fixture
def shows(place):
    """Tells in memory how everything is, ahead of the journal."""
    live = Live(place.state)
    yield live.show
    live.close()


def minutes(place, days, now_s):
    """A spell for each minute of so many days, but for a gap of a day."""
    first = now_s // 60 * 60 - days * DAY_S
    rows = [
        Spell(
            "fan",
            first + 60 * one,
            60.0,
            58,
            1,
            1,
            one % 7 == 0,
            1.0,
            2.0 + one % 3,
            15.0 + one % 2,
            -30.0,
            {"clipped": 1},
        )
        for one in range(round(days * 1440) - 1)
        if not 5 * 1440 <= one < 6 * 1440
    ]
    with contextlib.closing(sqlite3.connect(place.state / "journal.db", isolation_level=None)) as db:
        db.execute("BEGIN")
        spells.insert(db, rows)
        db.execute("COMMIT")


def test_thirty_days_are_bounded_in_points_and_time_and_a_day_without_anybody_is_a_gap(place):
    minutes(place, 29.5, time.time())
    began = time.monotonic()
    answer = happened.scores(place, Asked("GET", "/", {}, {"machine": "fan"}, {"span": "30d"}))
    assert time.monotonic() - began < 2.0  # 43 thousand minutes; 0.1 s where nothing else runs
    steps = msgspec.json.decode(answer.body)["steps"]
    assert len(steps["mean"]) == 360 and len(answer.body) < 30_000
    counts = steps["scored"]
    assert counts[20] == 120 * 58 and steps["unfit"][20] == 120
    assert (
        steps["lowest"][20] == 1.0
        and steps["highest"][20] == 16.0
        and steps["mean"][20] == pytest.approx(3.0, abs=0.01)
    )
    day = [place for place, count in enumerate(counts) if count == 0 and 12 < place < 350]
    assert 11 <= len(day) <= 12 and all(steps["mean"][one] is None for one in day)


def test_a_day_is_made_of_minutes_and_the_hour_of_windows(place):
    now_s = time.time()
    minutes(place, 1.0, now_s)
    assert len(ask(place, "24h")["mean"]) == 288
    minute = now_s // 60 * 60 - 600.0
    windows = [1.0, 2.0, None, 14.0] * 15
    one = Spell("pump", minute, 60.0, 45, 15, 0, 15, 1.0, 5.0, 14.0, -30.0, {}, windows)
    with contextlib.closing(sqlite3.connect(place.state / "journal.db", isolation_level=None)) as db:
        spells.insert(db, [one])
        db.execute("INSERT INTO machines VALUES ('pump', ?)", [msgspec.json.encode(pump())])
    steps = ask(place, "1h", "pump")
    assert len(steps["mean"]) == 360
    assert (sum(steps["scored"]), sum(steps["unfit"]), sum(steps["above"])) == (45, 15, 15)
    assert max(score for score in steps["highest"] if score is not None) == 14.0
    with pytest.raises(Refused, match="wanted 1h, 24h, 30d"):
        ask(place, "1y")


def pump():
    return msgspec.structs.replace(FAN, machine="pump")


def ask(place, span, machine="fan"):
    answer = happened.scores(place, Asked("GET", "/", {}, {"machine": machine}, {"span": span}))
    return msgspec.json.decode(answer.body)["steps"]


def test_windows_of_a_minute_stand_where_they_were_heard():
    spell = Spell("fan", 600.0, 60.0, 3, scores=[1.0, 2.0, 3.0])
    assert [at for at, _ in traces.placed(spell, 1.0, goes_on=True, last_s=None)] == [600.0, 601.0, 602.0]
    assert [at for at, _ in traces.placed(spell, 1.0, goes_on=False, last_s=None)] == [657.0, 658.0, 659.0]  # it began
    assert [at for at, _ in traces.placed(spell, 1.0, goes_on=True, last_s=630.0)] == [
        628.0,
        629.0,
        630.0,
    ]  # it goes on


def test_lost_windows_are_counted_where_nothing_was_heard(place):
    minute = time.time() // 60 * 60 - 300.0
    one = Spell("fan", minute, 60.0, 30, 0, 30, 0, 1.0, 1.0, 1.0, None, {}, [1.0] * 30)
    with contextlib.closing(sqlite3.connect(place.state / "journal.db", isolation_level=None)) as db:
        spells.insert(db, [one])
    steps = ask(place, "1h")
    assert (sum(steps["scored"]), sum(steps["lost"])) == (30, 30)
    assert all(not (scored and lost) for scored, lost in zip(steps["scored"], steps["lost"], strict=True))


def test_alarms_are_stretches_and_one_that_began_before_is_cut():
    times = [(5.0, False), (10.0, True), (11.0, True), (20.0, False), (30.0, True)]
    assert traces.alarms(times, 1.0) == [(1.0, 5.0), (10.0, 20.0), (30.0, None)]


def figures(place):
    pytest.importorskip("prometheus_client", reason="pip install 'auscult[web]'")
    return metrics.metrics(place, Asked("GET", "/metrics", {})).body.decode()


def test_figures_are_in_base_units_and_what_is_silent_is_absent(place):
    told = figures(place)
    for line in [
        'auscult_anomaly_score{machine="fan"} 3.5',
        'auscult_windows_total{machine="fan",quality="unfit"} 2.0',
        'auscult_alarm_state{kind="anomaly",machine="fan",state="normal"} 1.0',  # memory is ahead of a full disk
        'auscult_window_latency_seconds_bucket{le="0.1"} 99.0',
        "auscult_window_latency_seconds_count 100.0",
        'auscult_capture_gap_seconds_total{microphone="left"} 1.25',
        'auscult_microphone_drift_ratio{microphone="left"} -3e-05',
        'auscult_listening{machine="pump"} 0.0',
        "auscult_listener_up 1.0",
    ]:
        assert line in told, told
    assert 'auscult_mic_level_dbfs{machine="fan"} -31.5' in told and 'dbfs{machine="pump"}' not in told
    assert 'auscult_anomaly_score{machine="pump"}' not in told


@pytest.mark.parametrize(("old_s", "listening", "told"), [(8.0, True, True), (12.0, True, False), (0.0, False, False)])
def test_of_a_machine_whose_sound_stopped_no_window_is_told(place, shows, old_s, listening, told):
    beat = sign(time.time())
    fan = msgspec.structs.replace(
        beat.machines[0], listening=listening, time=Moment(0, time.time() - old_s).time
    )  # its hop is 1 s
    shows(msgspec.structs.replace(beat, machines=[fan]))
    found = figures(place)
    for name in ("anomaly_score", "mic_level_dbfs", "clipped_samples_ratio"):
        assert (f'auscult_{name}{{machine="fan"}}' in found) is told, name
    assert f'auscult_listening{{machine="fan"}} {float(listening)}' in found


def test_a_journal_that_fails_in_the_midst_leaves_no_figure_twice(place):
    with contextlib.closing(sqlite3.connect(place.state / "journal.db", isolation_level=None)) as db:
        db.execute("DROP TABLE events")
    told = re.findall("^auscult_listener_up .*", figures(place), re.MULTILINE)
    assert told == ["auscult_listener_up 0.0"]


def test_when_nobody_listens_no_old_figure_is_told(place, tmp_path):
    gone = tmp_path / "gone"
    shutil.copytree(place.state, gone)  # nobody holds the lock of the copy
    told = figures(Place(gone, "gone"))
    assert "auscult_listener_up 0.0" in told and "auscult_anomaly_score{" not in told and "latency" not in told
    assert "auscult_last_valid_window_timestamp_seconds{" in told and "auscult_alarm_state{" in told
    assert "auscult_listener_up 0.0" in figures(Place(tmp_path / "none", "none"))


def test_promtool_finds_nothing_to_say_of_them_and_the_rules_of_the_page_hold(place, tmp_path):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool: apt install prometheus")
    done = subprocess.run([promtool, "check", "metrics"], input=figures(place), capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    rules = re.findall(r"```yaml\n(groups:.*?)```", (ROOT / "docs/page.md").read_text(), re.DOTALL)
    (tmp_path / "rules.yml").write_text(rules[0])
    done = subprocess.run([promtool, "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True)
    assert done.returncode == 0 and "SUCCESS" in done.stdout, done.stdout + done.stderr
    for name in set(re.findall(r"\bauscult_[a-z_]+", rules[0])):
        assert f"# TYPE {name.removesuffix('_bucket')} " in figures(place), name


def test_latency_is_told_as_the_bound_that_windows_stayed_below():
    told = health.quantiles(LATENCY)
    assert (told["half_s"], told["most_s"], told["windows"], told["mean_s"]) == (0.01, 0.1, 100, 0.015)
    assert health.quantiles(Latency([0.01], [0, 5], 1.0))["half_s"] is None


def test_the_page_tells_of_every_route():
    told = (ROOT / "docs/page.md").read_text()
    for route in ROUTES:
        assert f"`{route.method} {route.path}`" in told, route.path


def test_what_memory_says_counts_where_the_journal_is_behind(place):
    with place.visiting() as visitor:
        kept = {(one.machine, one.kind): one.state for one in standing(visitor, visitor.sign())}
    assert kept["fan", "anomaly"] == "normal"  # of before the disk was full: unacknowledged


def test_what_is_in_memory_alone_is_shown_once(place):
    minute = time.time() // 60 * 60
    old, new = (Spell("fan", begin, 60.0, 1, scores=[3.0], mean=3.0) for begin in (minute - 60.0, minute))
    beat = msgspec.structs.replace(sign(minute + 30.0), recent=[old, new])
    for written in ([], [old]):
        with contextlib.closing(sqlite3.connect(place.state / "journal.db", isolation_level=None)) as db:
            spells.insert(db, written)
        with place.visiting() as visitor:
            assert sum(traces.over(visitor, FAN, beat, "24h", minute + 30.0).scored) == 2
            assert sum(traces.over(visitor, FAN, beat, "1h", minute + 30.0).scored) == 2
            told = traces.live(visitor, FAN, beat, minute + 30.0)
            assert [score for score in told.scores if score is not None] == [3.0, 3.0]
