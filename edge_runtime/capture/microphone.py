"""A microphone that is never given up: heard through a child process that is killed and started anew when it fails."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
import numpy as np

from edge_runtime.capture import Block, Change, MicrophoneSettings, names, wire
from edge_runtime.capture.hearing import Hearing, Timeline
from edge_runtime.capture.process import Child
from edge_runtime.errors import DeviceError

START_S = 4.0  # seconds to the first block: a sound server that was asleep takes up to 2 s
STALL_S = 0.5  # seconds without a block: the microphone is dead
STEP_S = 0.25  # seconds that one look counts at most: a listener that was itself stopped does not blame the microphone
PAUSES_S = (0.25, 0.5, 1.0, 2.0, 5.0)  # seconds before the next attempt; the last for ever
KNOWN_S = 1.5  # seconds at most, where the microphone was heard before: it is to be heard within 3 s of its return
TICK_S = 0.25  # seconds without sound that are told at once
REASONS = 3  # told of one absence; two that take turns are not told for ever
CHANGES = 64  # kept for who never asks
UNKILLED = 8  # processes that hang inside a driver, and so outlive their killing, before no more are started
CLOSE_S = 0.3  # seconds to see a killed process go
POLL_S = 0.01  # seconds between looks of a constructor that waits


class Microphone:
    """Opening, listening or absent; `take` gives sound, or the time that passes without it."""

    ended = False

    def __init__(
        self,
        settings: MicrophoneSettings,
        sample_rate: int,
        channels: Sequence[int] = (0,),
        insist: bool = True,
        command: Sequence[str] | None = None,  # of the child, where it is not ours
        clock: Callable[[], float] = time.monotonic,  # seconds; the child's, too
    ) -> None:
        """`insist`: absent at first is absent like later. Without, wait for the first sound; what fails is an error."""
        self.name = settings.device
        self.drift_ppm: float | None = None  # of the sound card's clock, above 0: fast; None in the first 10 minutes
        self._wanted = wire.Wanted(settings.device, settings.rate, tuple(channels))
        self._rate, self._channels, self._command, self._clock = sample_rate, list(channels), command, clock
        self._ready: list[Block] = []
        self._changes: deque[Change] = deque(maxlen=CHANGES)
        self._reasons: list[str] = []  # told of this absence
        self._timeline = Timeline(sample_rate, clock())
        self._child: Child | None = None
        self._dying: list[Child] = []
        self._hearing: Hearing | None = None
        self._known, self._identity = False, ""  # heard before; the source that the name meant then, "": not told
        self._shut = False
        self._listening, self._heard_s = False, clock()  # when the last sound came
        self._attempts, self._next_s = 0, 0.0  # failed ones since then; when the next is due
        self._waited_s, self._looked_s = 0.0, clock()
        self._start()
        if not insist:
            self._wait()

    def take(self) -> Iterator[Block]:
        """What was heard since the last call; while nothing can be heard, the time that has passed, as lost samples."""
        self._look()
        ready, self._ready = self._ready, []
        return iter(ready)

    def changes(self) -> Iterable[Change]:
        """Each once."""
        changes = list(self._changes)
        self._changes.clear()
        return changes

    def fileno(self) -> int | None:
        """The pipe of the child of now."""
        return None if self._child is None else self._child.fileno()

    def close(self) -> None:
        """The device is given back as the child goes; one more `take` gives what was still inside."""
        if self._shut:
            return
        if self._child is not None:
            self._look()  # what is in the pipe was heard
        self._shut = True
        self._kill()
        self._end()
        if self._known or self._reasons:
            self._pass(self._clock(), 0.0 if self._reasons else TICK_S)
        deadline = self._clock() + CLOSE_S
        for child in self._dying:
            child.gone(max(0.0, deadline - self._clock()))

    def _wait(self) -> None:
        """Until the first sound."""
        while not self._listening:
            time.sleep(POLL_S)
            self._look()
            if self._reasons:
                self.close()
                raise DeviceError(self._reasons[0])

    def _look(self) -> None:
        if self._shut:
            return
        now = self._clock()
        step, self._looked_s = min(now - self._looked_s, STEP_S), now
        self._dying = [child for child in self._dying if not child.gone()]
        if self._child is not None:
            self._read(self._child, step)
        elif now >= self._next_s:
            self._again(now)
        if self._reasons:  # absent
            self._pass(now, TICK_S)

    def _read(self, child: Child, step_s: float) -> None:
        """What the child has told, or for how long it has told nothing."""
        self._waited_s += step_s
        for message in child.messages():
            if isinstance(message, wire.Sound):
                self._hear(message)
            elif isinstance(message, wire.Opened):
                self._opened(message)
            else:
                self._lose(message.words)
            if self._child is None:
                return
        if self._waited_s >= (STALL_S if self._listening else START_S):
            self._lose(self._stalled())

    def _opened(self, opened: wire.Opened) -> None:
        if self._identity not in ("", opened.identity):
            other = opened.identity or "a source that cannot be told"
            self._lose(f"the name means {other} now, and meant {self._identity} when it was first heard")
        elif max(self._channels) >= opened.channels:
            self._lose(f"no channel {max(self._channels)}; {opened.name} has {opened.channels}, counted from 0")
        else:
            self._hearing = Hearing(opened, self._rate, self._channels)

    def _hear(self, sound: wire.Sound) -> None:
        hearing = self._hearing
        if hearing is None or not hearing.fits(sound):
            self._lose("the capturing process gave sound of which it did not say what it is")
            return
        self._waited_s, self._attempts = 0.0, 0
        if self._listening:
            blocks = list(hearing.blocks(sound))
        else:
            blocks = [self._returned(hearing, msgspec.structs.replace(sound, lost=0))]
        self._ready += map(self._timeline.give, blocks)
        self._heard_s = sound.at_s
        if hearing.clock.drift_ppm is not None:
            self.drift_ppm = hearing.clock.drift_ppm

    def _returned(self, hearing: Hearing, sound: wire.Sound) -> Block:
        """The first block of a recording: with all the time that has passed without sound."""
        opened, seconds = hearing.opened, sound.frames / hearing.opened.rate
        if not self._known:
            words = f"listening to {opened.name}, {opened.channels} channels, {opened.rate} Hz"
        else:
            words = f"heard again after {sound.at_s - seconds - self._heard_s:.1f} s"
        if not self._reasons:
            self._timeline.begin(sound.at_s - seconds)
        self._listening, self._known, self._reasons = True, True, []
        self._identity = self._identity or opened.identity
        self._changes.append(Change(True, f"{self.name}: {words}"))
        lost = self._timeline.missing(sound.at_s, round(seconds * self._rate))
        (block,) = hearing.blocks(sound)
        return msgspec.structs.replace(block, lost=lost, new=self.name)

    def _stalled(self) -> str:
        if self._listening:
            return f"no sound for {STALL_S:g} s: the microphone or its sound server has stopped"
        if self._hearing is None:
            return f"not opened within {START_S:g} s: its sound server or driver hangs"
        return f"opened, but no sound within {START_S:g} s: it is suspended or broken"

    def _lose(self, words: str) -> None:
        """Kill the child at once; another follows."""
        now = self._clock()
        self._kill()
        self._end()
        self._next_s = now + pause_s(self._attempts, self._known)
        self._attempts += 1
        self._tell(words)

    def _end(self) -> None:
        """The recording ends; what was still inside the resampler is its last sound."""
        if self._hearing is not None:
            self._timeline.slipped_s += self._hearing.clock.slipped_s
            if self._listening:
                self._ready.append(self._timeline.give(Block(self._hearing.rest(), self._heard_s)))
        self._hearing, self._listening = None, False

    def _tell(self, words: str) -> None:
        reason = words if words.startswith(f"{self.name}: ") else f"{self.name}: {words}"
        if reason not in self._reasons and len(self._reasons) < REASONS:
            self._reasons.append(reason)
            self._changes.append(Change(False, reason))

    def _again(self, now: float) -> None:
        """The next attempt; of a card that the kernel does not see, once it is plugged in."""
        if names.plugged_in(self.name) is False:
            self._attempts, self._next_s = 0, now + PAUSES_S[0]
        else:
            self._start()

    def _start(self) -> None:
        self._waited_s = 0.0
        if len(self._dying) >= UNKILLED:
            self._lose(f"{len(self._dying)} capturing processes hang in the driver; restart the machine")
            return
        try:
            self._child = Child(self._wanted, self._command)
        except OSError as error:
            self._lose(f"no capturing process can be started ({error.strerror})")

    def _kill(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            self._dying.append(child)

    def _pass(self, now: float, at_least_s: float = 0.0) -> None:
        """Time without sound, as a block."""
        lost = self._timeline.missing(now)
        if lost > at_least_s * self._rate:
            nothing = np.zeros((0, len(self._channels)), np.float32)
            self._ready.append(self._timeline.give(Block(nothing, now, lost)))


def pause_s(attempts: int, known: bool) -> float:
    """Seconds before the next attempt, after so many failed ones; `known`: the microphone was heard before."""
    pause = PAUSES_S[min(attempts, len(PAUSES_S) - 1)]
    return min(pause, KNOWN_S) if known else pause
