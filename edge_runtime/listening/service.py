"""The loop: sources -> posts -> monitors -> journal, events and outputs, until the sound or the user ends it.

One thread. It waits for sound for at most `POLL_S`, so that time, people and a signal are never kept waiting; outputs,
engines and microphones have threads and processes of their own.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from edge_runtime import alarm, utc
from edge_runtime.alarm.words import ACTIVE, HIDDEN
from edge_runtime.backends.standby import Change
from edge_runtime.capture import Block
from edge_runtime.capture.clock import WallClock
from edge_runtime.capture.listen import wait
from edge_runtime.errors import AuscultError
from edge_runtime.journal.rows import Moment
from edge_runtime.listening import events
from edge_runtime.listening.annunciator import Annunciator
from edge_runtime.listening.monitor import Finding, Monitor
from edge_runtime.listening.notify import Notify
from edge_runtime.listening.panel import Panel
from edge_runtime.listening.post import Began, Gap, Judged, Post
from edge_runtime.outputs import Told
from edge_runtime.stages import UNMEASURED, Stages

if TYPE_CHECKING:
    from edge_runtime.listening.recording import Recording
    from edge_runtime.listening.signs import Signs

POLL_S = 0.05  # the longest wait for sound
CLOSE_S = 1.0  # that all outputs together may take to end
JUMPED_S = 60.0  # for so long the times after a jump say so
Notices = Callable[[], Iterable[tuple[str, str]]]


class Service:
    """Listens to posts until told otherwise."""

    def __init__(
        self,
        posts: Sequence[Post],
        tell: Callable[[events.Event], None],
        panel: Panel,
        annunciator: Annunciator | None = None,
        backends: Callable[[], Iterable[Change]] = tuple,
        notices: Sequence[Notices] = (),
        notify: Notify | None = None,
        stages: Stages = UNMEASURED,
        signs: Signs | None = None,
        recording: Recording | None = None,
    ) -> None:
        """`backends`: who computes now, and why, since last asked; `notices`: (about what, words) since last asked.

        `signs`: what others see of the listening; it is told of everything. `recording`: keeps sound around alarms.
        """
        self._recording = recording
        self._posts, self._told, self._panel, self._stages, self._signs = posts, tell, panel, stages, signs
        self._backends, self._notices = backends, notices
        self._notify, self._annunciator = notify or Notify(), annunciator or Annunciator()
        self._clock = WallClock()
        self._jumped_s: float | None = None  # when the wall clock was last seen to be set
        self._judged = False  # whether a window was scored, judged unfit or counted as lost in this turn
        self._took_s = 0.0  # monotonic seconds at which the block at hand was taken

    def listen(self, stop: threading.Event, seconds: float | None = None) -> None:
        """Until the sound ends, `stop` is set, or `seconds` of sound were heard; "end" is always told."""
        error: str | None = None
        try:
            self._annunciator.update([], self._panel.statuses)  # those of before a restart, too
            self._notify.ready()
            while not (stop.is_set() or self._over(seconds)):
                if not self.turn(seconds):
                    self._wait()
        except BaseException as reason:  # an interrupt too: "end" says why, whatever it was
            error = str(reason) if isinstance(reason, AuscultError) else type(reason).__name__
            raise
        finally:
            self.close(error, seconds)

    def turn(self, seconds: float | None = None) -> bool:
        """Once round: take what there is -> whether there was sound."""
        self._judged = worked = False
        for post in self._posts:
            for block in post.source.take():
                worked = worked or len(block.samples) > 0
                self.take(post, _cut(block, post, seconds))
            for change in post.source.changes():
                self._tell(events.Microphone(post.now_s, post.name, change.listening, change.reason))
            for monitor in post.monitors:
                self._findings(post.now_s, monitor.tick(post.now_s))
        self._attend()
        return worked

    def take(self, post: Post, block: Block) -> None:
        """The next block of a post."""
        self._took_s = time.monotonic()
        if self._recording is not None:
            self._recording.sound(post, block)
        for found in post.take(block):
            if isinstance(found, Judged):
                self._window(post, found)
            elif isinstance(found, Began):
                self._tell(events.Recording(found.at / post.sample_rate, found.name, post.name))
            elif isinstance(found, Gap):
                self._tell(events.Lost(found.began / post.sample_rate, found.samples, post.name))
            else:
                self._judged = self._judged or found.windows > 0

    def _window(self, post: Post, judged: Judged) -> None:
        monitor, window = judged.monitor, judged.window
        with self._stages("alarm"):
            findings = list(monitor.hear(window, judged.begin))
        self._judged = True
        start_s, end_s = [(judged.begin + sample) / post.sample_rate for sample in (window.start, window.end)]
        found, moment = window.quality, self._moment(end_s)
        if self._recording is not None:
            self._recording.window(judged, moment)
        self._tell_backends(end_s)
        told = events.Window(
            start_s,
            end_s,
            window.score,
            window.decision,
            monitor.level if monitor.listening else "not_listening",
            found.level_dbfs,
            found.clipped,
            found.faults,
            monitor.name,
            moment.time,
        )
        self._tell(told)
        self._findings(end_s, findings)
        if self._signs is not None:
            self._signs.window(told, moment.utc_s, time.monotonic() - self._took_s)

    def _tell(self, event: events.Event) -> None:
        self._told(event)
        if self._signs is not None:
            self._signs.tell(event, utc.now("seconds"))

    def _findings(self, at_s: float, findings: Iterable[Finding]) -> None:
        for found in findings:
            moment, words = self._moment(at_s), "" if found.reason is None else found.reason.words
            change = self._panel.raised(found.machine, found.kind, found.level, moment, found.score, words, found.why)
            if change is not None:
                self._changed(change, moment, found)

    def _changed(self, change: alarm.Change, moment: Moment, found: Finding | None = None) -> None:
        """It is in the journal already; now it is told."""
        score, reason, since_s = (found.score, found.reason, found.since_s) if found else (None, None, None)
        if self._recording is not None:
            self._recording.changed(change, moment, since_s, reason)
        told = Told(change, moment.at_s, moment.time, score, change.why if reason is None else reason.words)
        self._tell(events.Alarm.of(told, since_s, moment.clock, reason))
        self._annunciator.update([told], self._panel.statuses)

    def _attend(self) -> None:
        """To people, outputs and the watchdog."""
        now_s = self._posts[0].now_s
        moment = self._moment(now_s)
        for change in self._panel.pass_time(moment):
            self._changed(change, moment)
        self._tell_backends(now_s)
        for notices in self._notices:
            for about, words in notices():
                self._tell(events.Notice(now_s, about, words))
        for output, words in self._annunciator.failures():
            self._tell(events.Notice(now_s, f"output {output}", words))
        self._tell_recorded(moment)
        self._annunciator.feed(self._known())
        if self._signs is not None:
            self._signs.show(self._posts, self._panel, moment)
        if self._judged:
            self._notify.watchdog()
            self._notify.status(self._status())

    def _tell_recorded(self, moment: Moment) -> None:
        for event in () if self._recording is None else self._recording.attend(moment):
            self._tell(event)

    def _status(self) -> str:
        """One line for `systemctl status`."""
        heard = sum(monitor.listening and monitor.scored > 0 for monitor in self.monitors)
        active = sum(status.state in ACTIVE for status in self._panel.statuses)
        return f"listens to {heard} of {len(self.monitors)} machines, {active} alarms are active"

    @property
    def monitors(self) -> list[Monitor]:
        """Of every machine."""
        return [monitor for post in self._posts for monitor in post.monitors]

    def _over(self, seconds: float | None) -> bool:
        """Whether all sound has ended, or one microphone has given enough of it."""
        enough = seconds is not None and any(_left(post, seconds) == 0 for post in self._posts)
        return enough or all(post.source.ended for post in self._posts)

    def _known(self) -> list[str]:
        """Machines that had a window since the start, or that somebody knows not to be listened to."""
        told = (*ACTIVE, *HIDDEN)
        return [
            one.name
            for one in self.monitors
            if one.scored + one.unfit or self._panel.status(one.name, "not_listening").state in told
        ]

    def _tell_backends(self, now_s: float) -> None:
        for change in self._backends():
            self._tell(events.Backend(now_s, change.name, change.reason))

    def _moment(self, at_s: float) -> Moment:
        """Now, on all clocks; a wall clock that jumps is told, and decides nothing."""
        now_s = time.monotonic()
        wall = self._clock.at(now_s)
        if wall.jump_s:
            self._jumped_s = now_s
            self._tell(events.Notice(at_s, "clock", f"the wall clock was set by {wall.jump_s:+.0f} s"))
        jumped = self._jumped_s is not None and now_s - self._jumped_s < JUMPED_S
        return Moment(now_s, wall.utc_s, at_s, "jumped" if jumped else wall.flag)

    def _wait(self) -> None:
        """For sound, or a moment."""
        wait((post.source.fileno() for post in self._posts), POLL_S)

    def close(self, error: str | None = None, seconds: float | None = None) -> None:
        """Everything is closed, whatever fails on the way."""
        self._notify.stopping()
        with contextlib.ExitStack() as stack:
            if self._signs is not None:
                stack.callback(self._signs.close, self._posts, self._panel, self._moment(self._posts[0].now_s))
            stack.callback(self._annunciator.close, CLOSE_S)
            for post in self._posts:
                stack.callback(self._tell_end, post, error)
            stack.callback(self._end_recording)
            for post in self._posts:
                stack.callback(self._account, post, seconds)
            stack.callback(self._close_sources)

    def _end_recording(self) -> None:
        """What is not over is cut here."""
        if self._recording is not None:
            self._recording.close()
            self._tell_recorded(self._moment(self._posts[0].now_s))

    def _close_sources(self) -> None:
        """Side by side: one that hangs takes nothing of the others' time."""
        ends = [threading.Thread(target=post.source.close, daemon=True) for post in self._posts]
        for end in ends:
            end.start()
        for end in ends:
            end.join(CLOSE_S / 2.0)

    def _account(self, post: Post, seconds: float | None) -> None:
        """A source that was closed gives what it still has."""
        for block in post.source.take():
            self.take(post, _cut(block, post, seconds))
        for gap in post.end():
            self._tell(events.Lost(gap.began / post.sample_rate, gap.samples, post.name))

    def _tell_end(self, post: Post, error: str | None) -> None:
        self._tell_backends(post.now_s)
        for monitor in post.monitors:
            self._tell(
                events.End(
                    seconds=(post.at - post.lost) / post.sample_rate,
                    windows=monitor.scored + monitor.unfit,
                    unfit=monitor.unfit,
                    alarms=monitor.raised,
                    lost_samples=post.lost,
                    error=error,
                    machine=monitor.name,
                    lost=monitor.grid.lost,
                    drift_ppm=post.source.drift_ppm,
                )
            )


def _cut(block: Block, post: Post, seconds: float | None) -> Block:
    """The same block, cut so that no more than so many seconds of sound are heard."""
    if seconds is None:
        return block
    return msgspec.structs.replace(block, samples=block.samples[: _left(post, seconds)])


def _left(post: Post, seconds: float) -> int:
    """Samples that are yet to be heard there."""
    return max(0, round(seconds * post.sample_rate) - (post.at - post.lost))
