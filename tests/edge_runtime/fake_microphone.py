"""A microphone without one: what stands for PortAudio in the child process, and what stands for the child process."""

import itertools
import json
import sys
import time
from pathlib import Path

import numpy as np

from edge_runtime.capture import MicrophoneSettings
from edge_runtime.capture.microphone import Microphone
from tests.conftest import ROOT

FAKES = Path(__file__).parent / "fakes"
CHILD = FAKES / "child.py"


class PortAudio:
    """Devices and sound for `import sounddevice` in child processes, and in this one."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        folder.mkdir()
        monkeypatch.setenv("FAKE_PORTAUDIO", str(folder))
        monkeypatch.setenv("PYTHONPATH", f"{FAKES}:{ROOT}")
        monkeypatch.syspath_prepend(FAKES)
        monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
        self.plays(np.zeros(0, np.float32))

    def plays(self, sound, rates=(16_000,), size=512, overflows=(), pause_s=0.0, ends=True):
        """[samples] on channel 1 (0 is dead), in blocks of `size`; the numbers of blocks before which some was lost."""
        np.stack([np.zeros_like(sound), sound], axis=1).astype(np.float32).tofile(self.folder / "sound.raw")
        cuts = [*range(0, len(sound), size), len(sound)]
        pairs = itertools.pairwise(cuts)
        steps = [(start, stop, index in overflows, pause_s) for index, (start, stop) in enumerate(pairs)]
        script = {"rates": list(rates), "steps": steps, "ends": ends}
        (self.folder / "script.json").write_text(json.dumps(script))


def scripted(folder, *attempts, device="mic", **options):
    """A microphone whose first child does the steps of the first attempt, and so on; the last one's for all others.

    Steps: ["open", identity], ["sound", seconds] in real time, ["lost", frames], ["wait", seconds], ["fail", words],
    ["garbage"]; at their end the child ends, unless ["hang"] comes before.
    """
    script = folder / "attempts.json"
    script.write_text(json.dumps(attempts))
    command = [sys.executable, str(CHILD), str(script)]
    return Microphone(MicrophoneSettings(device), 16_000, command=command, **options)


class Heard:
    """What a microphone gives, taken as a listener takes it."""

    def __init__(self, microphone):
        self.microphone, self.blocks, self.changes, self.times = microphone, [], [], []

    def until(self, true, within_s=20.0):
        """Listen until `true(self)`; seconds that took."""
        began = time.monotonic()
        while not true(self):
            assert time.monotonic() - began < within_s, (self.changes, len(self.blocks))
            self.take()
            time.sleep(0.02)
        return time.monotonic() - began

    def take(self):
        self.blocks += self.microphone.take()
        changes = list(self.microphone.changes())
        self.changes += changes
        self.times += [time.monotonic()] * len(changes)

    def changed(self, listening, within_s=20.0):
        """Listen until the next change; seconds that took."""
        before = len(self.changes)
        seconds = self.until(lambda heard: len(heard.changes) > before, within_s)
        assert self.changes[before].listening == listening, self.changes[before:]
        return seconds

    def for_s(self, seconds):
        """Listen so long."""
        end = time.monotonic() + seconds
        self.until(lambda _: time.monotonic() >= end, seconds + 10)

    def close(self):
        self.microphone.close()
        self.take()

    @property
    def sound(self):
        """[samples] of the first channel."""
        return np.concatenate([block.samples[:, 0] for block in self.blocks])

    @property
    def ahead_s(self):
        """Seconds by which samples and losses are ahead of the clock since the first block."""
        first, last = self.blocks[0], self.blocks[-1]
        given = sum(len(block.samples) + block.lost for block in self.blocks)
        began = first.at_s - (len(first.samples) + first.lost) / 16_000
        return given / 16_000 - (last.at_s - began)
