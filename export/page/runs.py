"""The events of a listening run -> what its chart shows: segments of scores, alarms, sound that was not scored."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from edge_runtime.errors import DataError
from edge_runtime.listening.events import Alarm, End, Lost, Recording, Start, Window
from export.page.content import Spans

Known = Start | Recording | Window | Alarm | Lost | End
KINDS = {"start", "recording", "window", "alarm", "lost", "end"}


class AlarmSpan(msgspec.Struct, frozen=True):
    """One alarm from its beginning to its end, seconds; it is still on where `over` is false."""

    start: float
    end: float
    since: float
    score: float | None
    over: bool
    level: str = "alarm"  # or "warning", when it began
    why: str = ""  # its reason, in words


class Run(msgspec.Struct, frozen=True):
    """A run in the order of time, every moment in seconds of sound since its start."""

    start: Start | None
    seconds: float  # when it ended, or the last of what is told
    ended: bool  # whether its last line is there
    recordings: list[Recording]
    segments: list[list[Window]]  # of one recording each, nothing missing between two windows
    alarms: list[AlarmSpan]
    lost: list[Lost]

    @property
    def windows(self) -> list[Window]:
        """All windows, scored or not."""
        return [window for segment in self.segments for window in segment]


def read_events(file: Path, machine: str) -> list[dict[str, Any]]:
    """The lines of a machine in an event file; of several runs the last. A line still being written is left out."""
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}; give what `run … --events` wrote") from None
    events: list[dict[str, Any]] = []
    others: set[str] = set()
    for number, line in enumerate(lines, 1):
        try:
            event = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            if number == len(lines):
                break
            raise DataError(f"{file}, line {number}: no event ({error}); give what `run … --events` wrote") from None
        if event.get("machine") not in (None, "", machine):
            others.add(str(event["machine"]))
        elif event.get("event") == "start":
            events = [event]
        else:
            events.append(event)
    if others and not any(event.get("machine") == machine for event in events):
        raise DataError(
            f"{file}: is of machine {', '.join(sorted(others))}, not {machine}; give its own events or --name"
        )
    if not any(event.get("event") in KINDS for event in events):
        raise DataError(f"{file}: holds no event; give what `run … --events` wrote")
    return events


def parse(events: Iterable[dict[str, Any]]) -> Run:
    """The lines of one run, decoded; kinds of event that are not known are passed over."""
    found = list(_decoded(events))
    start = next((event for event in found if isinstance(event, Start)), None)
    ended = any(isinstance(event, End) for event in found)
    segments: list[list[Window]] = [[]]
    for event in found:
        if isinstance(event, Window):
            segments[-1].append(event)
        elif isinstance(event, Recording | Lost):
            segments.append([])
    recordings = [event for event in found if isinstance(event, Recording)]
    lost = [event for event in found if isinstance(event, Lost)]
    seconds = max([_moment(event) for event in found] + [_end(found)])
    switches = [event for event in found if isinstance(event, Alarm) and event.kind == "anomaly"]
    kept = [segment for segment in segments if segment]
    return Run(start, seconds, ended, recordings, kept, _alarms(switches, seconds), lost)


def outcome(events: Iterable[dict[str, Any]], fault_at_s: float) -> tuple[float | None, int]:
    """(seconds from the fault to the first alarm after it, alarms that came before it); None: no alarm came.

    An alarm that is already on when the fault begins came before it: it is a false one, and announces nothing.
    """
    starts = [alarm.start for alarm in parse(events).alarms]
    after = [start - fault_at_s for start in starts if start >= fault_at_s]
    return (after[0] if after else None), len(starts) - len(after)


def scored(segment: list[Window]) -> Iterator[list[Window]]:
    """The stretches of a segment that have scores: a window without one breaks the line."""
    stretch: list[Window] = []
    for window in segment:
        if window.score is not None:
            stretch.append(window)
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def cells(segment: list[Window]) -> Iterator[tuple[float, float, Window]]:
    """Each window with the stretch of sound that it adds: (start, end, window), seconds."""
    last = -math.inf
    for window in segment:
        yield max(window.start_s, last), window.end_s, window
        last = window.end_s


def merged(spans: Iterable[tuple[float, float]], slack: float = 1e-3) -> Spans:
    """Spans in the order of time, those that touch made one."""
    result: Spans = []
    for start, end in sorted(spans):
        if result and start <= result[-1][1] + slack:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def _decoded(events: Iterable[dict[str, Any]]) -> Iterator[Known]:
    for event in events:
        if event.get("event") not in KINDS:
            continue
        try:
            decoded: Known = msgspec.convert(event, Known)
        except msgspec.ValidationError as error:
            raise DataError(f"an event of kind {event['event']}: {error}; give what `run … --events` wrote") from None
        if isinstance(decoded, Window) and decoded.score is not None and not math.isfinite(decoded.score):
            decoded = msgspec.structs.replace(decoded, score=None, decision=None)
        yield decoded


def _moment(event: Known) -> float:
    """The last second that an event tells of."""
    if isinstance(event, Start | End):
        return 0.0
    return event.end_s if isinstance(event, Window) else event.at_s


def _end(events: list[Known]) -> float:
    """When a run ended: "end" counts the seconds that were heard, every other time those that were lost as well."""
    lost, gone = 0.0, None
    for event in events:
        if isinstance(event, Lost):
            gone = event.at_s
        elif isinstance(event, Recording) and gone is not None:
            lost, gone = lost + event.at_s - gone, None
    return next((event.seconds + lost for event in events if isinstance(event, End)), 0.0)


def _alarms(switches: list[Alarm], seconds: float) -> list[AlarmSpan]:
    """From the sound that raises an alarm to that which ends it; what people do in between changes nothing here."""
    spans: list[AlarmSpan] = []
    on: Alarm | None = None
    for switch in [*switches, None]:
        if switch is not None and switch.level != "normal":
            on = on or switch
        elif on is not None:
            end = seconds if switch is None else switch.at_s
            since = on.at_s if on.since_s is None else on.since_s
            spans.append(AlarmSpan(on.at_s, end, since, on.score, switch is not None, on.level, on.why))
            on = None
    return spans
