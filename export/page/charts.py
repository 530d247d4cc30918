"""One listening run -> the geometry of its figure; the template only draws it.

Across, everything is in per cent of the duration, so that a figure is as wide as the screen or the paper; down, in
pixels. A score stands at the end of its window, the moment at which it is known.
"""

import math

import msgspec

from edge_runtime.listening.events import Window
from export.page import spectrogram, words
from export.page.axes import Across, Down, Span, Tick, hz_ticks, time_ticks
from export.page.content import Listening, Spans, Spectrogram
from export.page.runs import Run, cells, merged, parse, scored

HEAD, SCORE, STRIP, IMAGE, AXIS, GAP = 40, 200, 16, 170, 24, 12  # heights in pixels
ACROSS = 1000.0  # width of the score line's own coordinates
POINTS = 2000  # most that a line holds; of more windows the highest scores are kept
LOG_FROM = 8.0  # a highest score of so many thresholds asks for a logarithmic axis


class Dot(msgspec.Struct, frozen=True):
    """A score without neighbours, with the stretch that its window covers (per cent, pixels)."""

    x: float
    from_x: float
    y: float
    above: bool


class Plot(msgspec.Struct, frozen=True):
    """The score over time."""

    lines: str  # path, ACROSS wide
    dots: list[Dot]
    threshold_y: float
    ticks: list[Tick]
    logarithmic: bool
    grouped: int  # windows behind each point


class Readout(msgspec.Struct, frozen=True):
    """What the page's script reads out."""

    threshold: str
    points: list[tuple[float, str, str, int, int]]  # per cent, time, score, above, alarm
    holes: list[tuple[float, float, str]]  # per cent, per cent, why there is no score


class Figure(msgspec.Struct, frozen=True):
    """Everything that is drawn of one run."""

    height: int
    tops: dict[str, int]  # where each row of the figure begins, pixels
    plot: Plot
    faults: list[Span]
    heard: list[Span]  # sound that was scored
    unfit: list[Span]  # sound that was not
    clipped: list[Span]
    pending: list[Span]  # above the threshold, the alarm still waiting
    alarms: list[Span]
    recordings: list[Span]  # where a new one begins
    lost: list[Span]
    time_ticks: list[Tick]
    hz_ticks: list[Tick]
    image: spectrogram.Picture | None
    readout: Readout


def draw(listening: Listening, columns: int = spectrogram.COLUMNS) -> Figure:
    """Lay the figure out."""
    run = parse(listening.events)
    sound = _spectrogram(listening)
    seconds = duration(run, sound)
    image = spectrogram.picture(sound, seconds, columns) if sound is not None else None
    faults = fault_spans(listening.fault_at_s, seconds)
    tops, height = _rows(bool(faults), image is not None)
    scale = Across(seconds)
    plot = _plot(run, listening.threshold, scale)
    judged = [cell for segment in run.segments for cell in cells(segment)]
    unfit = list(scale.runs((cell for cell in judged if cell[2].score is None), "not scored"))
    return Figure(
        height=height,
        tops=tops,
        plot=plot,
        faults=[scale.span(a, b, f"fault from {words.clock(a, 1)} to {words.clock(b, 1)}") for a, b in faults],
        heard=list(scale.runs((cell for cell in judged if cell[2].score is not None), "scored", causes=False)),
        unfit=unfit,
        clipped=list(scale.runs((cell for cell in judged if "clipping" in cell[2].faults), "clipped", causes=False)),
        pending=[scale.span(a.since, a.start, "above the threshold, no alarm yet") for a in run.alarms],
        alarms=[scale.span(a.start, a.end, f"alarm from {words.clock(a.start, 1)}") for a in run.alarms],
        recordings=[scale.span(r.at_s, r.at_s, r.source or "a new recording") for r in run.recordings if r.at_s > 0],
        lost=[scale.span(x.at_s, x.at_s, f"{x.samples:,} samples lost") for x in run.lost],
        time_ticks=time_ticks(seconds),
        hz_ticks=[] if sound is None else hz_ticks(sound, IMAGE),
        image=image,
        readout=_readout(run, listening, seconds, unfit),
    )


