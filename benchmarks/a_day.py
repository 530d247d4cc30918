"""A day of sound that is heard as fast as it is taken, everything going wrong in it; and a clock that goes with it."""

import time
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from edge_runtime import features
from edge_runtime.backends import Arrays, Backend
from edge_runtime.bundle import Bundle
from edge_runtime.capture import Block, Change
from edge_runtime.capture.clock import WallClock
from edge_runtime.features import Floats
from edge_runtime.journal import journal
from edge_runtime.listening import keeping, opening, service, signs
from edge_runtime.recorder import normals, recorder

RATE, BLOCK = features.SAMPLE_RATE, features.SAMPLE_RATE // 2
LOOP_S = 60  # seconds of sound that are heard again and again
KINDS = ("lost", "gone", "silence", "stuck", "clipping", "gain", "fault", "once", "always")
LASTS = dict(zip(KINDS, (2, 240, 90, 30, 20, 60, 120, 1, 60), strict=True))  # seconds


class Injected(NamedTuple):
    """One thing that goes wrong."""

    kind: str
    begins: int  # second
    ends: int


def schedule(hours: int, seed: int) -> list[Injected]:
    """Each kind once an hour, one after another."""
    random = np.random.default_rng(seed)
    found = []
    for hour in range(hours):
        for place, kind in enumerate(random.permutation(KINDS)):
            begins = hour * 3600 + 60 + place * 390 + int(random.integers(0, 60))
            found.append(Injected(str(kind), begins, begins + LASTS[kind]))
    return found


class Day:
    """A microphone whose day is over as soon as it has been listened to."""

    name, ended, drift_ppm = "a day", False, None

    def __init__(self, channels: int, hours: int, seed: int) -> None:
        self.faults, self.second, self._end = schedule(hours, seed), 0.0, hours * 3600
        random = np.random.default_rng(seed)
        self._normal = np.stack([hum(random, 49.0 + channel) for channel in range(channels)], axis=1)
        self._other = np.stack([hum(random, 400.0) for _ in range(channels)], axis=1)
        self._random, self._stuck = random, np.zeros((0, channels), np.float32)

    def now(self) -> str:
        """What goes wrong at this second; "" for nothing."""
        return next((fault.kind for fault in self.faults if fault.begins <= self.second < fault.ends), "")

    def take(self) -> Iterator[Block]:
        """Half a second."""
        if self.second >= self._end:
            self.ended = True
            return
        new, kind = (self.name if not self.second else None), self.now()
        self.second += BLOCK / RATE
        if kind == "gone" or (kind == "lost" and self._random.random() < 0.5):
            yield Block(self._normal[:0], self.second, BLOCK)
        else:
            yield Block(self._sound(kind), self.second, new=new)

    def _sound(self, kind: str) -> Floats:
        at = round(self.second * RATE) % (LOOP_S * RATE)  # whole periods in a loop: no click where it begins again
        sound: Floats = (self._other if kind == "fault" else self._normal)[at : at + BLOCK]
        if kind == "stuck":
            self._stuck = self._stuck if len(self._stuck) else sound[:512].copy()
            return np.tile(self._stuck, (BLOCK // 512 + 1, 1))[:BLOCK]
        self._stuck = self._stuck[:0]
        gain = {"silence": 0.0, "clipping": 40.0, "gain": 4.0}.get(kind, 1.0)
        return np.clip(sound * np.float32(gain), -1.0, 1.0)

    def changes(self) -> Sequence[Change]:
        """It is told in blocks."""
        return ()

    def fileno(self) -> None:
        """Always ready."""

    def close(self) -> None:
        """Nothing is held."""


def hum(random: np.random.Generator, pitch: float) -> Floats:
    """[samples]: harmonics in noise."""
    seconds = np.arange(LOOP_S * RATE) / RATE
    sound = 0.05 * np.sin(2 * np.pi * pitch * seconds) + 0.02 * np.sin(6 * np.pi * pitch * seconds)
    return (sound + 0.01 * random.standard_normal(len(seconds))).astype(np.float32)


class Failing:
    """The detector without a network, which raises when the day says so."""

    def __init__(self, backend: Backend, day: Day) -> None:
        self._backend, self._day = backend, day

    def run(self, inputs: Arrays) -> Arrays:
        """Inputs by name -> outputs by name."""
        if self._day.now() in ("once", "always"):
            raise RuntimeError("injected")
        return self._backend.run(inputs)

    def close(self) -> None:
        """Close it."""
        self._backend.close()


class Injecting(opening.Networks):
    """Backends that fail with the day."""

    def __init__(self, day: Day) -> None:
        super().__init__("onnxruntime")
        self._day = day

    def opened(self, bundle: Bundle) -> Backend:
        """As it is opened anew after it has failed."""
        return Failing(super().opened(bundle), self._day)


class SoundTime:
    """A clock that goes as fast as the sound: what is written each minute is written each minute of sound."""

    def __init__(self, day: Day) -> None:
        self._day, self._began = day, (time.monotonic(), time.time())

    def monotonic(self) -> float:
        """Seconds."""
        return self._began[0] + self._day.second

    def time(self) -> float:
        """Seconds since 1970."""
        return self._began[1] + self._day.second

    def rule(self) -> None:
        """Over all that decides when something is kept; threads, outputs and people have the time of the world."""
        changed = SimpleNamespace(**{**vars(time), "monotonic": self.monotonic, "time": self.time})
        for module in (service, signs, keeping, journal, recorder, normals):
            module.time = changed  # type: ignore[attr-defined]
        service.WallClock = lambda: WallClock(self.time, self.monotonic)  # type: ignore[assignment, misc]
