"""A service without a microphone: sources that play a script, posts, and what they tell."""

import threading

import numpy as np

from edge_runtime.alarm import AlarmSettings
from edge_runtime.backends import open_backend
from edge_runtime.capture import Block
from edge_runtime.detector import Detector, Ear
from edge_runtime.journal import Moment
from edge_runtime.listening.monitor import Monitor
from edge_runtime.listening.panel import Panel
from edge_runtime.listening.post import Group, Post
from edge_runtime.listening.service import Service


class Scripted:
    """A source that gives these blocks, one each time it is asked, and then ends or, where there is one, raises."""

    name, drift_ppm = "scripted", None

    def __init__(self, *blocks, error=None, changes=()):
        self.given, self.error, self.closed, self.ended = list(blocks), error, False, False
        self.told = list(changes)

    def take(self):
        if self.given:
            yield self.given.pop(0)
        elif self.error and not self.closed:
            raise self.error
        else:
            self.ended = True

    def changes(self):
        told, self.told = self.told, []
        return told

    def fileno(self):
        return None

    def close(self):
        self.closed = True


def block(sound, lost=0, new=None):
    return Block(sound if sound.ndim == 2 else sound[:, np.newaxis], lost=lost, new=new)


def post(bundle, source, alarm=None, names=("fan_section_00",), backend=None, saver=None):
    """The machines of a bundle, heard on channels 0, 1, ... of a source."""
    machines = [bundle.machine(name) for name in names]
    ears = [Ear(machine, channel) for channel, machine in enumerate(machines)]
    backend = backend or open_backend(bundle.network, bundle.model)
    monitors = [Monitor(machine, alarm or AlarmSettings(), bundle.model) for machine in machines]
    return Post("left", source, [Group(Detector(bundle.model, backend, ears), monitors)], saver)


def listen(*posts, seconds=None):
    told = []
    service(posts, told.append).listen(threading.Event(), seconds)
    return told


def service(posts, tell, **options):
    machines = {monitor.name: AlarmSettings() for post in posts for monitor in post.monitors}
    return Service(posts, tell, Panel(machines, None, Moment(0.0, 0.0)), **options)


def of(told, kind):
    return [event for event in told if isinstance(event, kind)]
