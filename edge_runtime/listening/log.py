"""What a listening process says of itself, on stderr or in systemd's journal: one line each, and nothing twice.

A message is told at once. The same message of the same place is then only counted, and told again with its count after
1 minute, after 10, and then every hour while it goes on; another message of the place, `over` and `flush` tell what was
counted before them. Numbers that change make another message: leave them out of the words. A place that comes and goes
all day has a number of lines an hour, and what is beyond it is counted too.

    warning microphone left: no sound for 0.5 s
    warning microphone left: no sound for 0.5 s (12 more in 60 s)
    info microphone left: over after 75 s (no sound for 0.5 s, 3 more)

A line is written where it can be at once, or else lost and counted: whoever reads stderr must not stop the listening.
Under systemd (JOURNAL_STREAM) a line begins with its priority instead, as sd-daemon(3) has it: `journalctl -p warning`.
"""

import os
import select
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO, Literal

import msgspec

Level = Literal["error", "warning", "info"]
PRIORITY: dict[Level, int] = {"error": 3, "warning": 4, "info": 6}
AGAIN_S = (60.0, 600.0, 3600.0)  # seconds since it was first told; the last is then every time
PLACES = 256  # that are remembered; the one that was silent longest is forgotten first
LONGEST = 400  # characters of a line
LINES = 20  # of a place in an hour
HOUR_S = 3600.0


class _Said(msgspec.Struct):
    """The last message of a place."""

    words: str
    level: Level
    first_s: float  # when it was first told
    told_s: float  # when it was last told
    next_s: float  # when it is told again
    count: int = 0  # since it was last told


class _Hour(msgspec.Struct):
    """How much a place has said of late."""

    began_s: float
    lines: int = 0
    untold: int = 0


class Log:
    """Tells each thing once; for one thread."""

    def __init__(
        self,
        stream: IO[str],
        clock: Callable[[], float] = time.monotonic,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._stream, self._clock = stream, clock
        self._journal = to_journal(stream, environment)
        self._places: dict[str, _Said] = {}  # the longest silent first
        self._hours: dict[str, _Hour] = {}
        self._lost = 0  # lines that nobody took

    def say(self, place: str, words: str, level: Level = "warning") -> None:
        """One message of a place: a microphone, an output, the disk."""
        now, said = self._clock(), self._places.pop(place, None)
        if said is None or (said.words, said.level) != (words, level):
            if said is not None:
                self._tell_count(place, said, now)
            self._write(level, place, words)
            said = _Said(words, level, now, now, now + AGAIN_S[0])
        else:
            said.count += 1
            if now >= said.next_s:
                self._tell_count(place, said, now)
                said.next_s = _next(said.first_s, now)
        self._places[place] = said
        if len(self._places) > PLACES:
            oldest = next(iter(self._places))
            self._tell_count(oldest, self._places.pop(oldest), now)

    def over(self, place: str) -> None:
        """What was last said of a place is over; nothing where nothing was said."""
        said = self._places.pop(place, None)
        if said is not None:
            more = f", {said.count} more" if said.count else ""
            self._write("info", place, f"over after {self._clock() - said.first_s:.0f} s ({said.words}{more})")

    def flush(self) -> None:
        """Tell what was counted and not yet told: the process ends."""
        now = self._clock()
        for place, said in self._places.items():
            self._tell_count(place, said, now)
        for place, hour in self._hours.items():
            self._tell_untold(place, hour, now)
        self._places.clear()
        self._hours.clear()

    def _tell_count(self, place: str, said: _Said, now: float) -> None:
        if said.count:
            self._write(said.level, place, f"{said.words} ({said.count} more in {now - said.told_s:.0f} s)")
        said.told_s, said.count = now, 0

    def _write(self, level: Level, place: str, words: str) -> None:
        """One line, unless its place has said too much within the hour."""
        now = self._clock()
        hour = self._hours.pop(place, None) or _Hour(now)
        if now - hour.began_s >= HOUR_S:
            self._tell_untold(place, hour, now)
            hour = _Hour(now)
        self._hours[place] = hour
        if len(self._hours) > PLACES:
            self._hours.pop(next(iter(self._hours)))
        hour.lines += 1
        if hour.lines > LINES:
            hour.untold += 1
            return
        self._put(level, place, words)
        if hour.lines == LINES:
            self._put("warning", place, f"{LINES} lines within an hour; what follows is counted until it is over")

    def _tell_untold(self, place: str, hour: _Hour, now: float) -> None:
        if hour.untold:
            self._put("warning", place, f"{hour.untold} lines not told in {now - hour.began_s:.0f} s")

    def _put(self, level: Level, place: str, words: str) -> None:
        """A terminal, pipe or disk that takes nothing is no reason to stop listening."""
        if not writable(self._stream):
            self._lost += 1
            return
        if self._lost:
            words, self._lost = f"{words} ({self._lost} lines before it were lost)", 0
        mark = f"<{PRIORITY[level]}>" if self._journal else f"{level} "
        line = "".join(one if one.isprintable() else "?" for one in " ".join(f"{place}: {words}".split()))
        line = line if len(line) <= LONGEST else f"{line[:LONGEST]}…"
        with suppress(OSError, ValueError):
            self._stream.write(f"{mark}{line}\n")
            self._stream.flush()


def _next(first_s: float, now: float) -> float:
    """When a message that was told again just now is told the next time."""
    return next((first_s + after for after in AGAIN_S[:-1] if first_s + after > now), now + AGAIN_S[-1])


def writable(stream: IO[str]) -> bool:
    """Whether a line goes out without waiting; what has no file takes everything."""
    poll = select.poll()
    try:
        poll.register(stream, select.POLLOUT)
    except (OSError, ValueError, TypeError):
        return True
    return bool(poll.poll(0.0))


def to_journal(stream: IO[str], environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the stream is the one that systemd has made for its journal (device:inode, systemd.exec(5))."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
