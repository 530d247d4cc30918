"""The listening parts as they are, on sound from memory in the blocks of a microphone, timed stage by stage."""

import math
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

from calib.golden import golden_clip
from edge_runtime import events
from edge_runtime.alarm import AlarmSettings
from edge_runtime.backends import Backend
from edge_runtime.bundle import Model
from edge_runtime.capture import BLOCK_S, Block
from edge_runtime.detector import Detector
from edge_runtime.features import Doubles, Floats
from edge_runtime.scoring import Machine
from edge_runtime.service import Service
from edge_runtime.sound import Resampler
from export.latency.content import AFTER, HELD, OTHERS, REST, STAGES, TOTAL, WAIT, Load, Stage

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
    """A `Source` that never ends: the same seconds of a simulated hum at the sound card's own rate."""

    def __init__(self, rate: int, wanted: int, clock: Clock) -> None:
        self.name = f"memory, {rate} Hz"
        self._sound, self._block = golden_clip(round(LOOP_S * rate), rate), round(rate * BLOCK_S)
        self._resampler, self._clock = Resampler(rate, wanted), clock
        self._rate, self._heard = rate, 0

    def blocks(self) -> Iterator[Block]:
        """Blocks of a microphone's size, resampled as a microphone's are."""
        new: str | None = self.name
        while True:
            yield Block(self._resampled(self._next())[:, None], new=new)
            new = None

    def close(self) -> None:
        """Nothing is held."""

    @property
    def heard_s(self) -> float:
        """Seconds of sound that have come in."""
        return self._heard / self._rate

    def _next(self) -> Floats:
        places = np.arange(self._heard, self._heard + self._block)
        self._heard += self._block
        return np.take(self._sound, places, mode="wrap")

    def _resampled(self, samples: Floats) -> Floats:
        with self._clock("resample"):
            return self._resampler.push(samples)


class Listener:
    """One machine: its microphone, detector, alarm and events."""

    def __init__(self, model: Model, machine: Machine, backend: Backend, rate: int) -> None:
        self.clock, self.decided = Clock(), 0.0  # moment of the decision of this tick; 0: there was none
        self.held_s = 0.0  # sound that had come in after the end of the window
        self.microphone = Microphone(rate, model.sample_rate, self.clock)
        detector = Detector(model, machine, backend, self.clock)
        self._service = Service(detector, AlarmSettings(), self._tell)
        self._blocks = self.microphone.blocks()

    def tick(self) -> None:
        """The next block has arrived."""
        self.clock.tick.clear()
        self.decided = 0.0
        self._service.take(next(self._blocks))

    def _tell(self, event: events.Event) -> None:
        if isinstance(event, events.Window):
            self.decided = time.perf_counter()
            self.held_s = max(0.0, self.microphone.heard_s - event.end_s)


def measure(model: Model, machine: Machine, backend: Backend, machines: int, windows: int, rate: int) -> Load:
    """So many machines that hear alike, until there were so many windows of all together.

    Their windows end in the same block, the worst there is: the last one waits for all others.
    """
    listeners = [Listener(model, machine, backend, rate) for _ in range(machines)]
    path: list[dict[str, float]] = []
    work: dict[str, float] = defaultdict(float)
    sound = busy = cpu = 0.0
    hops = -WARM
    while hops < math.ceil(windows / machines):
        began, spent = time.perf_counter(), time.process_time()
        found = _tick(listeners, work if hops >= 0 else defaultdict(float))
        hops += bool(found)
        if hops > 0 or (hops == 0 and not found):  # the hop that ends the warming-up belongs to it
            path += found
            sound, busy = sound + BLOCK_S, busy + time.perf_counter() - began
            cpu += time.process_time() - spent
    return Load(machines, len(path), stages(path), _work(work, len(path)), busy / sound, cpu / busy)


def _tick(listeners: list[Listener], work: dict[str, float]) -> list[dict[str, float]]:
    """A block for every machine, one after the other -> of each window that ends, stage -> seconds from the block."""
    arrived, found = time.perf_counter(), []
    for listener in listeners:
        began = time.perf_counter()
        listener.tick()
        if not listener.decided:
            continue
        taken = dict(listener.clock.tick) | ({OTHERS: began - arrived} if len(listeners) > 1 else {})
        total = listener.decided - arrived
        found.append(taken | {REST: total - sum(taken.values()), AFTER: total, HELD: listener.held_s})
        for name, seconds in listener.clock.window.items():
            work[name] += seconds
        listener.clock.window.clear()
    return found


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
