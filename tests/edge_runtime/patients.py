"""Who the doctor is shown: a site with a microphone that plays what a test wants."""

import numpy as np

from edge_runtime.capture import Block, Change, MicrophoneSettings
from edge_runtime.doctor.patient import Patient
from edge_runtime.errors import DeviceError
from edge_runtime.site_file import MachineSettings, Site

FAN = "fan_section_00"


class Playing:
    """A microphone that plays what a test wants, and is then absent."""

    name, ended = "usb:0d8c:0014", False

    def __init__(self, sound=None, lost=0, reason=""):
        self._blocks = [Block(sound[:, np.newaxis], lost=lost)] if sound is not None else []
        self._changes = [Change(False, reason)] if reason else []
        self.closed = False

    def take(self):
        blocks, self._blocks = self._blocks, []
        return iter(blocks)

    def changes(self):
        changes, self._changes = self._changes, []
        return changes

    def fileno(self):
        return None

    def close(self):
        self.closed = True


def patient(site=None, source=None, seconds=0.6, fire=False):
    def opened(settings, rate, channels):
        if source is None:
            raise DeviceError(f"{settings.device}: no such microphone; see python -m edge_runtime devices")
        return source

    return Patient(site, "default", seconds, fire, opened)


def site(packed, outputs=None, **changes):
    machine = MachineSettings(bundle=str(packed), microphone="left", machine=FAN)
    return Site(machines={"fan": machine}, microphones={"left": MicrophoneSettings()}, outputs=outputs or {}, **changes)


def states(findings):
    return [finding.state for finding in findings]


def words(findings):
    return " | ".join(f"{finding.seen} -> {finding.todo}" for finding in findings)
