"""A service that records, without a microphone: its state folder, and what is in it."""

import threading

import soundfile

from edge_runtime.alarm import AlarmSettings, LevelSettings
from edge_runtime.journal import Journal
from edge_runtime.listening.opening import Notes
from edge_runtime.listening.recording import Recording, opened
from edge_runtime.recorder import event
from edge_runtime.recorder.going import Watched
from edge_runtime.recorder.settings import RecorderSettings
from edge_runtime.site_file import Site
from tests.conftest import hum
from tests.edge_runtime.conftest import FAULT
from tests.edge_runtime.posts import Scripted, block, post, service

RATE, NAME = 16_000, "fan_section_00"
ALARM = AlarmSettings(alarm=LevelSettings(on_delay_s=1.0, off_delay_s=1.0), not_listening_s=60.0)
SITE = """
state: state
microphones: {{left: {{}}}}
machines:
  fan:
    bundle: {bundle}
    machine: fan_section_00
    microphone: left
    alarm: {{alarm: {{on_delay_s: 1.0, off_delay_s: 1.0}}}}
recorder: {{before_s: 3.0, after_s: 2.0, {more}}}
"""


def settings(**changes):
    return RecorderSettings(**{"before_s": 3.0, "after_s": 2.0, "free_mb": 0.0, **changes})


def watched(bundle, **changes):
    machine = bundle.machine(NAME)
    model = bundle.model
    fields = {
        "machine": machine, "known_as": NAME, "threshold": machine.threshold, "microphone": "left", "column": 0,
        "window": model.window, "hop": model.hop, "bundle": str(bundle.folder), "model_hash": bundle.model_hash,
    }  # fmt: skip
    return Watched(**{**fields, **changes})


def recording(state, bundle, wanted=None, statuses=(), wait_s=60.0, notes=None):
    """As a site opens it -> the recording, and its journal."""
    site = Site({}, {}, name="plant", state=str(state))
    journal = Journal(state, lambda words: None)
    made = opened(site, wanted or settings(), [watched(bundle)], list(statuses), notes or Notes(), wait_s)
    journal.listened([], made[1])
    return Recording(made[0], journal, made[1]), journal


def listen(state, bundle, *blocks, wanted=None, alarm=ALARM, out_of_service=False, **more):
    """To these blocks until they end -> what was told."""
    told, (kept, journal) = [], recording(state, bundle, wanted, **more)
    one = post(bundle, Scripted(*blocks), alarm)
    made = service([one], told.append, recording=kept)
    if out_of_service:
        made._panel._alarms[NAME, "anomaly"].apply("out_of_service", "ann", "new bearing", 0.0, 0.0, None)
    made.listen(threading.Event())
    journal.close()
    return told


def in_blocks(sound, seconds=0.5, new="mic"):
    """A stream of blocks."""
    step = round(seconds * RATE)
    return [block(sound[at : at + step], new=new if not at else None) for at in range(0, len(sound), step)]


def fault(seconds=8.0, seed=2):
    return hum(seconds, seed, pitch=FAULT)


def events(state):
    """Every event that is there, by its folder."""
    return {folder: event.read(folder) for folder in event.folders(state)}


def only(state):
    """The one event, and its folder."""
    ((folder, found),) = events(state).items()
    return folder, found


def sound(folder, name=event.SOUND):
    """Of an event, decoded to its end."""
    samples, rate = soundfile.read(folder / name, dtype="int16")
    assert rate == RATE
    return samples
