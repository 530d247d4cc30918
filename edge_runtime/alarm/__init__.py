"""Scores -> what people see: `Condition` (k of n, delays, levels), then `Alarm` (the states of ISA-18.2)."""

from edge_runtime.alarm.condition import Condition
from edge_runtime.alarm.settings import AlarmSettings, LevelSettings
from edge_runtime.alarm.states import Alarm
from edge_runtime.alarm.words import ITSELF, Action, Change, Event, Kept, Kind, Level, State, Status

__all__ = [
    "ITSELF",
    "Action",
    "Alarm",
    "AlarmSettings",
    "Change",
    "Condition",
    "Event",
    "Kept",
    "Kind",
    "Level",
    "LevelSettings",
    "State",
    "Status",
]