def duration(run: Run, sound: Spectrogram | None) -> float:
    """Seconds of the run; where its last line is missing, of the sound if that goes on for longer."""
    if sound is None or run.ended or not len(sound.times):
        return run.seconds
    return max(run.seconds, float(sound.times[-1]))


def fault_spans(fault: float | Spans | None, seconds: float) -> Spans:
    """Spans of anomalous sound; a fault that begins lasts to the end."""
    if fault is None:
        return []
    spans = fault if isinstance(fault, list) else [(fault, seconds)]
    return merged((start, min(end, seconds)) for start, end in spans if start < seconds)


def _spectrogram(listening: Listening) -> Spectrogram | None:
    if listening.audio is None or isinstance(listening.audio, Spectrogram):
        return listening.audio
    return spectrogram.compute([(0.0, listening.audio)], listening.spec)


def _rows(fault: bool, image: bool) -> tuple[dict[str, int], int]:
    """Where each row begins, and the height of all."""
    rows = {
        "score": SCORE + GAP,
        **({"fault": STRIP + 4} if fault else {}),
        "sound": STRIP + 4,
        "alarm": STRIP + 2 * GAP,
    }
    rows |= {"image": IMAGE + 2} if image else {}
    tops, at = {}, HEAD
    for name, height in rows.items():
        tops[name] = at
        at += height
    return {**tops, "axis": at}, at + AXIS


def _plot(run: Run, threshold: float, across: Across) -> Plot:
    stretches = [stretch for segment in run.segments for stretch in scored(segment)]
    values = [_value(window) for stretch in stretches for window in stretch]
    logarithmic = bool(values) and min(*values, threshold) > 0 and max(values) > LOG_FROM * threshold
    down = Down(min([*values, threshold]), max([*values, threshold]), SCORE, logarithmic)
    group = max(1, math.ceil(len(values) / POINTS))
    long = [_thin(stretch, group) for stretch in stretches if len(stretch) > 1]
    alone = [stretch[0] for stretch in stretches if len(stretch) == 1]
    dots = [Dot(across(w.end_s), across(w.start_s), down(_value(w)), _above(w, threshold)) for w in _thin(alone, group)]
    lines = " ".join(_path(stretch, across, down) for stretch in long)
    return Plot(lines, dots, down(threshold), down.ticks(), logarithmic, group)


def _value(window: Window) -> float:
    return 0.0 if window.score is None else window.score


def _above(window: Window, threshold: float) -> bool:
    return window.decision if window.decision is not None else _value(window) > threshold


def _thin(windows: list[Window], group: int) -> list[Window]:
    """The window of the highest score out of each `group` neighbours."""
    if group == 1:
        return windows
    return [max(windows[i : i + group], key=_value) for i in range(0, len(windows), group)]


def _path(stretch: list[Window], across: Across, down: Down) -> str:
    points = [f"{across(w.end_s) * ACROSS / 100:.1f},{down(_value(w)):.1f}" for w in stretch]
    return f"M{points[0]}L{' '.join(points[1:])}"


def _readout(run: Run, listening: Listening, seconds: float, unfit: list[Span]) -> Readout:
    across = Across(seconds)
    scores = [window for window in run.windows if window.score is not None]
    points = []
    for window in _thin(scores, max(1, math.ceil(len(scores) / POINTS))):
        alarm = any(a.start <= window.end_s <= a.end for a in run.alarms)
        above = _above(window, listening.threshold)
        time, score = words.clock(window.end_s, 1), words.number(_value(window))
        points.append((across(window.end_s), time, score, int(above), int(alarm)))
    holes = [(span.x, span.x + span.width, span.words) for span in unfit]
    return Readout(words.number(listening.threshold), points, holes)
