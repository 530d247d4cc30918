"""Scores, people and time of several machines together, as the loop of a listener calls them; over restarts."""

from edge_runtime.alarm import AlarmSettings, Condition, LevelSettings
from edge_runtime.journal import Beat, Journal, Moment, Request, Visitor
from edge_runtime.listening.panel import Panel, in_words
from tests.edge_runtime.alarms import ABOVE, BELOW, RATE, machine

SETTINGS = AlarmSettings(
    warning=LevelSettings(margin=0.5, on_delay_s=1.0, off_delay_s=2.0),
    alarm=LevelSettings(on_delay_s=2.0, off_delay_s=2.0),
    latching=True,
)
UTC_S = 1.8e9


class Listener:
    """A loop with one machine, a score a second, that can be asked and started again."""

    def __init__(self, folder, now_s=0.0, clock_s=0.0):
        self._journal = Journal(folder) if folder else None
        self._now_s, self._began_s, self._clock_s = now_s, now_s, clock_s
        self.panel = Panel({"fan": SETTINGS}, self._journal, self._moment)
        self._condition = Condition(SETTINGS, machine(), RATE, self.panel.status("fan").level)

    @property
    def _moment(self):
        return Moment(self._now_s, UTC_S + self._now_s + self._clock_s, self._now_s - self._began_s)

    def hear(self, *scores):
        told = []
        for score in scores:
            self._now_s += 1.0
            moment = self._moment
            level = self._condition.update(round(moment.at_s * RATE), score)
            change = self.panel.raised("fan", "anomaly", level, moment, score, "a tone")
            told += [change] if change else []
            told += self.panel.pass_time(moment)
            if self._journal is not None and self._journal.due(moment.now_s):
                self._journal.beat(Beat(1, moment.time, moment.now_s, []), self.panel.kept(moment.now_s), moment.utc_s)
        return [in_words(one).removeprefix("fan, anomaly: ") for one in told]

    def stop(self):
        self._journal.close()


def test_a_warning_becomes_an_alarm_and_latches(tmp_path):
    listener = Listener(tmp_path)
    assert listener.hear(7.0, 7.0, ABOVE, ABOVE, ABOVE, BELOW, BELOW, BELOW) == [
        "normal -> unacknowledged",
        "escalate: unacknowledged",
        "unacknowledged -> latched unacknowledged",
    ]
    history = Visitor(tmp_path).history(9)
    assert [(one.level, one.at_s, one.score, one.reason) for one in history] == [
        ("warning", 2.0, 7.0, "a tone"),
        ("alarm", 5.0, ABOVE, "a tone"),
        ("normal", 8.0, BELOW, "a tone"),
    ]
    listener.stop()


def test_a_restart_is_no_return_to_normal(tmp_path):
    first = Listener(tmp_path)
    first.hear(ABOVE, ABOVE, ABOVE)
    first.stop()
    second = Listener(tmp_path, now_s=50.0)
    assert second.hear(None, None, ABOVE, BELOW, BELOW) == []
    assert second.panel.status("fan").state == "unacknowledged"
    assert second.hear(BELOW) == ["unacknowledged -> latched unacknowledged"]
    second.stop()
    third = Listener(tmp_path)
    assert third.panel.status("fan").state == "latched_unacknowledged"
    third.stop()


def test_a_wall_clock_that_is_set_back_a_year_changes_no_decision_and_prolongs_no_shelf(tmp_path):
    first = Listener(tmp_path)
    first.hear(ABOVE, ABOVE, ABOVE)
    first.panel._serve(Request("shelve", "fan", "anomaly", "ann", "", 60.0), first._moment, first._journal)
    first.hear(*[None] * 58)  # the last sign of life after 61 s: 2 were left
    first.stop()
    second = Listener(tmp_path, now_s=1000.0, clock_s=-365 * 86_400.0)
    assert second.hear(None) == []
    assert second.hear(None) == ["shelved -> unacknowledged"]
    second.stop()


def test_without_a_journal_alarms_work_and_nothing_is_kept():
    assert Listener(None).hear(ABOVE, ABOVE, ABOVE) == ["normal -> unacknowledged", "escalate: unacknowledged"]


def test_a_machine_of_before_is_kept_for_when_it_comes_back(tmp_path):
    journal = Journal(tmp_path)
    Panel({"mill": AlarmSettings()}, journal, Moment(0.0, UTC_S)).raised("mill", "anomaly", "alarm", Moment(0.0, UTC_S))
    journal.close()
    listener = Listener(tmp_path)
    listener.hear(BELOW)
    assert [status.machine for status in listener.panel.statuses] == ["fan", "fan"]
    listener.stop()
    journal = Journal(tmp_path)
    panel = Panel({"mill": AlarmSettings()}, journal, Moment(0.0, UTC_S))
    assert panel.status("mill").state == "unacknowledged"
    journal.close()
