"""Content -> what the templates print: tiles, captions, events in words."""

from collections.abc import Iterator

import msgspec

from export.page import charts, spectrogram, words
from export.page.charts import Figure
from export.page.content import Facts, Listening, Row
from export.page.runs import Run, parse

PAGE_COLUMNS = 8000  # of all pictures together: keeps a page of many streams below two megabytes
LISTED = 200  # lines of what happened


class Tile(msgspec.Struct, frozen=True):
    """A figure with its name."""

    label: str
    value: str
    kind: str = ""  # "good", "bad", "words"


class Flag(msgspec.Struct, frozen=True):
    """A named moment: per cent across, pixels down."""

    at: float
    top: int
    kind: str  # "fault", "alarm"
    label: str


class View(msgspec.Struct, frozen=True):
    """One listening run, ready to be printed."""

    machine: str
    story: str
    tiles: list[Tile]
    figure: Figure
    flags: list[Flag]
    label: str  # for those who cannot see the chart
    caption: str
    notice: str  # why there is no score; empty where there is one
    short_notice: str
    waited: bool
    happened: list[tuple[str, str]]


def view(listening: Listening, of: int) -> View:
    """One of so many runs on a page."""
    run = parse(listening.events)
    figure = charts.draw(listening, max(300, min(spectrogram.COLUMNS, PAGE_COLUMNS // of)))
    spans = charts.fault_spans(listening.fault_at_s, run.seconds)
    begins = spans[0][0] if spans else _first(listening)
    story = words.story(listening, run, begins)
    notice, short = _notice(run)
    return View(
        machine=listening.machine,
        story=story,
        tiles=list(_tiles(listening, run, begins)),
        figure=figure,
        flags=list(_flags(figure, run, begins)),
        label=f"Score of {listening.machine} over {words.clock(run.seconds, 1)} of sound, with the threshold. {story}",
        caption=_caption(figure, run),
        notice=notice,
        short_notice=short,
        waited=any(span.width > 0 for span in figure.pending),
        happened=list(_happened(run, begins)),
    )


def facts(given: Facts) -> list[tuple[str, str]]:
    """Where the figures come from, as (name, words); the command, which may be long, stands by itself."""
    cost = None if given.macs is None else f"{words.large(given.macs)} multiply-accumulates a window"
    found = {
        "Data": given.data,
        "Machines": str(given.machines or ""),
        "Model": given.model,
        "Parameters": "" if given.parameters is None else words.large(given.parameters),
        "Cost": cost if given.macs else "",
        "Window, hop": _window(given),
        "Made": words.moment(given.created),
        "Commit": given.commit[:12] + given.commit[40:],  # hash shortened, "-dirty" kept
        "Versions": ", ".join(f"{name} {version}" for name, version in given.versions.items()),
    }
    return [(name, said) for name, said in found.items() if said]


def clips(row: Row) -> str:
    """How many clips a machine's figures rest on."""
    parts = []
    if row.train_clips is not None:
        parts.append(f"{row.train_clips:,} to train")
    if row.test_normal is not None and row.test_anomaly is not None:
        parts.append(f"test: {row.test_normal:,} normal, {row.test_anomaly:,} anomalous")
    return "; ".join(parts)


def _window(given: Facts) -> str:
    if given.window_s is None:
        return ""
    return f"{given.window_s:.2f} s" + ("" if given.hop_s is None else f", {given.hop_s:.2f} s")


def _first(listening: Listening) -> float | None:
    """The fault's beginning where it lies beyond the end of the run."""
    fault = listening.fault_at_s
    return (min(fault)[0] if fault else None) if isinstance(fault, list) else fault


def _tiles(listening: Listening, run: Run, begins: float | None) -> Iterator[Tile]:
    seconds, false = listening.seconds_to_alarm, listening.false_alarms
    if begins is not None:
        value = "no alarm" if seconds is None else f"{seconds:.1f} s"
        yield Tile("Fault to alarm", value, "bad" if seconds is None else "good")
    if false is not None:
        yield Tile("False alarms before it", str(false), "bad" if false else "good")
    if begins is None:
        yield Tile("Alarms", str(len(run.alarms)))
    yield Tile("Threshold", words.number(listening.threshold))
    unscored = sum(window.score is None for window in run.windows)
    total = f"{len(run.windows):,}"
    yield Tile("Windows", f"{total} ({unscored:,} not scored)" if unscored else total)
    if begins is not None:
        healthy = [window for window in run.windows if window.end_s <= begins and window.score is not None]
        above = sum((window.score or 0.0) > listening.threshold for window in healthy)
        yield Tile("Above the threshold before the fault", f"{above:,} of {len(healthy):,}" if healthy else words.NONE)
    if listening.promise:
        yield Tile("What the threshold promises", listening.promise, "words")


def _flags(figure: Figure, run: Run, begins: float | None) -> Iterator[Flag]:
    """The fault's beginning and the alarm that answers it: later alarms are in the strip."""
    if figure.faults:
        at = figure.faults[0].x
        yield Flag(at, 4, "fault", f"fault begins at {words.clock(begins or 0.0, 1)}")
    answers = [
        (span, alarm)
        for span, alarm in zip(figure.alarms, run.alarms, strict=True)
        if begins is None or alarm.start >= begins
    ]
    if answers:
        span, alarm = answers[0]
        yield Flag(span.x, 21, "alarm", f"alarm at {words.clock(alarm.start, 1)}")


def _notice(run: Run) -> tuple[str, str]:
    if any(window.score is not None for window in run.windows):
        return "", ""
    if run.windows:
        return "No window had a score: the sound was not fit to be judged.", "no window had a score"
    needed = "" if run.start is None else f", and a window needs {run.start.window_s:.2f} s"
    return f"No window was judged: there were {run.seconds:.1f} s of sound{needed}.", "no window was judged"


def _caption(figure: Figure, run: Run) -> str:
    text = "Above: the score of each window, drawn where the window ends"
    text += f" (of every {figure.plot.grouped} neighbours the highest)" if figure.plot.grouped > 1 else ""
    text += ", on a logarithmic axis" if figure.plot.logarithmic else ""
    text += "; the dashed line is the threshold. "
    if figure.image is not None:
        text += "Below: the sound itself as a log-mel spectrogram, the lighter the louder. "
    text += "Time runs from the first sample, " + ("in minutes and seconds." if run.seconds > 180 else "in seconds.")
    return text if run.ended else text + " The run's last line is missing: it was still going on, or was cut off."


def _happened(run: Run, begins: float | None) -> list[tuple[str, str]]:
    found: list[tuple[float, str]] = []
    if begins is not None:
        found.append((begins, "the fault begins"))
    for alarm in run.alarms:
        since = words.clock(alarm.since, 1)
        score = "" if alarm.score is None else f", score {words.number(alarm.score)}"
        why = f": {alarm.why}" if alarm.why else ""
        found.append((alarm.start, f"{alarm.level}{score}; above the threshold since {since}{why}"))
        found += [(alarm.end, "back to normal")] if alarm.over else []
    found += [(lost.at_s, f"{lost.samples:,} samples lost") for lost in run.lost]
    if len(run.recordings) > 1:
        found += [(start.at_s, f"a recording begins: {start.source}") for start in run.recordings]
    found.append((run.seconds, "the run ends" if run.ended else "the last event"))
    lines = [(words.clock(at, 1), said) for at, said in sorted(found, key=lambda event: event[0])]
    more = len(lines) - LISTED
    return lines if more <= 0 else [*lines[:LISTED], ("", f"and {more:,} more, in the event file")]
