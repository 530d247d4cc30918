"""docs/alarms.md says what the code does: its table of states, its settings."""

import re
from typing import get_args

import msgspec
import msgspec.yaml
import pytest

from edge_runtime.alarm import AlarmSettings, Condition, Event, LevelSettings, State
from edge_runtime.alarm.states import TABLE
from tests.conftest import ROOT
from tests.edge_runtime.alarms import machine

PAGE = (ROOT / "docs/alarms.md").read_text()
STATES, EVENTS = get_args(State), get_args(Event)


def table():
    """The table of states as Markdown: a row an event, a column a state, in the cell the number of the next."""
    rows = [["", *(f"{number}" for number in range(1, len(STATES) + 1))], ["---"] * (len(STATES) + 1)]
    for event in EVENTS:
        after = [TABLE.get((state, event)) for state in STATES]
        rows.append([event.replace("_", " "), *("." if one is None else str(STATES.index(one) + 1) for one in after)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def test_the_table_of_the_page_is_that_of_the_code():
    assert table() in PAGE, f"put this into docs/alarms.md:\n{table()}"


def test_the_numbers_of_the_page_are_those_of_the_states():
    for number, state in enumerate(STATES, 1):
        assert f"| {number} | {state.replace('_', ' ')} |" in PAGE


def test_the_settings_that_the_page_shows_can_be_used():
    shown = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1]
    found = msgspec.yaml.decode(shown, type=dict[str, AlarmSettings])["alarm"]
    assert found.latching and (found.warning.k, found.warning.of, found.alarm.deadband) == (3, 5, 0.2)
    condition = Condition(found, machine(), 1)
    assert {name: one.above for name, one in condition._levels.items()} == {
        "alarm": 10.0,
        "warning": pytest.approx(7.6),
    }
    assert condition._levels["alarm"]._ends == pytest.approx(8.4)


@pytest.mark.parametrize("settings", [LevelSettings(), AlarmSettings()], ids=lambda one: type(one).__name__)
def test_every_setting_is_on_the_page_with_its_default(settings):
    rows = dict(re.findall(r"^\| `(\w+)`(?:, `of`)? \| ([^|]*)\|", PAGE, re.MULTILINE))
    rows["k"], rows["of"] = rows["k"].split(",")
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if name == "alarm":
            continue  # it is the level that the page begins with
        told = rows[name].strip()
        if value is None or value is False:
            assert told in ("", "none", "false"), name
        else:
            assert float(told) == value, name
