"""A sound, over and over while an alarm is neither acknowledged nor silenced; played by a process of its own."""

import time
from collections.abc import Iterator, Sequence

from edge_runtime.alarm import Status
from edge_runtime.outputs import Told
from edge_runtime.outputs.child import Child, end
from edge_runtime.outputs.settings import SoundSettings
from edge_runtime.outputs.standing import Standing
from edge_runtime.outputs.worker import Worker

PLAYER = "edge_runtime.outputs.player"
PATIENCE_S = 5.0  # seconds to an answer of the player: a sound server that was asleep takes up to 2
FEED_S = 1.0  # seconds between looks at the player
CHECK_S = 60.0  # seconds between its looks at a device that is silent


class Sound:
    """Sounds while any alarm that it is told of calls."""

    def __init__(self, name: str, settings: SoundSettings) -> None:
        self.name, self._standing = name, Standing(settings)
        words = [settings.file, settings.device, repr(settings.pause_s), repr(CHECK_S)]
        self._child = Child(PLAYER, words, PATIENCE_S)
        self._worker: Worker[bool] = Worker(name, self._do, states=True, hang_s=PATIENCE_S + 1.0)
        self._sounds, self._fed = False, 0.0
        self._pass_on()

    def update(self, changes: Sequence[Told], now: Sequence[Status]) -> None:
        """The state of every alarm."""
        self._standing.see(now)
        sounds = any(self._standing.calls(status) for status in now)
        if sounds != self._sounds:
            self._sounds = sounds
            self._pass_on()

    def feed(self, judged: bool) -> None:
        """A look at the player now and then: one that died is started again."""
        if time.monotonic() - self._fed >= FEED_S:
            self._pass_on()

    def failures(self) -> Iterator[str]:
        """What went wrong since last asked."""
        yield from self._worker.failures()

    def close(self, within_s: float) -> None:
        """Silent."""
        end(self._worker, self._child, within_s)

    def _pass_on(self) -> None:
        self._fed = time.monotonic()
        self._worker.put(self._sounds)

    def _do(self, sounds: bool) -> None:
        self._child.tell("1" if sounds else "0")
