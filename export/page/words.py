"""Figures and findings in words, the same all over the page."""

import datetime
import math

from calib.bootstrap import Interval
from export.page.content import Estimate, Listening, Page, Row
from export.page.runs import Run

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"
NONE = DASH  # in a cell that has no figure


def number(value: float, digits: int = 3) -> str:
    """A measured figure with so many significant digits: 0.0123, 1.23, 123, 1230, 1.23e-7."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    power = int(
        f"{value:.{digits - 1}e}".partition("e")[2]
    )  # of the rounded figure: 9.999 has two digits before its point
    if not -5 < power < 7:
        return f"{value:.{digits - 1}e}".replace("-", MINUS)
    return f"{round(value, digits - 1 - power):.{max(0, digits - 1 - power)}f}".replace("-", MINUS)


def count(value: int, noun: str) -> str:
    """1 alarm, 2 alarms, no alarm."""
    if value == 0:
        return f"no {noun}"
    return f"{value:,} {noun if value == 1 else noun + 's'}"


def large(value: int) -> str:
    """5.41 M, 802 M, 1.6 G."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{number(value / size)} {unit}"
    return str(value)


def ratio(value: float) -> str:
    """0.93; a figure just below 1 keeps a third digit, for it is not 1."""
    return f"{value:.3f}" if 0.995 <= value < 0.9995 else f"{value:.2f}"


def bounds(estimate: Estimate) -> str:
    """(0.88–0.97), or nothing where no interval was computed."""
    if not isinstance(estimate, Interval):
        return ""
    return f"({ratio(estimate.low)}{DASH}{ratio(estimate.high)})"


def signed(value: float) -> str:
    """+0.041, −0.003, 0.000."""
    text = f"{value:+.3f}"
    return "0.000" if float(text) == 0 else text.replace("-", MINUS)


def difference(estimate: Estimate) -> str:
    """+0.041 (−0.012 to +0.093)."""
    if not isinstance(estimate, Interval):
        return signed(estimate)
    return f"{signed(estimate.value)} ({signed(estimate.low)} to {signed(estimate.high)})"


def centre(estimate: Estimate) -> float:
    """The figure itself."""
    return estimate.value if isinstance(estimate, Interval) else float(estimate)


def verdict(gain: Estimate | None) -> str:
    """Is the network better than no network? "better", "worse", "equal" (the interval touches 0) or "unknown"."""
    if not isinstance(gain, Interval):
        return "unknown"
    return "better" if gain.low > 0 else "worse" if gain.high < 0 else "equal"


def clock(seconds: float, digits: int = 0) -> str:
    """Seconds -> 14.2 s below two minutes, then 5:14.2, then 1:05:14.2; a whole second needs no digits."""
    seconds = round(seconds, digits)
    digits = 0 if seconds == int(seconds) else digits
    if seconds < 120:
        return f"{seconds:.{digits}f} s"
    minutes, rest = divmod(seconds, 60)
    tail = f"{rest:0{3 + digits if digits else 2}.{digits}f}"
    if minutes < 60:
        return f"{minutes:.0f}:{tail}"
    return f"{minutes // 60:.0f}:{minutes % 60:02.0f}:{tail}"


def moment(iso: str) -> str:
    """2024-05-01T10:00:00+00:00 -> 2024-05-01 10:00 UTC; any other text as it is."""
    try:
        moment = datetime.datetime.fromisoformat(iso)
    except ValueError:
        return iso
    if moment.tzinfo is None:
        return iso
    return f"{moment.astimezone(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC"


def headline(table: list[Row]) -> str:
    """What the table says about the network, in a sentence."""
    found = [verdict(row.gain) for row in table]
    known = len(found) - found.count("unknown")
    if not known:
        return ""
    parts = [
        f"By AUC the network beats the detector without one on {found.count('better')} of {count(known, 'machine')}"
    ]
    if found.count("equal"):
        parts.append(f"on {found.count('equal')} the 95 % interval of the difference touches 0, so none is shown")
    if found.count("worse"):
        parts.append(f"on {found.count('worse')} it is worse")
    return "; ".join(parts) + "."


def alarms(page: Page) -> str:
    """What the listening runs say, in a sentence."""
    known = [run for run in page.listening if run.fault_at_s is not None]
    if not known:
        return ""
    times = sorted(run.seconds_to_alarm for run in known if run.seconds_to_alarm is not None)
    false = count(sum(run.false_alarms or 0 for run in known), "false alarm") + " before the fault."
    if not times:
        return f"No alarm followed the fault{' in any stream' if len(known) > 1 else ''}; {false}"
    first, last = f"{times[0]:.1f}", f"{times[-1]:.1f}"
    after = f"{first} s" if first == last else f"{first} to {last} s"
    where = f" in {len(times)} of {len(known)} streams" if len(known) > 1 else ""
    return f"An alarm followed the fault{where}, after {after}; {false}"


def story(listening: Listening, run: Run, begins: float | None) -> str:
    """What happened in one stream, in a sentence or two; `begins`: second of the fault."""
    if begins is None:
        return f"{count(len(run.alarms), 'alarm').capitalize()} in {clock(run.seconds)} of sound."
    what = "Anomalous sound" if isinstance(listening.fault_at_s, list) else "The fault"
    told = f"{what} begins at {clock(begins, 1)}. "
    if listening.seconds_to_alarm is not None:
        told += f"The alarm came {listening.seconds_to_alarm:.1f} s later. "
    elif any(alarm.start < begins < alarm.end for alarm in run.alarms):
        told += "The alarm was already on, so it announced nothing. "
    elif any(window.score is not None for window in run.windows):
        told += "No alarm followed: it was missed. "
    else:
        told += "No alarm followed, for nothing could be judged. "
    if listening.false_alarms is not None:
        told += f"{count(listening.false_alarms, 'false alarm').capitalize()} before it."
    return told.strip()
