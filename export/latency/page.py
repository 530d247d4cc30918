"""report.html: the figures with charts, in one file that loads nothing."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from calib.bootstrap import Interval
from edge_runtime import __version__
from export import compare_table
from export.budgets import Budget
from export.latency import charts, table
from export.latency.baseline import BETTER, WORSE, Versus
from export.latency.content import AFTER, TOTAL, Load, Report
from export.page import bars, words
from export.page.bars import Bar
from export.page.write import write_page

CHIPS = {True: "better", False: "worse", None: "unknown"}
MARKS = {True: "▲ kept", False: "▼ broken", None: "◇ not measured here"}
BUSY = 0.9  # share of its own time that a process has on a quiet machine at least
VERDICTS = {WORSE: "worse", BETTER: "better"}


class Rows(msgspec.Struct, frozen=True):
    """A table of words."""

    title: str
    header: list[str]
    rows: list[list[str]]
    opened: bool = False


class Form(msgspec.Struct, frozen=True):
    """One form in the chart of accuracy."""

    name: str
    references: str
    bar: Bar
    text: str


def write(out: Path, report: Report, versus: Versus | None = None) -> None:
    """Write the page, whole or not at all."""
    forms = _forms(report)
    write_page(
        out,
        "latency.html.j2",
        report=report,
        findings=findings(report, versus),
        facts=_facts(report),
        chart=charts.draw(report.loads),
        stages=[_stages(load) for load in report.loads],
        tiles=_tiles(report),
        board=table.board_rows(report.board),
        forms=forms[0],
        ends=forms[1],
        tables=_accuracy(report),
        budgets=report.budgets,
        chips=CHIPS,
        marks=MARKS,
        baseline=_baseline(versus),
        reasons=versus.reasons if versus else [],
        version=__version__,
    )


def findings(report: Report, versus: Versus | None) -> list[str]:
    """What a reader should know first, in sentences."""
    return [*_speed(report), *_doubts(report), *_kept(report.budgets), *_changed(versus)]


def _speed(report: Report) -> list[str]:
    first, last = report.loads[0], report.loads[-1]
    told = [
        f"With {words.count(first.machines, 'machine')} half of all decisions are there "
        f"{charts.milliseconds(first.stage(TOTAL).p50)} ms after the sound, 99 % within "
        f"{charts.milliseconds(first.stage(TOTAL).p99)} ms; {charts.milliseconds(first.stage(AFTER).p50)} ms of them "
        "are work, the rest is waiting for sound."
    ]
    if last is not first:
        told.append(
            f"{words.count(last.machines, 'machine').capitalize()} keep one core busy for "
            f"{100 * last.real_time_factor:.1f} % of the time; 99 % of their decisions are there within "
            f"{charts.milliseconds(last.stage(TOTAL).p99)} ms."
        )
    return told


def _doubts(report: Report) -> list[str]:
    told = []
    if report.board.throttled:
        told.append(
            "The clock was held back while this was measured, so its times are not comparable: "
            + "; ".join(report.board.throttled)
            + "."
        )
    share = min(load.cpu_share for load in report.loads)
    if share < BUSY and report.backend == "onnxruntime":
        told.append(
            f"While it worked, the process had a core for {100 * share:.0f} % of the time only: others took the rest, "
            "so times are longer than on a quiet machine."
        )
    fewest = min(load.windows for load in report.loads)
    return told + ([f"Only {fewest:,} windows were timed: the 99 % of so few say little."] if fewest < 1000 else [])


def _kept(budgets: list[Budget]) -> list[str]:
    broken = [budget.what for budget in budgets if budget.passed is False]
    measured = sum(budget.passed is not None for budget in budgets)
    told = f"{measured - len(broken)} of {measured} measured budgets are kept"
    return [told + (f"; broken: {'; '.join(broken)}." if broken else ".")]


def _changed(versus: Versus | None) -> list[str]:
    if versus is None:
        return []
    if versus.worse:
        return [f"Worse than the baseline: {'; '.join(line.name for line in versus.worse)}."]
    return ["Times are not comparable with the baseline." if versus.reasons else "Nothing is worse than the baseline."]


def _facts(report: Report) -> list[tuple[str, str]]:
    at = report.device
    found = {
        "Bundle": report.bundle,
        "Model": ", ".join(dict.fromkeys([report.name, report.system])),
        "Backend": ", ".join(filter(None, [report.backend, report.form])),
        "Parameters": words.large(report.parameters) if report.parameters else "no network",
        "Cost": f"{words.large(report.macs)} multiply-accumulates a window" if report.macs else "",
        "Window, hop": f"{report.window_s:.2f} s, {report.hop_s:.2f} s",
        "Microphone": f"{report.microphone_hz:,} Hz, blocks of {report.block_ms:.0f} ms",
        "Device": ", ".join(filter(None, [at.board, at.gpu, at.cpu, words.count(at.cores, "core"), at.architecture])),
        "System": at.system,
        "Power mode": at.power_mode or table.NOWHERE,
        "Versions": ", ".join(f"{name} {number}" for name, number in {"Python": at.python, **at.packages}.items()),
        "Data": report.data,
        "Made": words.moment(report.created),
        "Commit": report.commit[:12] + report.commit[40:],
    }
    return [(name, said) for name, said in found.items() if said]


def _stages(load: Load) -> Rows:
    rows = []
    for stage in load.stages:
        values = [charts.milliseconds(value) for value in (stage.p50, stage.p95, stage.p99, stage.max)]
        work = load.work_ms.get(stage.name)
        name = f"{stage.name}, derived" if stage.derived else stage.name
        rows.append([name, *values, "" if work is None else charts.milliseconds(work)])
    title = f"{words.count(load.machines, 'machine').capitalize()}, {load.windows:,} windows"
    return Rows(title, ["ms", "p50", "p95", "p99", "maximum", "work a window"], rows, load.machines == 1)


def _tiles(report: Report) -> list[tuple[str, str, str]]:
    """(name, figure, between what)."""
    if report.process is None:
        return []
    one = report.process
    found = [
        ("Process start to first score", one.first_ms, ".0f", " ms"),
        ("Real-time factor", one.real_time_factor, ".4f", ""),
        ("CPU seconds for a second of sound", one.cpu_s_per_s, ".4f", ""),
        ("Resident memory at its peak", one.memory_mib, ".1f", " MiB"),
    ]
    return [
        (name, f"{value.value:{form}}{unit}", f"{value.low:{form}} to {value.high:{form}}")
        for name, value, form, unit in found
    ]


def _forms(report: Report) -> tuple[list[Form], tuple[float, float]]:
    if report.accuracy is None:
        return [], (0.0, 1.0)
    known = report.accuracy.mean.forms
    ends = bars.scale([form.auc for form in known.values()])
    forms = [Form(name, one.references, bars.bar(one.auc, *ends), _percent(one.auc)) for name, one in known.items()]
    return forms, ends


def _percent(found: Interval) -> str:
    return f"{100 * found.value:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def _accuracy(report: Report) -> list[Rows]:
    """Of all machines and of each, or what the bundle was packed with."""
    if not report.accuracy:
        rows = table.told(report)
        return [_rows("What the bundle was packed with", rows[0], rows[1:], True)] if rows else []
    found = report.accuracy
    several = [found.mean] if len(found.machines) > 1 else []
    return [
        _rows(row.machine, _narrow(compare_table.HEADER), map(_narrow, compare_table.lines(row, found)), number == 0)
        for number, row in enumerate([*several, *found.machines])
    ]


def _narrow(cells: tuple[str, ...]) -> tuple[str, ...]:
    """Without the references: the name says where they are its own."""
    return (cells[0], *cells[2:])


def _rows(title: str, header: Sequence[str], rows: Iterable[Sequence[str]], opened: bool) -> Rows:
    return Rows(title, list(header), [list(row) for row in rows], opened)


def _baseline(versus: Versus | None) -> list[tuple[str, str, str, str, str, str]]:
    """(figure, old, new, ratio, verdict, class of its chip)."""
    lines = versus.lines if versus else []
    return [
        (o.name, words.number(o.old), words.number(o.new), f"{o.ratio:.2f}", o.verdict, VERDICTS.get(o.verdict, ""))
        for o in lines
    ]
