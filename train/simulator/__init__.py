"""Machines from physics: `draw_machine` gives one, `render` a clip of it, `stream` an endless sound."""

from train.simulator.conditions import draw_conditions, operating_points, stream_conditions
from train.simulator.draw import draw_machine
from train.simulator.faults import Fault, draw_fault, fault_order
from train.simulator.kinds import KINDS
from train.simulator.machine import Machine
from train.simulator.motion import RATE
from train.simulator.setting import Conditions
from train.simulator.synth import render, stream, take

__all__ = [
    "KINDS",
    "RATE",
    "Conditions",
    "Fault",
    "Machine",
    "draw_conditions",
    "draw_fault",
    "draw_machine",
    "fault_order",
    "operating_points",
    "render",
    "stream",
    "stream_conditions",
    "take",
]
