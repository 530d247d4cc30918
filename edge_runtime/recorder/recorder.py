"""Told of every block, window and change of an alarm; keeps what was heard around it. It copies, counts and leaves.

An event opens when the level of an anomaly reaches `settings.level` and is written at once, with all that led to it: a
crash in the middle of the fault loses nothing of that. It is written again when it is over.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial

from edge_runtime.alarm.words import RANK, Change, Level, Status
from edge_runtime.detector import Window
from edge_runtime.features import SAMPLE_RATE, Floats
from edge_runtime.journal.rows import Moment
from edge_runtime.journal.steady import Steady
from edge_runtime.reason import Reason, nearest_number
from edge_runtime.recorder.event import State
from edge_runtime.recorder.going import Going, Heard, Watched, distance, folder_name
from edge_runtime.recorder.memory import Memory, in_16_bits
from edge_runtime.recorder.normals import Normal, Normals
from edge_runtime.recorder.settings import RecorderSettings
from edge_runtime.recorder.shelf import Removed, Row
from edge_runtime.recorder.writer import Writer
from edge_runtime.scoring import Machine

SLACK_S = 10.0  # seconds of sound beyond the longest event: so long an event may wait for the disk
MOST = 64  # events that go on or wait; a disk that hangs must not fill the memory with them
SWEEP_S = 60.0  # between two looks at age and budget
WELL_BELOW = 0.5  # of the way from the median of normal scores (0) to the threshold (1): a normal sound is below


class Recorder:
    """For one thread; what is written is written in another."""

    def __init__(
        self,
        site: str,
        settings: RecorderSettings,
        watched: Iterable[Watched],
        statuses: Iterable[Status],
        writer: Writer,
        normals: Normals,
        taken: Iterable[str] = (),
        wait_s: float = 0.0,
    ) -> None:
        """`statuses`: of every alarm, as before a restart; `taken`: names of the events that are there; `wait_s`: that
        who tells of files may be kept waiting.
        """  # fmt: skip
        self._site, self._settings, self._wait_s = site, settings, wait_s
        self._watched = {one.machine.name: one for one in watched}
        self._writer, self._normals = writer, normals
        longest = round((settings.longest_s + SLACK_S) * SAMPLE_RATE)
        columns: dict[str, int] = {}
        for one in self._watched.values():
            columns[one.microphone] = max(columns.get(one.microphone, 0), one.column + 1)
        self._memories = {name: Memory(longest, channels) for name, channels in columns.items()}
        self._windows: dict[str, deque[Heard]] = {
            name: deque(maxlen=longest // one.hop + 2) for name, one in self._watched.items()
        }
        self._last: dict[str, Floats] = {}  # log-mel [frames, n_mels] of the window at hand: a view
        self._levels: dict[str, Level] = {}
        self._hidden: set[str] = set()  # machines that people work on
        for status in statuses:
            self._know(status.machine, status.kind, status.level, status.state)
        self._calm = {name: _calm(one.machine) for name, one in self._watched.items()}
        self._events: list[Going] = []
        self._ids = set(taken)
        self._sweep_s, self._steady = float("-inf"), Steady()

    @property
    def busy(self) -> bool:
        """Whether something is being written."""
        return self._writer.busy

    def sound(self, microphone: str, at: int, samples: Floats, new: bool) -> None:
        """The next block [n, channels] of a microphone; its first sample is at that place of the stream."""
        for one in list(self._events):  # of what came before, every window is judged
            if one.watched.microphone == microphone:
                self._proceed(one, self._wait_s)
        self._memories[microphone].push(at, samples, new)

    def window(self, name: str, begin: int, window: Window, moment: Moment) -> None:
        """A window of the recording that began at that sample of the stream, before anything follows from it."""
        heard = Heard(
            begin + window.start,
            begin + window.end,
            window.score,
            window.decision,
            window.quality.level_dbfs,
            window.quality.faults,
        )
        self._windows[name].append(heard)
        self._last[name] = window.heard.mel
        for one in self._events:
            if one.machine == name and one.ends is None and window.score is not None:
                one.score = window.score if one.score is None else max(one.score, window.score)
        self._consider(name, window, moment)

    def changed(self, change: Change, moment: Moment, since_s: float | None, reason: Reason | None) -> None:
        """An alarm is another; `since_s`, `reason`: where a window led to it."""
        self._know(change.machine, change.kind, change.level, change.state)
        going = next((one for one in self._events if one.machine == change.machine and one.ends is None), None)
        if going is not None and change.machine in self._hidden:
            self._end(going, "whole")
        if change.kind != "anomaly" or since_s is None:
            return
        there = RANK[change.level] >= RANK[self._settings.level]
        at = round(moment.at_s * SAMPLE_RATE)
        if going is None:
            if there and len(self._events) < MOST and reason is not None and change.machine not in self._hidden:
                self._open(self._watched[change.machine], change, moment, round(since_s * SAMPLE_RATE), at, reason)
        elif not there:
            going.returned = at
        else:
            going.returned = None
            if RANK[change.level] > RANK[going.level]:
                going.level, going.reason = change.level, reason or going.reason

    def attend(self, moment: Moment) -> Iterator[Row]:
        """Once round the loop -> what has become of event folders."""
        trusted = self._steady.at(moment.now_s, moment.utc_s, moment.clock)
        if moment.now_s >= self._sweep_s + SWEEP_S:
            self._sweep_s = moment.now_s
            self._writer.put(partial(self._writer.sweep, trusted))
        for row in self._writer.changes():
            if isinstance(row, Removed):
                self._ids.discard(row.id)
            yield row

    def notices(self) -> Iterator[str]:
        """Lines for people since this was last asked."""
        return self._writer.notices()

    def close(self, within_s: float) -> bool:
        """No more sound comes: what goes on is cut here; whether all is written in time."""
        end_s = time.monotonic() + within_s
        for one in list(self._events):
            left_s = max(0.0, end_s - time.monotonic())
            self._proceed(one, left_s)
            if one.ends is None:
                self._end(one, "cut")
                self._write(one, left_s)
        return self._writer.close(max(0.0, end_s - time.monotonic()))

    def _know(self, machine: str, kind: str, level: Level, state: str) -> None:
        if kind == "anomaly":
            self._levels[machine] = level
            (self._hidden.add if state == "out_of_service" else self._hidden.discard)(machine)

    def _open(self, of: Watched, change: Change, moment: Moment, since: int, at: int, reason: Reason) -> None:
        memory, settings = self._memories[of.microphone], self._settings
        longest = round(settings.longest_s * SAMPLE_RATE)
        behind = round(min(settings.after_s, settings.longest_s / 2) * SAMPLE_RATE)  # the raise is always in it
        start = max(since - of.window - round(settings.before_s * SAMPLE_RATE), memory.oldest, at + behind - longest)
        mel = self._last[of.machine.name].mean(axis=0)
        last = self._windows[of.machine.name][-1].score
        name = self._new_id(of.machine.name, moment)
        one = Going(name, of, moment.time, moment.clock, start, since, at, longest, change.level, last, reason, mel)
        self._events.append(one)
        self._write(one, self._wait_s)

    def _new_id(self, machine: str, moment: Moment) -> str:
        """Names stay apart, whatever the clock does."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(moment.utc_s))
        wanted = name = f"{stamp}-{folder_name(machine)}"
        number = 1
        while name in self._ids:
            number += 1
            name = f"{wanted}.{number}"
        self._ids.add(name)
        return name

    def _proceed(self, one: Going, wait_s: float) -> None:
        """Time has passed."""
        if one.ends is None:
            end = one.start + one.longest
            if one.returned is not None:
                end = min(end, one.returned + round(self._settings.after_s * SAMPLE_RATE))
            if self._memories[one.watched.microphone].at >= end:
                self._end(one, "whole", end)
        if one.due:
            self._write(one, wait_s)

    def _end(self, one: Going, state: State, end: int | None = None) -> None:
        """At that sample, or at the last that was heard."""
        one.ends = self._memories[one.watched.microphone].at if end is None else end
        one.state, one.due = state, True

    def _write(self, one: Going, wait_s: float) -> bool:
        """Whether the thread takes it; else it is tried again with the next block."""
        if not (wait_s or self._writer.has_room):
            return False
        heard = self._windows[one.machine]
        draft = one.draft(self._memories[one.watched.microphone], heard, self._site, self._settings)
        job = partial(self._writer.too_late, one.id) if draft is None else partial(self._writer.event, draft)
        done = self._writer.put(job, wait_s)
        if done:
            one.due = False
            if one.ends is not None:
                self._events.remove(one)
        return done

    def _consider(self, name: str, window: Window, moment: Moment) -> None:
        """A window that is normal without doubt is kept to be compared with, while nobody's alarm is active."""
        if self._settings.privacy != "sound" or window.score is None or window.quality.faults:
            return
        if not window.score <= self._calm[name] or name in self._hidden or self._events:
            return
        if any(level != "normal" for level in self._levels.values()):
            return
        of, level = self._watched[name], window.heard.mel.mean(axis=0)
        number = nearest_number(level, of.machine.normal_spectra)
        if not self._normals.wants(name, number, moment.now_s):
            return
        sound = in_16_bits(window.heard.sound)
        heard = Normal(name, moment.time, moment.clock, [round(float(one), 1) for one in level])
        self._writer.put(partial(self._normals.keep, folder_name(name), number, sound, heard))


def _calm(machine: Machine) -> float:
    """The score up to which a window is normal without doubt; none is where that is not known."""
    unit = distance(machine)
    return float("-inf") if unit is None else machine.threshold - (1.0 - WELL_BELOW) * unit
