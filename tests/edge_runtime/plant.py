"""A plant in a folder: a sound server, a site file, the listening process, and what it tells, with the time it took.

AUSCULT_FAULTS=FILE collects the seconds that each fault took to be noticed and to be over, one JSON line each: the
figures of docs/faults.md.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import ROOT, hum, write_wav

PATIENCE_S = 30.0
SITE = """
state: state
microphones:
  left: {{device: {device}, rate: {rate}}}
machines:
  fan:
    bundle: {bundle}
    machine: fan_section_00
    microphone: left
    alarm: {{not_listening_s: 3.0, latching: {latching}, alarm: {{on_delay_s: 1.0, off_delay_s: 1.0}}}}
{more}
"""


class Plant:
    """The listener and its surroundings; `server` may be None where no sound is needed."""

    def __init__(
        self, folder, server, bundle, device="pulsemic", rate=16_000, latching=False, more="", environment=(), before=()
    ):
        self.folder, self.server, self.device = folder, server, device
        self.site, self.events = folder / "site.yaml", folder / "events.jsonl"
        self.site.write_text(
            SITE.format(device=device, rate=rate or "null", bundle=bundle, latching=str(latching).lower(), more=more)
        )
        self.environment = {**(server.environment if server else os.environ), **dict(environment)}
        self.process, self.told, self._read, self.before = None, [], 0, before
        self._players = []

    def start(self, *words):
        """Begin to listen; events of an earlier run are forgotten."""
        self.told, self._read = [], 0
        self.events.unlink(missing_ok=True)
        command = [
            *self.before,
            sys.executable,
            "-m",
            "edge_runtime",
            "run",
            self.site,
            "--events",
            self.events,
            *words,
        ]
        self.stderr = (self.folder / "stderr").open("w+")
        self.process = subprocess.Popen(list(map(str, command)), cwd=ROOT, env=self.environment, stderr=self.stderr)
        return self

    def play(self, sound=None, sink="mic", rate=16_000):
        """Into a microphone; the hum of the healthy machine, where nothing else is given."""
        file = write_wav(self.folder / f"{len(self._players)}.wav", hum(120) if sound is None else sound, rate)
        self._players.append(self.server.play(file, sink))
        return self._players[-1]

    def quiet(self):
        """Nothing is played any more."""
        for player in self._players:
            player.kill()
            player.wait()

    def look(self):
        """Take what was told since the last look."""
        if self.events.exists():
            lines = self.events.read_text().splitlines(keepends=True)
            for line in lines[self._read :]:
                if line.endswith("\n"):
                    self.told.append((time.monotonic(), json.loads(line)))
                    self._read += 1
        return [event for _, event in self.told]

    def wait(self, name, seconds=PATIENCE_S, after=0.0, **fields):
        """Until such an event is told, after that monotonic second -> (when, the event)."""
        deadline = time.monotonic() + seconds
        while True:
            self.look()
            for when, event in self.told:
                if when >= after and event["event"] == name and fields.items() <= event.items():
                    return when, event
            assert time.monotonic() < deadline, f"no {name} {fields}; {self.said()}; told {self.kinds()}"
            assert self.process.poll() is None, self.said()
            time.sleep(0.01)

    def heard(self, after=0.0, seconds=PATIENCE_S):
        """Until a window has a score -> when."""
        deadline = time.monotonic() + seconds
        while True:
            self.look()
            for when, event in self.told:
                if when >= after and event["event"] == "window" and event["score"] is not None:
                    return when
            assert time.monotonic() < deadline, f"no score; {self.said()}; told {self.kinds()}"
            assert self.process.poll() is None, self.said()
            time.sleep(0.01)

    def kinds(self):
        """What was told, shortly."""
        return [event["event"] for event in self.look()][-20:]

    def said(self):
        """What a person sees."""
        return (self.folder / "stderr").read_text()

    def end(self):
        """SIGTERM -> (exit code, seconds that it took)."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(10)
        self.look()
        return code, time.monotonic() - began

    def child(self):
        """The process that captures."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return int(children.split()[0])

    def close(self):
        """Nothing of it is left."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.quiet()

    def whole(self):
        """Whether every window that was due is scored, unfit or lost."""
        end = next(event for event in reversed(self.look()) if event["event"] == "end")
        windows = [event for event in self.look() if event["event"] == "window"]
        scored = sum(event["score"] is not None for event in windows)
        return scored + end["unfit"] == end["windows"] == len(windows), end


def figure(fault, **seconds):
    """Of one run, where somebody collects them."""
    file = os.environ.get("AUSCULT_FAULTS")
    if file:
        with Path(file).open("a") as stream:
            stream.write(
                json.dumps({"fault": fault, **{name: round(value, 3) for name, value in seconds.items()}}) + "\n"
            )
