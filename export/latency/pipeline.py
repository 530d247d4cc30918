"""The listening parts as they are, on sound from memory in the blocks of a microphone, timed stage by stage."""

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import msgspec
import numpy as np

from calib.golden import golden_clip
from edge_runtime.alarm import AlarmSettings
from edge_runtime.backends import Backend
from edge_runtime.bundle import Model
from edge_runtime.capture import BLOCK_S, Block, Change
from edge_runtime.detector import Detector, Ear
from edge_runtime.features import Doubles
from edge_runtime.journal.rows import Moment
from edge_runtime.listening import events
from edge_runtime.listening.monitor import Monitor
from edge_runtime.listening.panel import Panel
from edge_runtime.listening.post import Group, Post
from edge_runtime.listening.service import Service
from edge_runtime.quality import QualitySettings
from edge_runtime.scoring import Machine
from edge_runtime.sound import Resampler
from export.latency.content import AFTER, HELD, REST, STAGES, TOTAL, WAIT, Load, Stage

T = TypeVar("T")
LOOP_S = 4.0  # seconds of sound, heard again and again
WARM = 10  # windows of each machine before it counts
PHASES = 200  # of a window's end within a block


class Clock:
    """Seconds of each stage: since the last tick, and since the last window. A `Stages` of the listening parts."""

    def __init__(self) -> None:
        self.tick: dict[str, float] = defaultdict(float)
        self.window: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Around the work of a stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._add(name, time.perf_counter() - began)

    def each(self, name: str, items: Iterator[T]) -> Iterator[T]:
        """The same items, the making of each timed."""
        while True:
            began = time.perf_counter()
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                self._add(name, time.perf_counter() - began)
            yield item

    def parts(self, seconds: dict[str, float]) -> None:
        """Take a backend's own parts out of the stage "engine", whose rest stays."""
        for name in ("copy in", "copy out"):
            if name in seconds:
                self._add(name, seconds[name])
                self._add("engine", -seconds[name])

    def _add(self, name: str, seconds: float) -> None:
        self.tick[name] += seconds
        self.window[name] += seconds


class Microphone:
    """A `Source` that never ends: seconds of a simulated hum at the sound card's own rate, on every channel."""

    ended = False
    drift_ppm: float | None = None

    def __init__(self, rate: int, wanted: int, channels: int, clock: Clock) -> None:
        self.name = f"memory, {rate} Hz"
        sound = golden_clip(round(LOOP_S * rate), rate)
        self._sound, self._block = np.repeat(sound[:, np.newaxis], channels, axis=1), round(rate * BLOCK_S)
        self._resampler, self._clock = Resampler(rate, wanted, channels), clock
        self._rate, self._heard = rate, 0

    def take(self) -> Iterator[Block]:
        """A block of a microphone's size, resampled as a microphone's is."""
        new = None if self._heard else self.name
        places = np.arange(self._heard, self._heard + self._block)
        self._heard += self._block
        sound = np.take(self._sound, places, axis=0, mode="wrap")
        with self._clock("resample"):
            samples = self._resampler.push(sound)
        yield Block(samples, self.heard_s, new=new)

    def changes(self) -> Iterable[Change]:
        """It is always heard."""
        return ()

    def fileno(self) -> int | None:
        """It is always ready."""
        return None

    def close(self) -> None:
        """Nothing is held."""

    @property
    def heard_s(self) -> float:
        """Seconds of sound that have come in."""
        return self._heard / self._rate


class Listener:
    """So many machines on the channels of one microphone, their service, and what it took them to decide."""

    def __init__(self, model: Model, machine: Machine, backend: Backend, machines: int, rate: int) -> None:
        self.clock = Clock()
        self.path: list[dict[str, float]] = []  # of each window of this tick: stage -> seconds from the block
        self._microphone = Microphone(rate, model.sample_rate, machines, self.clock)
        self._arrived = 0.0
        named = [msgspec.structs.replace(machine, name=f"machine {number}") for number in range(machines)]
        ears = [Ear(one, channel, QualitySettings(compare=False)) for channel, one in enumerate(named)]
        monitors = [Monitor(one, AlarmSettings(), model) for one in named]
        post = Post("memory", self._microphone, [Group(Detector(model, backend, ears, self.clock), monitors)])
        panel = Panel({one.name: AlarmSettings() for one in named}, None, Moment(0.0, 0.0))
        self._service = Service([post], self._tell, panel, stages=self.clock)

    def tick(self) -> None:
        """The next block arrives."""
        self.clock.tick.clear()
        self.path.clear()
        self._arrived = time.perf_counter()
        self._service.turn()

    def _tell(self, event: events.Event) -> None:
        if isinstance(event, events.Window):
            total, taken = time.perf_counter() - self._arrived, dict(self.clock.tick)
            held = max(0.0, self._microphone.heard_s - event.end_s)  # sound that came in after the end of the window
            self.path.append(taken | {REST: total - sum(taken.values()), AFTER: total, HELD: held})


def measure(model: Model, machine: Machine, backend: Backend, machines: int, windows: int, rate: int) -> Load:
    """So many machines that hear alike, until there were so many windows of all together."""
    listener = Listener(model, machine, backend, machines, rate)
    path: list[dict[str, float]] = []
    work: dict[str, float] = defaultdict(float)
    sound = busy = cpu = 0.0
    hops = -WARM
    while hops < math.ceil(windows / machines):
        began, spent = time.perf_counter(), time.process_time()
        listener.tick()
        found = list(listener.path)
        hops += bool(found)
        if hops > 0 or (hops == 0 and not found):  # the hop that ends the warming-up belongs to it
            path += found
            sound, busy = sound + BLOCK_S, busy + time.perf_counter() - began
            cpu += time.process_time() - spent
        if found:
            for name, seconds in listener.clock.window.items():
                work[name] += seconds if hops > 0 else 0.0
            listener.clock.window.clear()
    return Load(machines, len(path), stages(path), _work(work, len(path)), busy / sound, cpu / busy)


def stages(path: list[dict[str, float]]) -> list[Stage]:
    """Seconds of every window by stage -> percentiles in milliseconds, the sums last.

    The wait for the block is derived, not measured: sound falls anywhere in a block.
    """
    names = [name for name in STAGES if any(taken.get(name) for taken in path)]
    measured = {name: 1e3 * np.array([taken.get(name, 0.0) for taken in path]) for name in names}
    waits = 1e3 * BLOCK_S * (np.arange(PHASES) + 0.5) / PHASES
    whole = waits[:, np.newaxis] + measured.get(HELD, 0.0) + measured[AFTER]
    rows = [_stage(name, values) for name, values in measured.items()]
    return [_stage(WAIT, waits, 1e3 * BLOCK_S), *rows, _stage(TOTAL, whole.ravel())]


def _stage(name: str, values: Doubles, greatest: float | None = None) -> Stage:
    p50, p95, p99 = (float(value) for value in np.percentile(values, [50, 95, 99]))
    return Stage(name, p50, p95, p99, greatest or float(np.max(values)), greatest is not None)


def _work(seconds: dict[str, float], windows: int) -> dict[str, float]:
    return {name: 1e3 * seconds[name] / windows for name in STAGES if name in seconds}
