"""Source -> detector -> alarm -> events and outputs: one machine, listened to until the sound or the user ends it."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from edge_runtime import detector, events
from edge_runtime.alarm import AlarmSettings, Condition
from edge_runtime.backends.standby import Change
from edge_runtime.detector import Detector
from edge_runtime.errors import AuscultError
from edge_runtime.outputs import Output
from edge_runtime.recorder import Recorder
from edge_runtime.source import Block, Source


class Service:
    """Knows where in the stream it is: samples since the start, lost ones included."""

    def __init__(
        self,
        detector: Detector,
        settings: AlarmSettings,
        tell: Callable[[events.Event], None],
        outputs: Sequence[Output] = (),
        recorder: Recorder | None = None,
        changes: Callable[[], Iterable[Change]] = tuple,
    ) -> None:
        """`changes`: who has taken over the network since this was last asked, where more than one may."""
        self._detector, self._tell, self._outputs, self._recorder = detector, tell, outputs, recorder
        self._changes = changes
        self._rate = detector.model.sample_rate
        self._condition = Condition(settings, detector.machine, self._rate)
        self._name = ""  # of the recording
        self._at = 0  # the next sample
        self._begin = 0  # first sample of the recording
        self._lost = self._windows = self._unfit = self._alarms = 0

    def listen(self, source: Source, stop: threading.Event, seconds: float | None = None) -> None:
        """Until the sound ends, `stop` is set, or `seconds` of sound were heard; "end" is always told."""
        error: str | None = None
        try:
            for block in until(source.blocks(), stop, None if seconds is None else round(seconds * self._rate)):
                self.take(block)
        except BaseException as reason:  # an interrupt too: "end" says why, whatever it was
            error = str(reason) if isinstance(reason, AuscultError) else type(reason).__name__
            raise
        finally:
            source.close()
            if self._recorder is not None:
                self._recorder.close()
            self._tell_changes(self._at)
            self._tell(self._end(error))
            for output in self._outputs:
                output.close()

    def take(self, block: Block) -> None:
        """The next block of the stream."""
        if block.lost:
            self._tell(events.Lost(self._seconds(self._at), block.lost))
            self._lost += block.lost
            self._at += block.lost
        if block.new or block.lost:
            self._start_recording(block.new or self._name)
        if self._recorder is not None:
            self._recorder.write(block.samples)
        self._at += len(block.samples)
        for window in self._detector.push(block.samples):
            self._judge(window)

    def _start_recording(self, name: str) -> None:
        """No window spans two recordings, and no delay counts the time between them."""
        self._name, self._begin = name, self._at
        self._detector.reset()
        self._condition.update(self._at, None)
        if self._recorder is not None:
            self._recorder.begin()
        self._tell(events.Recording(self._seconds(self._at), name))

    def _judge(self, window: detector.Window) -> None:
        start, end = self._begin + window.start, self._begin + window.end
        with self._detector.stages("alarm"):
            before, level = self._condition.level, self._condition.update(end, window.score)
        self._windows += 1
        self._unfit += window.score is None
        found = window.quality
        self._tell_changes(end)
        self._tell(
            events.Window(
                self._seconds(start),
                self._seconds(end),
                window.score,
                window.decision,
                level,
                found.level_dbfs,
                found.clipped,
                found.faults,
            )
        )
        if level != before and window.score is not None:
            kind = events.Alarm if level == "alarm" else events.Normal
            event = kind(self._seconds(end), self._seconds(self._condition.since), window.score)
            self._alarms += level == "alarm"
            self._tell(event)
            for output in self._outputs:
                output.send(event)

    def _tell_changes(self, at: int) -> None:
        for change in self._changes():
            self._tell(events.Backend(self._seconds(at), change.name, change.reason))

    def _seconds(self, sample: int) -> float:
        return sample / self._rate

    def _end(self, error: str | None) -> events.End:
        heard = self._seconds(self._at - self._lost)
        return events.End(heard, self._windows, self._unfit, self._alarms, self._lost, error)


def until(blocks: Iterable[Block], stop: threading.Event, samples: int | None = None) -> Iterator[Block]:
    """The same blocks until `stop` is set; the last is cut so that there are `samples` samples at most."""
    left = samples
    for block in blocks:
        if stop.is_set():
            return
        if left is None or len(block.samples) < left:
            yield block
        else:
            yield Block(block.samples[:left], block.lost, block.new)
            return
        if left is not None:
            left -= len(block.samples)


@contextlib.contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set, so that a run ends in order; the second one ends it at once."""
    stop = threading.Event()

    def handle(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
