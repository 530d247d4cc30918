"""Sends changes of alarms to an address as JSON: at least once each, in order, for as long as it takes.

Answers 2xx: done. What concerns the address, the token or the moment (nothing answers, 401, 404, 429, 5xx, a redirect):
the message waits, and is tried again after 1, 2, 5, ... at most 60 s. What concerns the message itself (400, 413, 422):
it is set aside, and the next one goes on. What waits lies in STATE/outbox/NAME and outlives a restart.

Two threads: one sends, one keeps the files. Neither a receiver nor a disk that hangs delays the listening.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime import utc
from edge_runtime.alarm import Status
from edge_runtime.outputs import Told
from edge_runtime.outputs.asked import Asked
from edge_runtime.outputs.message import Message, message
from edge_runtime.outputs.missed import missed
from edge_runtime.outputs.outbox import Outbox
from edge_runtime.outputs.settings import WebhookSettings
from edge_runtime.outputs.worker import OutputError, Worker

if TYPE_CHECKING:
    from edge_runtime.outputs.receiver import Answer, Receiver

PAUSES_S = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)  # seconds after the first failure, the second, ...
LONGEST_PAUSE_S = 300.0  # that a receiver may ask for with Retry-After
WAIT = (401, 403, 404, 405, 407, 408, 410, 421, 425, 426, 429)  # 4xx that say nothing of the message itself
ADVICE = {
    401: "it wants a token, or another one: see token_file",
    403: "the token may not do this: see token_file",
    404: "see the path of url",
    405: "see the path of url",
    429: "it is asked again later",
}
FEED_S = 1.0  # seconds between looks at what waits
SAVE_S = 10.0  # seconds before a disk that failed is tried again
ABORT_S = 0.2  # seconds that are kept for ending a try that goes on


class Courier:
    """Delivers what is in an outbox, the oldest first, one at a time."""

    def __init__(
        self,
        outbox: Outbox,
        post: "Callable[[Message], Answer]",
        place: str,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox, self._post, self._place, self._say, self._clock = outbox, post, place, say, clock
        self._failures = 0  # in a row
        self._next_s = clock()
        self._refusal, self._refused = 0, 0  # status that was said, how many messages since

    @property
    def due(self) -> bool:
        """Whether something waits, and the pause is over."""
        return len(self._outbox) > 0 and self._clock() >= self._next_s

    def deliver(self) -> None:
        """One try; an OutputError says why the message has to wait."""
        entry = self._outbox.first()
        if entry is None:
            return
        asked_s = 0.0
        try:
            answer = self._post(entry.message)
            asked_s = answer.retry_after_s
            if waits(answer.status):
                raise OutputError(self._words(answer))
        except Exception:  # whatever it is, the message stays and is tried again
            self._outbox.release(entry)
            pause_s = PAUSES_S[min(self._failures, len(PAUSES_S) - 1)]
            self._next_s = self._clock() + max(pause_s, min(asked_s, LONGEST_PAUSE_S))
            self._failures += 1
            raise
        self._failures = 0
        if entry.dropped:
            self._say(f"{entry.dropped} messages before the one of now were dropped, its queue was full")
        if answer.status >= 300:
            self._set_aside(answer, self._outbox.refuse(entry, f"refused-{answer.status}"))
            return
        self._outbox.done(entry)
        if self._refused > 1:
            self._say(f"{self._refused} messages were refused ({self._refusal})")
        self._refusal = self._refused = 0

    def _set_aside(self, answer: "Answer", where: Path | None) -> None:
        """Said once for each status."""
        if answer.status != self._refusal:
            lies = "it is lost" if where is None else f"it lies in {where}"
            why = f"{answer.status} {answer.reason} {answer.words}".strip()
            self._say(f"{self._place} refuses a message ({why}); {lies}, the next goes on")
            self._refusal, self._refused = answer.status, 0
        self._refused += 1

    def _words(self, answer: "Answer") -> str:
        """Without its text, which may be another at each try, and so would be said at each."""
        if 300 <= answer.status < 400:
            to = f" (to {answer.location})" if answer.location else ""
            todo = f"redirects are not followed{to}: give the address that it is now as url"
        else:
            todo = ADVICE.get(answer.status, "it is asked again until it takes them")
        return f"{self._place} takes no messages ({answer.status} {answer.reason}); {todo}"


def waits(status: int) -> bool:
    """Whether an answer says nothing of the message itself, so that it is sent again."""
    return not 200 <= status < 300 and (not 400 <= status < 500 or status in WAIT)


class Webhook:
    """One message after another."""

    def __init__(self, name: str, settings: WebhookSettings, site: str = "", folder: Path | None = None) -> None:
        """`folder`: of what waits; None: in memory alone, which a restart forgets."""
        self.name, self._site, self._folder = name, site, folder
        self._settings, self._asked = settings, Asked(settings)
        hang_s = settings.timeout_s + FEED_S
        self._sender: Worker[None] = Worker(name, lambda _: self._send(), states=True, hang_s=hang_s)
        self._outbox = Outbox(folder, settings.queue, self._sender.say)
        self._receiver: Receiver | None = None
        self._courier = Courier(self._outbox, self._post, settings.place, self._sender.say)
        again = "its queue is on the disk again"
        self._keeper: Worker[None] = Worker(f"{name} disk", lambda _: self._outbox.save(), states=True, again=again)
        self._closing = threading.Event()
        self._full, self._first = False, True
        self._fed = self._saved = time.monotonic()
        self._wake()

    def update(self, changes: Sequence[Told], now: Sequence[Status]) -> None:
        """Queue the changes that it asks for."""
        if self._first:
            self._first = False
            told = {(one.change.machine, one.change.kind) for one in changes}
            self._begin([status for status in now if (status.machine, status.kind) not in told])
        self._tell(changes)
        self._outbox.stand(now)
        self._wake()

    def feed(self, judged: bool) -> None:
        """A look now and then whether something waits and may be tried again."""
        now_s = time.monotonic()
        if now_s - self._fed < FEED_S:
            return
        self._fed = now_s
        if self._courier.due:
            self._sender.put(None)
        if self._outbox.dirty and now_s - self._saved >= SAVE_S:
            self._wake()

    def failures(self) -> Iterator[str]:
        """What went wrong since last asked."""
        yield from self._sender.failures()
        yield from self._keeper.failures()

    def close(self, within_s: float) -> None:
        """Deliver what can be within that time, and leave the rest on the disk."""
        deadline = time.monotonic() + within_s - ABORT_S
        self._keeper.stop(within_s / 2.0, finish=True)  # first: what is told last is safe
        if not self._sender.stop(deadline - time.monotonic(), finish=True):
            self._closing.set()
            if self._receiver is not None:
                self._receiver.abort()
            self._sender.stop(ABORT_S, finish=False)
        left = len(self._outbox)
        if left:
            kept = self._outbox.kept
            self._sender.say(f"{left} messages are not delivered; {kept} of them wait for the next start")

    def _begin(self, now: Sequence[Status]) -> None:
        """What became of alarms since the messages that are safe; one that is new to a site is told what stands."""
        seen = self._outbox.seen
        self._asked.see(now if seen is None else seen)
        if self._folder is not None:
            self._tell(missed(seen or (), now, utc.now()))

    def _tell(self, changes: Iterable[Told]) -> None:
        """Queue what is asked for."""
        for told in changes:
            if not self._asked.for_it(told):
                continue
            dropped = self._outbox.put(message(told, self._site))
            if dropped and not self._full:
                self._sender.say(f"{self._settings.queue} messages wait, its queue is full: the oldest go")
            self._full = dropped

    def _wake(self) -> None:
        """Both threads, where there is something to do."""
        self._saved = time.monotonic()
        if self._outbox.dirty:
            self._keeper.put(None)
        if self._courier.due:
            self._sender.put(None)

    def _send(self) -> None:
        """In the sender's thread."""
        if self._closing.is_set():
            return
        self._courier.deliver()
        if self._courier.due:
            self._sender.put(None)

    def _post(self, message: Message) -> "Answer":
        if self._receiver is None:
            from edge_runtime.outputs.receiver import Receiver  # late: TLS and HTTP are for who sends

            self._receiver = Receiver(self._settings)
        return self._receiver.post(message)
