"""Alarms as outputs are told of them."""

import time

from edge_runtime.alarm import Change, Status
from edge_runtime.outputs import Told


def status(state="normal", level=None, kind="anomaly", machine="fan", silenced=False):
    """How one alarm stands; in "normal" and after a return its level is "normal", else "alarm"."""
    calm = state in ("normal", "returned_unacknowledged")
    return Status(machine, kind, state, level or ("normal" if calm else "alarm"), silenced)


def told(state="unacknowledged", level=None, cause="raise", kind="anomaly", machine="fan", score=3.5, reason="hiss"):
    level = level or ("normal" if cause == "return" else "alarm")
    change = Change(machine, kind, "normal", state, level, cause, "auscult", "above the threshold")
    return Told(change, 12.0, "2026-01-01T00:00:12+00:00", score, reason)


def until(true, seconds=10.0):
    """Wait for something; the time that it took, in seconds."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "it does not happen"
        time.sleep(0.01)
    return time.monotonic() - began


def said(output, words, seconds=10.0):
    """Every line that the output says until one has those words."""
    lines = []

    def found():
        lines.extend(output.failures())
        return any(words in line for line in lines)

    until(found, seconds)
    return lines
