"""What the tests of alarms share: a machine, the alarm of one threshold as it was before there were levels."""

import numpy as np

from edge_runtime.alarm import AlarmSettings, LevelSettings
from edge_runtime.scoring import Machine, Nearest

RATE = 10  # samples a second
MEDIAN, THRESHOLD = 2.0, 10.0
ABOVE, BELOW = 11.0, 3.0


def machine(threshold=THRESHOLD, scores=(1.0, 2.0, 4.0)):
    """Median normal score 2, threshold 10: a margin of 1 is 8."""
    one, spectra = np.ones(1), [np.zeros(0, np.float32)] * 4
    return Machine("fan", Nearest(), [], 0 * one, one, threshold, "made for a test", np.array(scores), *spectra)


def delays(on, off, **more):
    """Settings of one level."""
    return AlarmSettings(alarm=LevelSettings(on_delay_s=on, off_delay_s=off, **more))


def score(decision):
    return None if decision is None else ABOVE if decision else BELOW


class Former:
    """The alarm as it was before k of n, deadband and levels: what `Condition` has to do with its defaults."""

    def __init__(self, on, off, rate):
        self.state, self.since = "normal", 0
        self._delays = {"normal": round(on * rate), "alarm": round(off * rate)}
        self._last, self._began, self._held = 0, None, 0

    def update(self, at, decision):
        heard, self._last = at - self._last, at
        if decision is None:
            return self.state
        if decision == (self.state == "alarm"):
            self._began = None
            return self.state
        if self._began is None:
            self._began, self._held = at, 0
        else:
            self._held += heard
        if self._held >= self._delays[self.state]:
            self.state, self.since, self._began = "alarm" if decision else "normal", self._began, None
        return self.state
