"""The signs of life of who listens: how everything is, each second in memory and each minute in the journal; scores.

What a page or the shell shows comes from here. Nothing of it decides anything, and nothing that goes wrong with it
stops the listening.
"""

from __future__ import annotations

import bisect
import functools
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any, TypeVar

from edge_runtime import utc
from edge_runtime.cli import say
from edge_runtime.journal.live import Live
from edge_runtime.journal.rows import Beat, Heard, Latency, Microphone, Moment, Spell
from edge_runtime.journal.spells import Spells
from edge_runtime.listening import events

if TYPE_CHECKING:
    from edge_runtime.journal import Journal
    from edge_runtime.listening.monitor import Monitor
    from edge_runtime.listening.panel import Panel
    from edge_runtime.listening.post import Post

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # of the classes of a window's latency
OVER = 500  # minutes of machines, which the journal cannot write, that are still shown
Told = TypeVar("Told", bound=Callable[..., None])


def guarded(told: Told) -> Told:
    """What goes wrong in it is said once and ends the signs; the listening and its alarms go on."""

    @functools.wraps(told)
    def trying(self: Signs, *what: Any) -> None:
        if self.over:
            return
        try:
            told(self, *what)
        except Exception as error:  # whatever it is, nobody listens the less
            self.end(f"fails: {type(error).__name__}: {error}; nothing new is shown until a restart, scoring goes on")

    return trying  # type: ignore[return-value]


class Signs:
    """Told of everything that the listener tells."""

    def __init__(self, journal: Journal, live: Live, backend: str, warn: Callable[[str], None] = say) -> None:
        """`backend`: who runs the network at first."""
        self._journal, self._live, self._backend, self._warn = journal, live, backend, warn
        self.over = False  # something failed: nothing more is shown
        self._spells = Spells()
        self._over: deque[Spell] = deque(maxlen=OVER)  # that the journal has, and has not written yet
        self._windows: dict[str, events.Window] = {}  # the last of each machine
        self._valid_s: dict[str, float] = {}  # UTC of the last one with a score, seconds since 1970
        self._lost: dict[str, int] = {}  # windows of each machine that are in a spell already
        self._microphones: dict[str, tuple[bool, str]] = {}
        self._counts, self._sum_s = [0] * (len(BOUNDS_S) + 1), 0.0
        self._started = utc.now("seconds")

    @guarded
    def window(self, window: events.Window, utc_s: float, took_s: float) -> None:
        """A window was judged, which took so many seconds from the block that completed it."""
        self._windows[window.machine] = window
        if window.score is not None:
            self._valid_s[window.machine] = utc_s
        found = window.score, window.decision, window.level_dbfs, window.faults
        self._keep(self._spells.add(window.machine, utc_s, *found))
        self._counts[class_of(took_s)] += 1
        self._sum_s += took_s

    @guarded
    def tell(self, event: events.Event, time: str) -> None:
        """Anything else that is told."""
        if isinstance(event, events.Window):
            return
        if isinstance(event, events.Microphone):
            self._microphones[event.microphone] = event.listening, event.reason
            self._journal.noted(time, f"microphone {event.microphone}", event.reason)
        elif isinstance(event, events.Notice):
            self._journal.noted(time, event.about, event.words)
        elif isinstance(event, events.Backend):
            self._backend = self._backend if event.name == "network" else event.name
            self._journal.noted(time, "network", f"{event.name}: {event.reason}")

    @guarded
    def show(self, posts: Sequence[Post], panel: Panel, moment: Moment) -> None:
        """Once round the loop: in memory each second, in the journal each minute."""
        if self._live.due(moment.now_s):
            self._live.show(self._beat(posts, panel, moment, [*self._over, *self._spells.recent]))
        if self._journal.due(moment.now_s):
            self._account(posts, moment)
            self._keep(self._spells.over(moment.utc_s))
            if self._journal.beat(self._beat(posts, panel, moment), panel.kept(moment.now_s), moment.utc_s):
                self._over.clear()

    @guarded
    def close(self, posts: Sequence[Post], panel: Panel, moment: Moment) -> None:
        """The last sign of life, and the minute that is not over."""
        self._account(posts, moment)
        self._journal.spells(self._spells.rest())
        self._journal.beat(self._beat(posts, panel, moment), panel.kept(moment.now_s), moment.utc_s)
        self._live.close()

    def end(self, words: str) -> None:
        """Nobody shall take what is shown for what is heard now."""
        self.over = True
        self._warn(words)
        self._live.close()

    def _account(self, posts: Sequence[Post], moment: Moment) -> None:
        """Windows that lost sound made impossible since the last time."""
        for monitor in _monitors(posts):
            new = monitor.grid.lost - self._lost.get(monitor.name, 0)
            if new:
                self._lost[monitor.name] = monitor.grid.lost
                self._keep(self._spells.lost(monitor.name, moment.utc_s, new))

    def _keep(self, over: Iterable[Spell]) -> None:
        """For the journal, and until it is written for those who look into memory."""
        for spell in over:
            self._over.append(spell)
            self._journal.spells([spell])

    def _beat(self, posts: Sequence[Post], panel: Panel, moment: Moment, recent: Sequence[object] = ()) -> Beat:
        return Beat(
            os.getpid(),
            moment.time,
            time.monotonic(),
            [self._heard(monitor, panel) for monitor in _monitors(posts)],
            [self._microphone(post) for post in posts],
            self._started,
            VERSION,
            self._backend,
            moment.clock,
            Latency(list(BOUNDS_S), list(self._counts), self._sum_s),
            list(recent),  # type: ignore[arg-type]
        )

    def _heard(self, monitor: Monitor, panel: Panel) -> Heard:
        status, last = panel.status(monitor.name), self._windows.get(monitor.name)
        return Heard(
            monitor.name,
            status.state,
            status.level,
            monitor.listening and monitor.scored > 0,
            last.score if last else None,
            monitor.above,
            last.time if last else "",
            last.level_dbfs if last else None,
            last.clipped if last else 0.0,
            last.faults if last else [],
            monitor.scored,
            monitor.unfit,
            monitor.grid.lost,
            self._valid_s.get(monitor.name),
        )

    def _microphone(self, post: Post) -> Microphone:
        listening, reason = self._microphones.get(post.name, (post.at > post.lost, ""))
        lost_s = post.lost / post.sample_rate
        return Microphone(post.name, post.source.name, listening, reason, lost_s, post.source.drift_ppm)


def class_of(took_s: float) -> int:
    """The place of a latency among the counts."""
    return bisect.bisect_left(BOUNDS_S, took_s)


def _monitors(posts: Sequence[Post]) -> Iterator[Monitor]:
    for post in posts:
        yield from post.monitors


def _version() -> str:
    try:
        return metadata.version("auscult")
    except metadata.PackageNotFoundError:  # a checkout that was never installed
        return "unknown"


VERSION = _version()
